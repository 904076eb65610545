//! What a process may cost this one: how much of each it has used lately.
//!
//! It belongs to the process at the other end, not to the connection: whoever hangs up and connects anew begins where it
//! was, and only what leaks meanwhile is given back. Of those that are not connected it is kept until all of it has leaked.

use std::collections::VecDeque;
use std::time::Duration;

use crate::bucket::Bucket;
use crate::limits;
use crate::machine::PeerIdentity;
use crate::time::Instant;

/// Room that a difference takes up, and a whole map.
pub(in crate::member) const DIFFERENCE: u32 = 1;
pub(in crate::member) const WHOLE_MAP: u32 = limits::DIFFERENCES_FOR_A_MAP;
/// Room for all that is sent at once.
const MAPS_SENT: u32 = limits::MAPS_AT_ONCE * WHOLE_MAP;

/// What one process has used up.
#[derive(Clone, Debug, Default)]
pub(in crate::member) struct Allowance {
    /// Statements that it was sent because it asked.
    served: Bucket,
    /// Maps that it was sent.
    sent: Bucket,
    /// Maps from it that were read.
    read: Bucket,
    /// What came from it and does not hold.
    forged: Bucket,
    /// When a summary was last sent to it.
    summarized: Option<Instant>,
}

impl Allowance {
    /// How many of the statements that it asks for it is sent.
    pub(in crate::member) fn serve(&mut self, now: Instant, asked: usize) -> usize {
        let each = limits::SERVED_REFILL / limits::SERVED_BURST;
        let room = limits::SERVED_BURST.saturating_sub(self.served.level(now, each));
        let taken = u32::try_from(asked).map_or(room, |asked| asked.min(room));
        self.served.pour(now, taken);
        usize::try_from(taken).unwrap_or(usize::MAX)
    }

    /// Whether it is sent maps that take up so much room.
    pub(in crate::member) fn has_room_for_map(&mut self, now: Instant, room: u32) -> bool {
        let level = self.sent.level(now, limits::REPAIR_INTERVAL / WHOLE_MAP);
        level.saturating_add(room) <= MAPS_SENT
    }

    /// Such maps are sent.
    pub(in crate::member) fn send_map(&mut self, now: Instant, room: u32) {
        self.sent.pour(now, room);
    }

    /// Whether one more map from it is read.
    pub(in crate::member) fn read_map(&mut self, now: Instant) -> bool {
        let has_room = self.read.level(now, limits::MAPS_READ_PAUSE) < limits::MAPS_READ_MAX;
        if has_room {
            self.read.pour(now, 1);
        }
        has_room
    }

    /// Something from it does not hold, and counts so much.
    pub(in crate::member) fn forge(&mut self, now: Instant, weight: u32) {
        // What was there leaks first.
        self.forged.level(now, limits::FORGED_PAUSE);
        self.forged.pour(now, weight);
    }

    /// Whether nothing that it would have to be verified for is looked at.
    pub(in crate::member) fn is_forger(&mut self, now: Instant) -> bool {
        self.forged.level(now, limits::FORGED_PAUSE) >= limits::FORGED_MAX
    }

    /// Whether it is sent a summary now; then it counts as sent.
    pub(in crate::member) fn summarize(&mut self, now: Instant) -> bool {
        let is_due = !self.was_summarized_lately(now);
        if is_due {
            self.summarized = Some(now);
        }
        is_due
    }

    fn was_summarized_lately(&self, now: Instant) -> bool {
        let recently = |at: Instant| now.saturating_since(at) < limits::REPAIR_INTERVAL;
        self.summarized.is_some_and(recently)
    }

    /// Whether all of it has leaked.
    fn is_whole(&mut self, now: Instant) -> bool {
        let levels = [
            (
                &mut self.served,
                limits::SERVED_REFILL / limits::SERVED_BURST,
            ),
            (&mut self.sent, limits::REPAIR_INTERVAL / WHOLE_MAP),
            (&mut self.read, limits::MAPS_READ_PAUSE),
            (&mut self.forged, limits::FORGED_PAUSE),
        ];
        let are_empty = levels
            .into_iter()
            .all(|(bucket, each): (&mut Bucket, Duration)| bucket.level(now, each) == 0);
        are_empty && !self.was_summarized_lately(now)
    }
}

/// Processes that parted lately, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Parted(VecDeque<(PeerIdentity, Allowance)>);

impl Parted {
    /// It is not connected any more. Of operators nothing is kept: all of them have one name.
    pub(super) fn remember(&mut self, identity: PeerIdentity, allowance: Allowance) {
        if identity == PeerIdentity::Operator {
            return;
        }
        if self.0.len() >= limits::PARTED_MAX {
            self.0.pop_front();
        }
        self.0.push_back((identity, allowance));
    }

    /// What is left to it, if it is connected again.
    pub(super) fn recall(&mut self, now: Instant, identity: PeerIdentity) -> Allowance {
        self.0.retain_mut(|(_, allowance)| !allowance.is_whole(now));
        let place = self.0.iter().position(|(parted, _)| *parted == identity);
        let parted = place.and_then(|place| self.0.remove(place));
        parted.map(|(_, allowance)| allowance).unwrap_or_default()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests;
