//! Acknowledgements as packets: of every second packet at once, of a single one after a while, unless something goes
//! back before that and takes it along (RFC 9000, 13.2.1 and 13.2.2; quinn does so).
//!
//! ```text
//!              a packet                       another: acknowledged at once
//!   none owed ──────────▶ one owed, due later ──────────────────────────────▶ none owed
//!                             └── something is sent: rides along; or it is due: a packet of its own ──▶
//! ```

use std::time::Duration;

use super::Simulation;
use super::connection::EndId;
use crate::time::Instant;

/// Time until a single packet is acknowledged: quinn's `max_ack_delay` (18.2).
const ACK_DELAY: Duration = Duration::from_millis(25);
/// An acknowledgement goes out with every so many packets.
const ACKED_TOGETHER: usize = 2;

/// What one end owes the other.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Acks {
    owed: usize,
    due: Instant,
}

impl Acks {
    /// Packets came; returns how many that only acknowledge have gone out for them, and before them.
    fn receive(&mut self, now: Instant, packets: usize) -> usize {
        let overdue = self.expire(now);
        let owed = self.owed + packets;
        if self.owed == 0 {
            self.due = now + ACK_DELAY;
        }
        self.owed = owed % ACKED_TOGETHER;
        overdue + owed / ACKED_TOGETHER
    }

    /// Something is sent, and what is owed goes with it; returns how many that only acknowledge have gone out before.
    fn send(&mut self, now: Instant) -> usize {
        let overdue = self.expire(now);
        self.owed = 0;
        overdue
    }

    fn expire(&mut self, now: Instant) -> usize {
        let is_over = self.owed > 0 && now >= self.due;
        if is_over {
            self.owed = 0;
        }
        usize::from(is_over)
    }
}

impl Simulation {
    /// Packets arrived at an end, and are acknowledged.
    pub(super) fn acknowledge_packets(&mut self, at: EndId, packets: usize) {
        self.count_acks(at, |acks, now| acks.receive(now, packets));
    }

    /// An end sends something, and acknowledges with it.
    pub(super) fn acknowledge_along(&mut self, from: EndId) {
        self.count_acks(from, Acks::send);
    }

    fn count_acks(&mut self, at: EndId, count: impl FnOnce(&mut Acks, Instant) -> usize) {
        let now = self.now;
        let Some(end) = self.end_mut(at) else {
            return;
        };
        let (packets, node) = (count(&mut end.acks, now), end.process.node);
        if packets > 0 {
            self.network.count_ack(node, packets);
        }
    }
}

#[cfg(test)]
mod tests;
