//! The operator's own certificate of one cluster, for its join port and for the mesh: renewed, with the
//! same key, in the middle of its life.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use slotmesh_mesh::identity::{Keypair, Uid};
use slotmesh_transport::authority::Authority;
use slotmesh_transport::endpoint::Credentials;
use slotmesh_transport::identity::IdentityError;
use tokio::sync::watch;

use crate::join::Registered;
use crate::metrics::Metrics;
use crate::seam::ClusterKey;

/// Pause after it could not be issued.
const RETRY: Duration = Duration::from_secs(60);
/// Longest sleep before the clock is looked at again: a machine that was suspended wakes late.
const LOOK_MAX: Duration = Duration::from_secs(30);

/// Issues the operator's certificate.
pub(super) struct Issuer {
    pub(super) cluster: Uid,
    pub(super) authority: Arc<Authority>,
    pub(super) keypair: Keypair,
    pub(super) lifetime: Duration,
    pub(super) metrics: Metrics,
}

impl Issuer {
    /// A new certificate of the same key.
    pub(super) fn issue(&self, now: SystemTime) -> Result<Credentials, IdentityError> {
        let leaf =
            self.authority
                .issue_operator(&self.keypair, self.cluster, now, self.lifetime)?;
        self.metrics
            .certificates
            .with_label_values(&["operator"])
            .inc();
        Ok(Credentials {
            chain: vec![leaf],
            keypair: self.keypair.clone(),
        })
    }
}

/// The certificate in force, and when the next one is due.
pub(super) struct Certificate {
    issuer: Issuer,
    registered: Registered,
    shown: watch::Sender<Credentials>,
    due: SystemTime,
}

impl Certificate {
    /// The one that was just issued, and that the join port shows.
    pub(super) fn new(
        issuer: Issuer,
        registered: Registered,
        credentials: Credentials,
        now: SystemTime,
    ) -> Self {
        Self {
            due: now + issuer.lifetime / 2,
            issuer,
            registered,
            shown: watch::channel(credentials).0,
        }
    }

    /// What the mesh shows: always the newest.
    pub(super) fn shown(&self) -> watch::Receiver<Credentials> {
        self.shown.subscribe()
    }

    /// Returns when the next one is due. Cancel-safe.
    pub(super) async fn is_due(&self) {
        while let Ok(left) = self.due.duration_since(SystemTime::now()) {
            tokio::time::sleep(left.min(LOOK_MAX).max(Duration::from_millis(1))).await;
        }
    }

    /// Connections stay; new ones show the new certificate.
    pub(super) fn renew(&mut self, cluster: &ClusterKey, now: SystemTime) {
        let life = self.issuer.lifetime;
        let renewed = self.issuer.issue(now).map_err(|error| error.to_string());
        let renewed = renewed.and_then(|credentials| {
            let shown = self.registered.renew(&credentials);
            shown.map_err(|error| error.to_string())?;
            Ok(credentials)
        });
        match renewed {
            Ok(credentials) => {
                self.due = now + life / 2;
                self.shown.send_replace(credentials);
                tracing::info!(%cluster, valid_seconds = life.as_secs(), "the operator's certificate is renewed");
            }
            Err(error) => {
                self.due = now + RETRY.min(life / 10);
                tracing::error!(%cluster, error, "the operator's certificate is not renewed; trying again");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::join::Registry;
    use crate::seam::Inventory;

    const LIFE: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn it_is_due_in_the_middle_of_its_life_and_keeps_its_key() {
        let cluster = ClusterKey {
            namespace: "team".into(),
            name: "sessions".into(),
            uid: Uid::from_bytes([1; 16]),
        };
        let now = SystemTime::now();
        let authority = Arc::new(Authority::generate(cluster.uid, now).unwrap());
        let issuer = Issuer {
            cluster: cluster.uid,
            authority: authority.clone(),
            keypair: Keypair::from_seed([1; 32]),
            lifetime: LIFE,
            metrics: Metrics::new().unwrap(),
        };
        let first = issuer.issue(now).unwrap();
        let (_, inventory) = watch::channel(Inventory::default());
        let registry = Registry::issuing(LIFE);
        let (registered, _knocks) = registry
            .register(&cluster, authority, &first, inventory)
            .unwrap();
        let mut certificate = Certificate::new(issuer, registered, first.clone(), now);
        let mut shown = certificate.shown();
        assert_eq!(certificate.due, now + LIFE / 2);

        certificate.renew(&cluster, now + LIFE / 2);
        assert!(shown.has_changed().unwrap());
        let second = shown.borrow_and_update().clone();
        assert_eq!(first.keypair.public(), second.keypair.public());
        assert_ne!(first.chain, second.chain);
        assert_eq!(certificate.due, now + LIFE);
    }
}
