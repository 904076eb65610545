//! What the network does to packets: delay, jitter (and so reordering), loss, copies, links that are
//! cut, and each node's own line, which takes time for every byte and holds no more than its queue.
//!
//! ```text
//!   from ──▶ line out ──▶ loss, cuts ──▶ delay ──▶ line in ──▶ to
//!            1 Gbit/s,                             1 Gbit/s,
//!            queue, drops                          queue, drops
//! ```

use std::collections::BTreeSet;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::NodeId;
use crate::time::Instant;

/// Bytes around a datagram: IPv4 and UDP 28; QUIC short header with 8-byte connection ID and 2-byte
/// packet number 11, DATAGRAM frame 2 (RFC 9221), AEAD tag 16 (RFC 9001).
pub const PACKET_OVERHEAD: usize = 57;
/// Bytes of a packet that only acknowledges: as above, with an ACK frame of 6 instead of the datagram.
pub const ACK_BYTES: usize = 61;
/// Payload of a full packet (QUIC's first datagram budget, RFC 9000 section 14.1).
pub const PACKET_PAYLOAD: usize = 1162;
/// What is held back to be overtaken is that much later.
const REORDER_DELAY: Duration = Duration::from_millis(5);
/// Times that a half of a join is sent; then the joiner begins anew.
const JOIN_SENDS: u32 = 4;
/// Groups that are cut off at the same time.
const CUTS_MAX: u32 = 64;

/// How good the network is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkSettings {
    /// Shortest time from one node to another.
    pub latency: Duration,
    /// Up to that much more, evenly spread: later packets overtake earlier ones.
    pub jitter: Duration,
    /// Packets of a thousand that are lost.
    pub loss_per_mille: u32,
    /// Datagrams of a thousand that arrive twice.
    pub duplicate_per_mille: u32,
    /// Datagrams of a thousand that are held back for 5 ms.
    pub reorder_per_mille: u32,
    /// Speed of each node's line, each way, in Mbit/s.
    pub line_mbit: u32,
    /// Bytes that wait for the line, each way; what finds no room is dropped.
    pub line_queue_bytes: u32,
}

impl Default for NetworkSettings {
    /// A data centre that is not at its best.
    fn default() -> Self {
        Self {
            latency: Duration::from_micros(250),
            jitter: Duration::from_millis(1),
            loss_per_mille: 10,
            duplicate_per_mille: 0,
            reorder_per_mille: 0,
            line_mbit: 1000,
            line_queue_bytes: 1 << 20,
        }
    }
}

/// Packets that a message on a stream takes.
#[must_use]
pub fn packets_of(bytes: usize) -> usize {
    bytes.div_ceil(PACKET_PAYLOAD).max(1)
}

/// What a node's line carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Packets that it sent.
    pub packets: u64,
    /// Bytes of those, headers included.
    pub bytes: u64,
    /// Packets that found the queue full, out or in.
    pub dropped: u64,
    /// Those of them that were arriving.
    pub dropped_in: u64,
}

/// One node's line.
#[derive(Clone, Debug, Default)]
struct Line {
    traffic: Traffic,
    /// Until when the line is busy, in nanoseconds.
    out_busy: u64,
    in_busy: u64,
    loss_out_per_mille: u32,
    loss_in_per_mille: u32,
    /// Bit i: it is inside the i-th group that is cut off.
    inside: u64,
}

/// The network.
#[derive(Debug)]
pub(super) struct Network {
    settings: NetworkSettings,
    jitter_micros: u64,
    /// Nanoseconds that a line takes for a full queue.
    queue_nanos: u64,
    /// Directions in which nothing passes: (from, to).
    cuts: BTreeSet<(NodeId, NodeId)>,
    /// Directions in which no datagram passes, and all else does.
    silenced: BTreeSet<(NodeId, NodeId)>,
    groups: u32,
    lines: Vec<Line>,
    /// Lines that lose more than others.
    bad_lines: usize,
    rng: Pcg64Mcg,
}

impl Network {
    pub(super) fn new(settings: NetworkSettings, seed: u64, nodes: u16) -> Self {
        let queue = u64::from(settings.line_queue_bytes);
        Self {
            settings,
            jitter_micros: u64::try_from(settings.jitter.as_micros()).unwrap_or(u64::MAX),
            queue_nanos: line_nanos(settings, queue),
            cuts: BTreeSet::new(),
            silenced: BTreeSet::new(),
            groups: 0,
            lines: vec![Line::default(); usize::from(nodes) + 1],
            bad_lines: 0,
            rng: Pcg64Mcg::seed_from_u64(seed),
        }
    }

