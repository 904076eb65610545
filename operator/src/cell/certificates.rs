//! When members last got their certificates. Every one asks for a new one in the middle of its life;
//! whoever does not is shown. Nothing stops working when a certificate expires, because the map revokes
//! and expiry does not, but somebody should know.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use slotmesh_mesh::identity::Uid;
use slotmesh_mesh::map::Map;
use slotmesh_transport::authority::CERTIFICATE_LIFETIME;

use crate::seam::Kubernetes;

use super::Cell;

/// Whoever was given a certificate is listed within that time, or not at all.
const LISTED_WITHIN: Duration = Duration::from_secs(60);

/// Certificates of the members of one cell.
pub(super) struct Certificates {
    lifetime: Duration,
    since: Instant,
    issued: BTreeMap<Uid, Instant>,
}

impl Certificates {
    pub(super) fn new(lifetime: Duration) -> Self {
        Self {
            lifetime,
            since: Instant::now(),
            issued: BTreeMap::new(),
        }
    }

    pub(super) fn issued_to(&mut self, member: Uid, now: Instant) {
        self.issued.insert(member, now);
    }

    /// Names of members that got no certificate for three quarters of one's life. One that this
    /// operator never certified may have got a longer life from another.
    pub(super) fn overdue(&mut self, map: &Map, now: Instant) -> Vec<String> {
        // One that was issued just now is of a member that the next map lists.
        let new = |at: &Instant| now.saturating_duration_since(*at) < LISTED_WITHIN;
        self.issued
            .retain(|uid, at| new(at) || map.member(*uid).is_some());
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
        self.mesh.show_newest_certificate();
        let overdue = match self.life.map() {
            Some(map) => self.certificates.overdue(map, Instant::now()),
            None => Vec::new(),
        };
        self.reporter.set_overdue(overdue);
    }
}

#[cfg(test)]
mod tests;
