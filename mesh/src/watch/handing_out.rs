//! To whom the operator hands a map, and what it hears of the map's way ([`crate::convergence`]).

use std::collections::BTreeSet;

use crate::convergence::{Convergence, Counts};
use crate::identity::{Epoch, Uid};
use crate::limits;
use crate::machine::Event;
use crate::signed::SignedMap;
use crate::time::Instant;
use crate::wire::Frame;

use super::{Dial, Watch};

impl Watch {
    /// How far the newest map that it published has come.
    #[must_use]
    pub fn convergence(&self) -> Option<&Convergence> {
        self.convergence.as_ref()
    }

    /// A map is published; what came of the one before it is told now or never.
    pub(super) fn begin_convergence(&mut self, now: Instant, map: &SignedMap) {
        if let Some(before) = self.convergence.filter(|_| !self.convergence_told) {
            self.event(Event::Converged(before));
        }
        let begun = Convergence::of(self.map(), map.map(), now);
        self.convergence = Some(begun);
        // Where nobody has to apply it there is nothing to tell.
        self.convergence_told = begun.members == 0;
    }

    pub(super) fn tell_convergence(&mut self, now: Instant) {
        let Some(told) = self.convergence.filter(|_| !self.convergence_told) else {
            return;
        };
        let late = now.saturating_since(told.published) >= limits::CONVERGENCE_WAIT;
        if told.is_complete() || late {
            self.convergence_told = true;
            self.event(Event::Converged(told));
        }
    }

    pub(super) fn on_applied(&mut self, version: (u32, Epoch), counts: &Counts) {
        let current = version == self.map().version();
        match &mut self.convergence {
            Some(told) if current => {
                if told.counts.total() + counts.total() > limits::MEMBERS_MAX {
                    return self.refuse("AppliedBeyondMembers");
                }
                told.counts.add(counts);
            }
            // Of a map that another one followed.
            _ => self.counters.refuse("AppliedUnknownMap"),
        }
    }

    /// Time since the map was published; zero for one that an earlier operator published.
    fn age_us(&self, now: Instant) -> u64 {
        let age = self
            .convergence
            .map(|told| now.saturating_since(told.published));
        age.map_or(0, |age| u64::try_from(age.as_micros()).unwrap_or(u64::MAX))
    }

    pub(super) fn whole_map(&self, now: Instant) -> Frame {
        Frame::Map {
            age_us: self.age_us(now),
            bytes: self.signed.encode(),
        }
    }

    /// Whom to be connected to: all of a small cell; else one reporter in each zone, lowest on ring 0
    /// first, filled up with voters, then with anybody, when those do not answer.
    pub(super) fn reporters(&self, now: Instant) -> Vec<Uid> {
        if self.graph.operator_may_observe() {
            return self.graph.members().collect();
        }
        let ring = self.graph.ring(0);
        let zone = |uid: &Uid| self.map().member(*uid).map(|member| member.zone.as_str());
        let mut zones = BTreeSet::new();
        let in_new_zone = ring.iter().filter(|uid| zones.insert(zone(uid)));
        let preferred: Vec<Uid> = in_new_zone.copied().collect();
        let mut chosen = Vec::with_capacity(limits::REPORTERS);
        for uid in preferred.iter().chain(self.graph.voters()).chain(ring) {
            let resting =
                matches!(self.dials.get(uid), Some(Dial::Wait { until, .. }) if *until > now);
            if chosen.len() < limits::REPORTERS && !chosen.contains(uid) && !resting {
                chosen.push(*uid);
            }
        }
        chosen
    }

    pub(super) fn send_map(&mut self, now: Instant, uid: Uid) {
        let version = self.map().version();
        let Some(peer) = self.peers.get_mut(&uid) else {
            return;
        };
        // Before its greeting nothing is known of the peer; the greeting brings us back here.
        let Some(theirs) = peer.version.filter(|theirs| *theirs < version) else {
            return;
        };
        peer.version = Some(version);
        if peer.sent.replace(version) == Some(version) {
            return;
        }
        let connection = peer.connection;
        let base = self
            .older
            .iter()
            .find(|older| older.map().version() == theirs);
        let frame = match base {
            Some(base) => Frame::MapDifference {
                age_us: self.age_us(now),
                bytes: self.signed.difference_from(base),
            },
            None => self.whole_map(now),
        };
        self.counters.maps_sent += 1;
        self.send(connection, &frame);
    }
}
