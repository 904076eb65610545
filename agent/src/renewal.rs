//! A member's certificate is renewed, with the same key, in the middle of its life. Nothing else
//! changes: no epoch, no connection. While nobody renews it, members that the map lists go on accepting
//! it, expired or not: the map revokes, expiry does not.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls_pki_types::CertificateDer;
use slotmesh_mesh::identity::Keypair;
use slotmesh_transport::driver::Dialer;
use slotmesh_transport::endpoint::Credentials;
use slotmesh_transport::identity::{IdentityError, expiry_of};

use crate::config::Config;
use crate::door::Door;
use crate::join::{Failure, Route, jittered, knock};
use crate::metrics::Metrics;
use crate::trust::Anchors;

/// Pause after a failed attempt, at first; it doubles.
const PAUSE_MIN: Duration = Duration::from_millis(500);
/// Longest pause: an operator that is away for days is not asked all the time.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// No pause is longer than such a part of the certificate's life.
const PAUSES_IN_A_LIFE: u32 = 20;
/// Longest sleep before the clock is looked at again: a machine that was suspended wakes late.
const LOOK_MAX: Duration = Duration::from_secs(30);
/// Distinct causes of one renewal's delay that are logged.
const CAUSES_MAX: usize = 16;

/// The life of a certificate, by this machine's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    since: SystemTime,
    pub(crate) until: SystemTime,
}

impl Validity {
    /// Of a chain that was just received.
    pub(crate) fn of(chain: &[CertificateDer<'_>], now: SystemTime) -> Result<Self, IdentityError> {
        let leaf = chain.first().ok_or(IdentityError::Malformed)?;
        Ok(Self {
            since: now,
            until: expiry_of(leaf)?,
        })
    }

    fn life(&self) -> Duration {
        self.until.duration_since(self.since).unwrap_or_default()
    }

    /// When to renew: after half of the life, and a little later, so that agents that joined together
    /// do not renew together.
    fn renewal(&self) -> SystemTime {
        self.since + self.life() / 2 + jittered(self.life() / 5) - self.life() / 5
    }

    /// Whether so much of the life is over that somebody should know.
    fn is_late(&self, now: SystemTime) -> bool {
        now >= self.since + self.life() / 4 * 3
    }

    fn pause_max(&self) -> Duration {
        (self.life() / PAUSES_IN_A_LIFE).clamp(PAUSE_MIN, PAUSE_MAX)
    }
}

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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_certificate_is_renewed_in_the_middle_of_its_life() {
        let since = SystemTime::now();
        let at = |seconds| since + Duration::from_secs(seconds);
        let day = Validity {
            since,
            until: at(24 * 3600),
        };
        assert!((at(12 * 3600)..at(13 * 3600 + 900)).contains(&day.renewal()));
        assert!(!day.is_late(at(18 * 3600 - 1)));
        assert!(day.is_late(at(18 * 3600)));
        assert_eq!(day.pause_max(), PAUSE_MAX);
        let short = Validity {
            since,
            until: at(20),
        };
        assert!((at(10)..=at(11)).contains(&short.renewal()));
        assert_eq!(short.pause_max(), Duration::from_secs(1));
        let over = Validity {
            since,
            until: since - Duration::from_secs(5),
        };
        assert_eq!((over.renewal(), over.pause_max()), (since, PAUSE_MIN));
    }
}
