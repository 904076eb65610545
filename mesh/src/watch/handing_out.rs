//! To whom the operator hands a map, and what it hears of the map's way ([`crate::convergence`]).

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use crate::convergence::{Convergence, Counts};
use crate::identity::{Epoch, Uid};
use crate::limits;
use crate::machine::Event;
use crate::time::Instant;
use crate::wire::Frame;

use super::Watch;

/// One published map.
#[derive(Clone, Copy, Debug)]
struct Way {
    era: u32,
    /// Members that the map lists.
    listed: usize,
    convergence: Convergence,
    /// Whether it was told what came of it, or nobody has to apply it.
    told: bool,
}

/// The maps published last, the newest first. When there are more the oldest is forgotten, told or not.
#[derive(Debug, Default)]
pub(super) struct Ways(VecDeque<Way>);

impl Ways {
    pub(super) fn begin(&mut self, era: u32, listed: usize, convergence: Convergence) {
        let told = convergence.members == 0;
        let way = Way {
            era,
            listed,
            convergence,
            told,
        };
        self.0.push_front(way);
        self.0.truncate(limits::OLDER_MAPS_MAX);
    }

    fn newest(&self) -> Option<&Convergence> {
        self.0.front().map(|way| &way.convergence)
    }

    fn find(&mut self, (era, epoch): (u32, Epoch)) -> Option<&mut Way> {
        let mut ways = self.0.iter_mut();
        ways.find(|way| (way.era, way.convergence.epoch) == (era, epoch))
    }

    /// A map that all applied, or the newest one when it was waited for long enough. An older one may well
    /// stay incomplete: whoever got the newer map first has no use for it.
    fn take_due(&mut self, now: Instant) -> Option<Convergence> {
        let late =
            |told: &Convergence| now.saturating_since(told.published) >= limits::CONVERGENCE_WAIT;
        let mut ways = (0..).zip(&mut self.0).filter(|(_, way)| !way.told);
        let due = ways.find(|(place, way)| {
            way.convergence.is_complete() || (*place == 0 && late(&way.convergence))
        });
        let (_, way) = due?;
        way.told = true;
        Some(way.convergence)
    }
}

impl Watch {
    /// How far the newest map that it published has come.
    #[must_use]
    pub fn convergence(&self) -> Option<&Convergence> {
        self.ways.newest()
    }

    pub(super) fn tell_convergence(&mut self, now: Instant) {
        while let Some(told) = self.ways.take_due(now) {
            self.event(Event::Converged(told));
        }
    }

    pub(super) fn on_applied(&mut self, version: (u32, Epoch), counts: &Counts) {
        let Some(way) = self.ways.find(version) else {
            return self.counters.refuse("AppliedUnknownMap");
        };
        // As each hop on the way here does.
        if counts.total() > way.listed {
            return self.refuse("AppliedBeyondMembers");
        }
        way.convergence.counts.add(counts);
    }

    /// Time since the map was published; zero for one that an earlier operator published.
    fn age_us(&self, now: Instant) -> u64 {
        let published = self.ways.newest().map(|told| told.published);
        let age = published.map_or(Duration::ZERO, |at| now.saturating_since(at));
        u64::try_from(age.as_micros()).unwrap_or(u64::MAX)
    }

    /// A peer asks for the map: each is sent whole to it once in a while.
    pub(super) fn send_whole_map(&mut self, now: Instant, uid: Uid) {
        let version = self.map().version();
        let Some(peer) = self.peers.get_mut(&uid) else {
            return;
        };
        if !peer.asked.is_due(now, version) {
            return self.counters.refuse("MapRequestAgain");
        }
        let connection = peer.connection;
        let frame = self.whole_map(now);
        self.send(connection, &frame);
    }

    fn whole_map(&self, now: Instant) -> Frame {
        Frame::Map {
            age_us: self.age_us(now),
            bytes: self.signed.encode(),
        }
    }

    /// Whom to be connected to: all of a small cell; else one of each zone, the lowest on ring 0 that answers, so that a map
    /// need not cross a border between members; and where zones are few, voters, then anybody who answers. While nobody is
    /// connected as many more are dialed as did not answer: where half of a cell is dead, each round of three is in one of eight.
    pub(super) fn reporters(&self, now: Instant) -> Vec<Uid> {
        if self.graph.operator_may_observe() {
            return self.graph.members().collect();
        }
        let ring = self.graph.ring(0);
        let zone = |uid: &Uid| self.listed(*uid).map(|member| member.zone.as_str());
        // Those who do not answer at once may all be dead: others are dialed beside them.
        let unanswered = |uid: &&Uid| self.dials.is_unanswered(now, **uid);
        let ready = || ring.iter().filter(|uid| !unanswered(uid));
        let more = match self.peers.is_empty() {
            true => self.dials.unanswered(now),
            false => 0,
        };
        let wanted = limits::REPORTERS_MAX.min(limits::REPORTERS + more);
        let mut zones = BTreeSet::new();
        let in_new_zone = ready().filter(|uid| zones.insert(zone(uid)));
        let mut chosen: Vec<Uid> = in_new_zone.take(limits::REPORTERS_MAX).copied().collect();
        let voters = self.graph.voters().iter().filter(|uid| !unanswered(uid));
        for uid in voters.chain(ready()) {
            if chosen.len() < wanted && !chosen.contains(uid) {
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
        if !peer.sent.is_due(now, version) {
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

#[cfg(test)]
mod tests;
