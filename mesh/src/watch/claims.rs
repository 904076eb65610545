//! Maps that the record does not know, as members tell of them.
//!
//! Whoever greets may claim to have a newer map, or another one of the same epoch, and either would end the making of
//! maps: was the record restored from a backup? So a claim is asked to be proven, and only a map with a signature counts.
//!
//! ```text
//!   (nothing) ── Hello: newer, or other bytes ──▶ claimed ── a map that is signed ──▶ told, if it is so
//!       ▲             MapRequest goes out            │  ▲
//!       │                                            │  └── each REPAIR_INTERVAL: MapRequest again
//!       └──── Hello: a map that is published ────────┘
//! ```

use std::cmp::Ordering;

use crate::identity::{Epoch, Uid};
use crate::limits;
use crate::machine::Event;
use crate::signed::SignedMap;
use crate::time::Instant;
use crate::wire::Frame;

use super::Watch;

/// Whether a peer claims to have a map that was not published here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Claim {
    #[default]
    None,
    /// It was asked for that map then.
    Asked(Instant),
}

impl Watch {
    pub(super) fn on_hello(
        &mut self,
        now: Instant,
        uid: Uid,
        version: (u32, Epoch),
        sha256: [u8; 8],
    ) {
        let order = version.cmp(&self.map().version());
        let same = order == Ordering::Equal && self.signed.sha256().starts_with(&sha256);
        let Some(peer) = self.peers.get_mut(&uid) else {
            return;
        };
        peer.version = Some(version);
        let is_claim = order != Ordering::Less && !same;
        match (is_claim, peer.claim) {
            (false, _) => peer.claim = Claim::None,
            (true, Claim::None) => self.ask_for_proof(now, uid),
            // It was asked, and answers with the newest that it has.
            (true, Claim::Asked(_)) => {}
        }
        self.census.hear(uid, version);
        if order == Ordering::Less {
            self.send_map(now, uid);
        }
    }

    fn ask_for_proof(&mut self, now: Instant, uid: Uid) {
        if let Some(peer) = self.peers.get_mut(&uid) {
            peer.claim = Claim::Asked(now);
            let connection = peer.connection;
            self.send(connection, &Frame::MapRequest);
        }
    }

    /// Asks again for what has not come: a frame may have been dropped.
    pub(super) fn ask_for_proofs(&mut self, now: Instant) {
        let is_due = |claim| matches!(claim, Claim::Asked(at) if now.saturating_since(at) >= limits::REPAIR_INTERVAL);
        let peers = self.peers.iter();
        let due: Vec<Uid> = peers
            .filter(|(_, peer)| is_due(peer.claim))
            .map(|(uid, _)| *uid)
            .collect();
        for uid in due {
            self.ask_for_proof(now, uid);
        }
    }

    /// The operator makes maps and takes none, but one that was asked for it looks at, once.
    pub(super) fn on_map(&mut self, now: Instant, uid: Uid, bytes: &[u8]) {
        let claim = self.peers.get_mut(&uid).map(|peer| &mut peer.claim);
        if claim.map(std::mem::take).unwrap_or_default() == Claim::None {
            return self.refuse("MapForTheOperator");
        }
        match SignedMap::decode(bytes, self.map().cluster, &self.keys()) {
            Ok(map) => self.on_proof(&map),
            Err(error) => {
                self.refuse(error.category());
                self.count_forged(now, uid, 1);
            }
        }
    }

    fn on_proof(&mut self, map: &SignedMap) {
        let version = map.map().version();
        match version.cmp(&self.map().version()) {
            Ordering::Greater => self.event(Event::NewerMapSeen { version }),
            Ordering::Equal if map.sha256() != self.signed.sha256() && !self.conflict => {
                self.conflict = true;
                self.event(Event::MapConflict { epoch: version.1 });
            }
            // The record has caught up meanwhile.
            Ordering::Equal | Ordering::Less => {}
        }
    }
}

#[cfg(test)]
mod tests;
