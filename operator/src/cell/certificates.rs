//! Certificates of one cell: the operator's own, renewed in the middle of their life, and the members',
//! who ask for new ones in the middle of theirs. Whoever does not is shown: nothing stops working when
//! a certificate expires, because the map revokes and expiry does not, but somebody should know.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use slotmesh_mesh::identity::{Keypair, Uid};
use slotmesh_mesh::map::Map;
use slotmesh_transport::authority::{Authority, CERTIFICATE_LIFETIME};
use slotmesh_transport::endpoint::Credentials;
use slotmesh_transport::identity::IdentityError;

use crate::seam::Kubernetes;

use super::Cell;

/// Pause after the operator's own certificate could not be issued.
const RETRY: Duration = Duration::from_secs(60);

/// The operator's certificate, and when members last got theirs.
pub(super) struct Certificates {
    cluster: Uid,
    authority: Arc<Authority>,
    keypair: Keypair,
    lifetime: Duration,
    renewal: SystemTime,
    since: Instant,
    issued: BTreeMap<Uid, Instant>,
}

impl Certificates {
    pub(super) fn new(
        cluster: Uid,
        authority: Arc<Authority>,
        keypair: Keypair,
        lifetime: Duration,
    ) -> Self {
        Self {
            cluster,
            authority,
            keypair,
            lifetime,
            renewal: SystemTime::UNIX_EPOCH,
            since: Instant::now(),
            issued: BTreeMap::new(),
        }
    }

    /// A new certificate for this operator, of the same key.
    pub(super) fn issue(&mut self, now: SystemTime) -> Result<Credentials, IdentityError> {
        self.renewal = now + RETRY.min(self.lifetime / 2);
        let leaf =
            self.authority
                .issue_operator(&self.keypair, self.cluster, now, self.lifetime)?;
        self.renewal = now + self.lifetime / 2;
        Ok(Credentials {
            chain: vec![leaf],
            keypair: self.keypair.clone(),
        })
    }

    fn is_due(&self, now: SystemTime) -> bool {
        now >= self.renewal
    }

    pub(super) fn issued_to(&mut self, member: Uid, now: Instant) {
        self.issued.insert(member, now);
    }

    /// Names of members that should have asked for a new certificate by now: every one asks in the
    /// middle of its life, so whoever got none for three quarters of one is late. One that this operator
    /// never certified may have got a longer life from another.
    fn overdue(&mut self, map: &Map, now: Instant) -> Vec<String> {
        self.issued.retain(|uid, _| map.member(*uid).is_some());
        let unseen = (self.since, self.lifetime.max(CERTIFICATE_LIFETIME));
        let late = |uid: &Uid| {
            let seen = self.issued.get(uid).map(|at| (*at, self.lifetime));
            let (at, life) = seen.unwrap_or(unseen);
            now.saturating_duration_since(at) > life / 4 * 3
        };
        let members = map.members.iter().filter(|member| late(&member.uid));
        members.map(|member| member.name.clone()).collect()
    }
}

impl<K: Kubernetes> Cell<K> {
    /// The pace's work on certificates.
    pub(super) fn tend_certificates(&mut self) {
        let overdue = match self.life.map() {
            Some(map) => self.certificates.overdue(map, Instant::now()),
            None => Vec::new(),
        };
        self.reporter.set_overdue(overdue);
        let now = SystemTime::now();
        if !self.certificates.is_due(now) {
            return;
        }
        let cluster = &self.settings.cluster;
        match self.certificates.issue(now) {
            Ok(credentials) => {
                self.metrics
                    .certificates
                    .with_label_values(&["operator"])
                    .inc();
                if let Err(error) = self.registered.renew(&credentials) {
                    tracing::error!(%cluster, %error, "the new certificate of the join port cannot be used");
                }
                self.mesh.renew(credentials);
                tracing::info!(%cluster, "the operator's certificates are renewed");
            }
            Err(error) => {
                tracing::error!(%cluster, %error, "the operator's certificates are not renewed; trying again");
            }
        }
    }
}

#[cfg(test)]
mod tests;