    // Faults.

    pub(super) fn cut(&mut self, from: NodeId, to: NodeId) {
        self.cuts.insert((from, to));
    }

    /// No datagram passes any more, whatever heals.
    pub(super) fn silence(&mut self, from: NodeId, to: NodeId) {
        self.silenced.insert((from, to));
    }

    /// Nothing passes between these and all others.
    pub(super) fn cut_off(&mut self, these: &BTreeSet<NodeId>) {
        let bit = 1_u64 << (self.groups % CUTS_MAX);
        self.groups += 1;
        for node in these {
            if let Some(line) = self.line_mut(*node) {
                line.inside |= bit;
            }
        }
    }

    pub(super) fn heal_all(&mut self) {
        self.cuts.clear();
        self.groups = 0;
        for line in &mut self.lines {
            line.inside = 0;
            line.loss_in_per_mille = 0;
            line.loss_out_per_mille = 0;
        }
        self.bad_lines = 0;
    }

    /// Loses so much of what arrives at a node, and of what leaves it, beyond what all lose.
    pub(super) fn set_line_loss(&mut self, node: NodeId, arriving: u32, leaving: u32) {
        if let Some(line) = self.line_mut(node) {
            line.loss_in_per_mille = arriving.min(1000);
            line.loss_out_per_mille = leaving.min(1000);
        }
        let is_bad = |line: &&Line| line.loss_in_per_mille + line.loss_out_per_mille > 0;
        self.bad_lines = self.lines.iter().filter(is_bad).count();
    }

    /// Whether its line loses more than others.
    pub(super) fn has_bad_line(&self, node: NodeId) -> bool {
        let line = self.line(node);
        line.is_some_and(|line| line.loss_in_per_mille + line.loss_out_per_mille > 0)
    }

    pub(super) fn is_whole(&self) -> bool {
        self.has_no_cuts() && self.bad_lines == 0
    }

    pub(super) fn has_no_cuts(&self) -> bool {
        self.cuts.is_empty() && self.groups == 0
    }

