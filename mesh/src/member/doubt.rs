//! Doubt of oneself: whoever may be the sick one accuses nobody, and says so on its beats.
//!
//! ```text
//!   a timer half an interval late ────┐
//!   drops towards most of the peers ──┼─▶ in doubt for three beats more ─┐
//!   nobody heard, nobody answers ─────┼─▶ until somebody is heard ───────┼─▶ trusts itself again
//!   deaf ([`super::deafness`]) ───────┘   until it hears ────────────────┘
//! ```
//!
//! Half a cell may die at once: silence of many is no reason while one peer is heard, and drops towards
//! subjects that are silent are theirs. Source: Dadgar, Phillips and Currey, "Lifeguard" (2018): most
//! false verdicts come from members that are slow themselves.

use std::collections::BTreeSet;

use crate::edge::probe_interval;
use crate::limits;
use crate::machine::{ConnectionId, Event};
use crate::time::Instant;

use super::Mesh;
use super::peers::Kind;

/// What a member knows against itself.
#[derive(Debug, Default)]
pub(super) struct Doubt {
    /// Late, or dropping: for three beats from the last time.
    until: Instant,
    /// Nobody was heard when an edge was to fail.
    pub(super) alone: bool,
    /// Connections on which something was dropped since the last beat.
    dropped: BTreeSet<ConnectionId>,
    /// What was last told.
    pub(super) said: bool,
}

impl Doubt {
    pub(super) fn begin_beat(&mut self) {
        self.dropped.clear();
    }
}

impl Mesh {
    /// This process was late, by more than half an interval.
    pub(super) fn doubt_for_a_while(&mut self, now: Instant) {
        self.doubt.until = now + self.interval() * limits::STEADY_BEATS;
    }

    pub(super) fn on_send_dropped(&mut self, now: Instant, connection: ConnectionId) {
        self.counters.send_drops += 1;
        let Some(Kind::Member(id)) = self.peers.get(connection).map(|peer| peer.kind) else {
            return;
        };
        let silent = self
            .edges
            .get(id.uid)
            .is_some_and(|edge| !edge.is_well(now));
        if silent || !self.doubt.dropped.insert(connection) {
            return;
        }
        if self.doubt.dropped.len() * 2 > self.peers.members().count() {
            self.doubt_for_a_while(now);
        }
    }

    /// Whether an edge may fail on this member's word.
    pub(super) fn is_well(&mut self, now: Instant) -> bool {
        let train = probe_interval(self.interval()) * u32::from(limits::PROBES);
        let since = now - (train + self.interval() * 2);
        self.doubt.alone = self.heard_anybody < since;
        self.tell_doubt(now);
        !self.doubt.said && self.trusts_its_hearing(now)
    }

    pub(super) fn tell_doubt(&mut self, now: Instant) {
        let on = self.doubt.alone || now < self.doubt.until || self.is_deaf();
        if std::mem::replace(&mut self.doubt.said, on) != on {
            self.event(Event::SelfDoubt { on });
        }
    }
}

#[cfg(test)]
mod tests;
