//! What of a message is under way at once, and what a loss costs: QUIC's recovery, in turns (RFC 9002).
//!
//! ```text
//!              nothing lost: twice as many          some lost: half
//!   first ──▶ turn ─────────────────────▶ turn ──────────────────────▶ turn ──▶ all there
//!   (10)       │ nothing acknowledged at all: two, after a pause that doubles
//!              ▼
//!            probe
//! ```
//!
//! What later packets of a turn show as lost is sent again as soon as they are acknowledged; the end of a turn has none,
//! and waits for a timer.

use super::NodeId;
use super::network::Network;
use crate::time::Instant;

/// Packets under way before any is acknowledged: the initial window, 12,000 bytes in quinn (7.2).
const FIRST: usize = 10;
/// The least that a loss leaves of it (7.2), and what is sent to a peer that acknowledges nothing (6.2.4).
const LEAST: usize = 2;
/// A packet is lost when so many that were sent after it are acknowledged (6.1.1).
const SEEN_BY: usize = 3;

/// Packets that may be under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flight(usize);

/// What became of packets that were sent together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    sent: usize,
    pub(super) lost: usize,
    /// Those that came through after the last of the lost.
    after_last_loss: usize,
    /// When the last of the others is there.
    pub(super) last: Instant,
}

impl Flight {
    pub(super) const FIRST: Self = Self(FIRST);
    pub(super) const PROBE: Self = Self(LEAST);

    pub(super) fn packets(self) -> usize {
        self.0
    }

    pub(super) fn after(self, turn: Turn) -> Self {
        match turn.lost {
            0 => Self(self.0.saturating_mul(2)),
            lost if lost == turn.sent => Self::PROBE,
            _ => Self((self.0 / 2).max(LEAST)),
        }
    }
}

impl Turn {
    /// Where no process is nothing is acknowledged.
    pub(super) fn unanswered(self) -> Self {
        Self {
            lost: self.sent,
            after_last_loss: 0,
            ..self
        }
    }

    /// Whether acknowledgements tell all that was lost, if anything was.
    pub(super) fn is_told(self) -> bool {
        self.lost == 0 || self.after_last_loss >= SEEN_BY
    }

    pub(super) fn is_silent(self) -> bool {
        self.lost == self.sent
    }
}

impl Network {
    /// Sends so many packets of a message together.
    pub(super) fn carry_turn(
        &mut self,
        now: Instant,
        from: NodeId,
        to: NodeId,
        bytes: usize,
        packets: usize,
    ) -> Turn {
        let mut turn = Turn {
            sent: packets,
            lost: 0,
            after_last_loss: 0,
            last: now,
        };
        for _ in 0..packets {
            let (lost, last) = self.carry_packets(now, from, to, bytes, 1);
            turn.last = turn.last.max(last);
            turn.lost += lost;
            turn.after_last_loss = match lost {
                0 => turn.after_last_loss + 1,
                _ => 0,
            };
        }
        turn
    }
}
