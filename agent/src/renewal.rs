//! A member's certificate is renewed, with the same key, in the middle of its life. Nothing else
//! changes: no epoch, no connection. While nobody renews it, members that the map lists go on accepting
//! it, expired or not: the map revokes, expiry does not.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use slotmesh_mesh::identity::Keypair;
use slotmesh_transport::driver::Dialer;
use slotmesh_transport::endpoint::Credentials;

use crate::config::Config;
use crate::door::Door;
use crate::jitter::jittered;
use crate::join::{Failure, Route, knock};
use crate::metrics::Metrics;
use crate::trust::Anchors;
use crate::validity::{PAUSE_MIN, Validity};

/// Longest sleep before the clock is looked at again: a machine that was suspended wakes late.
const LOOK_MAX: Duration = Duration::from_secs(30);
/// Distinct causes of one renewal's delay that are logged.
const CAUSES_MAX: usize = 16;

/// What the certificate of a membership is renewed with.
pub(crate) struct Renewal {
    pub(crate) config: Config,
    pub(crate) door: Arc<Door>,
    pub(crate) metrics: Metrics,
    pub(crate) keypair: Keypair,
    pub(crate) anchors: Anchors,
    pub(crate) validity: Validity,
    pub(crate) dialer: Dialer,
}

impl Renewal {
    /// Renews for as long as the membership lasts.
    pub(crate) async fn keep(mut self) {
        loop {
            self.metrics.certificate(self.validity.until);
            wait_until(self.validity.renewal()).await;
            self.validity = self.renew().await;
        }
    }

    async fn renew(&self) -> Validity {
        let (mut pause, mut route, mut logged) = (PAUSE_MIN, Route::default(), BTreeSet::new());
        loop {
            let failure = match self.attempt(&mut route).await {
                Ok(validity) => {
                    self.metrics.renewal("renewed");
                    tracing::info!(
                        cluster = self.config.cluster_name,
                        valid_seconds = validity.life().as_secs(),
                        "certificate renewed"
                    );
                    return validity;
                }
                Err(failure) => failure,
            };
            self.metrics.renewal(failure.outcome());
            if failure.is_to_be_followed(&mut route) {
                continue;
            }
            let cause = failure.to_string();
            // A change of leaders takes a while, and half of the life is left.
            let late = self.validity.is_late(SystemTime::now());
            if late && logged.len() < CAUSES_MAX && logged.insert(cause.clone()) {
                tracing::warn!(
                    cluster = self.config.cluster_name,
                    outcome = failure.outcome(),
                    next_step = failure.next_step(),
                    "the certificate is not renewed; members that the map lists accept it even when it has expired: {cause}"
                );
            } else {
                tracing::debug!(cause, "the certificate is not renewed yet");
            }
            tokio::time::sleep(jittered(pause)).await;
            pause = (pause * 2).min(self.validity.pause_max());
        }
    }

    async fn attempt(&self, route: &mut Route) -> Result<Validity, Failure> {
        let knocked = knock(&self.config, &self.door, route, &self.keypair).await?;
        // The certificate is all that is wanted: the operator sees us go.
        tokio::spawn(knocked.joining.finish());
        if knocked.anchors != self.anchors {
            return Err(Failure::TrustReplaced);
        }
        let validity = Validity::of(&knocked.chain, SystemTime::now())?;
        let credentials = Credentials {
            chain: knocked.chain,
            keypair: self.keypair.clone(),
        };
        if let Some(client) = self.door.renew(credentials)? {
            self.dialer.set(client);
        }
        Ok(validity)
    }
}

/// Returns at that time by the machine's clock, or within moments after it.
async fn wait_until(time: SystemTime) {
    while let Ok(left) = time.duration_since(SystemTime::now()) {
        tokio::time::sleep(left.min(LOOK_MAX).max(Duration::from_millis(1))).await;
    }
}