    pub(super) fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        // Nearly always nothing is cut.
        !self.has_no_cuts() && (self.cuts.contains(&(from, to)) || self.sides_differ(from, to))
    }

    fn sides_differ(&self, from: NodeId, to: NodeId) -> bool {
        let inside = |node| self.line(node).map(|line| line.inside);
        inside(from) != inside(to)
    }

    // Packets.

    /// Whether a packet sent now arrives.
    pub(super) fn passes(&mut self, from: NodeId, to: NodeId) -> bool {
        let mut lost = self.happens(self.settings.loss_per_mille);
        if self.bad_lines > 0 {
            let leaving = self.line(from).map_or(0, |line| line.loss_out_per_mille);
            let arriving = self.line(to).map_or(0, |line| line.loss_in_per_mille);
            lost |= self.happens(leaving);
            lost |= self.happens(arriving);
        }
        !lost && !self.is_cut(from, to)
    }

    fn happens(&mut self, per_mille: u32) -> bool {
        per_mille > 0 && self.rng.random_range(0..1000) < per_mille
    }

    /// When one half of a join arrives, if it does: it goes over QUIC, so what is lost is sent again after a pause that
    /// doubles.
    pub(super) fn carry_of_join(
        &mut self,
        from: NodeId,
        to: NodeId,
        mut pause: Duration,
    ) -> Option<Duration> {
        let mut waited = Duration::ZERO;
        for _ in 0..JOIN_SENDS {
            if self.passes(from, to) {
                return Some(waited + self.latency());
            }
            waited += pause;
            pause *= 2;
        }
        None
    }

    /// When a datagram arrives, if it does, and whether once more.
    pub(super) fn carry(
        &mut self,
        now: Instant,
        from: NodeId,
        to: NodeId,
        bytes: usize,
    ) -> (Option<Instant>, Option<Instant>) {
        if !self.silenced.is_empty() && self.silenced.contains(&(from, to)) {
            return (None, None);
        }
        self.carry_packet(now, from, to, bytes + PACKET_OVERHEAD)
    }

    /// The same for a datagram of any kind, whose size counts all its headers.
    pub(super) fn carry_packet(
        &mut self,
        now: Instant,
        from: NodeId,
        to: NodeId,
        size: usize,
    ) -> (Option<Instant>, Option<Instant>) {
        let Some(departed) = self.leave(now, from, size) else {
            return (None, None);
        };
        if !self.passes(from, to) {
            return (None, None);
        }
        let mut delay = self.latency();
        if self.happens(self.settings.reorder_per_mille) {
            delay += REORDER_DELAY;
        }
        let first = self.enter(departed + delay, to, size);
        let again = self
            .happens(self.settings.duplicate_per_mille)
            .then(|| departed + self.latency());
        (first, again)
    }

    /// Sends the packets of a message that did not arrive yet: how many are still missing, and when
    /// the last of the others is there.
    pub(super) fn carry_packets(
        &mut self,
        now: Instant,
        from: NodeId,
        to: NodeId,
        bytes: usize,
        missing: usize,
    ) -> (usize, Instant) {
        let (mut lost, mut last) = (0, now);
        // All packets of a message alike: together they are as long as those of which the last is shorter.
        let size = bytes.div_ceil(packets_of(bytes)) + PACKET_OVERHEAD;
        for _ in 0..missing {
            let arrived = match self.leave(now, from, size) {
                Some(departed) if self.passes(from, to) => {
                    let delay = self.latency();
                    self.enter(departed + delay, to, size)
                }
                _ => None,
            };
            match arrived {
                Some(at) => last = last.max(at),
                None => lost += 1,
            }
        }
        (lost, last)
    }

    /// An acknowledgement is a packet too: members ask each other to acknowledge every packet at once.
    pub(super) fn count_ack(&mut self, from: NodeId, packets: usize) {
        if let Some(line) = self.line_mut(from) {
            line.traffic.packets += packets as u64;
            line.traffic.bytes += (packets * ACK_BYTES) as u64;
        }
    }

    fn leave(&mut self, now: Instant, from: NodeId, size: usize) -> Option<Instant> {
        let takes = line_nanos(self.settings, size as u64);
        let queue = self.queue_nanos;
        let line = self.line_mut(from)?;
        line.traffic.packets += 1;
        line.traffic.bytes += size as u64;
        let free = pass(&mut line.out_busy, now, takes, queue);
        line.traffic.dropped += u64::from(free.is_none());
        free
    }

    fn enter(&mut self, at: Instant, to: NodeId, size: usize) -> Option<Instant> {
        let takes = line_nanos(self.settings, size as u64);
        let queue = self.queue_nanos;
        let line = self.line_mut(to)?;
        let there = pass(&mut line.in_busy, at, takes, queue);
        line.traffic.dropped += u64::from(there.is_none());
        line.traffic.dropped_in += u64::from(there.is_none());
        there
    }

    /// What a node's line carried so far.
    pub(super) fn traffic(&self, node: NodeId) -> Traffic {
        self.line(node)
            .map_or(Traffic::default(), |line| line.traffic)
    }

    fn line(&self, node: NodeId) -> Option<&Line> {
        self.lines.get(usize::from(node.0))
    }

    fn line_mut(&mut self, node: NodeId) -> Option<&mut Line> {
        self.lines.get_mut(usize::from(node.0))
    }

    // Chance.

    /// Time that a packet takes.
    pub(super) fn latency(&mut self) -> Duration {
        let jitter = self.rng.random_range(0..=self.jitter_micros);
        self.settings.latency + Duration::from_micros(jitter)
    }

    /// A time below `most`.
    pub(super) fn below(&mut self, most: Duration) -> Duration {
        let most = u64::try_from(most.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.rng.random_range(0..most.max(1)))
    }

    pub(super) fn random(&mut self) -> u64 {
        self.rng.random()
    }
}

/// Nanoseconds that a line takes for so many bytes.
fn line_nanos(settings: NetworkSettings, bytes: u64) -> u64 {
    bytes * 8000 / u64::from(settings.line_mbit.max(1))
}

/// A packet on a line that is busy until then: when it is through, if the queue has room for it.
fn pass(busy: &mut u64, now: Instant, takes: u64, queue: u64) -> Option<Instant> {
    let nanos = now.as_micros() * 1000;
    let begins = (*busy).max(nanos);
    if begins - nanos > queue {
        return None;
    }
    *busy = begins + takes;
    Some(Instant::from_micros(busy.div_ceil(1000)))
}

#[cfg(test)]
mod tests;
