//! The network and the calendar of the simulator, for worlds of other protocols: what is measured beside
//! SlotMesh meets the same delays, losses and cuts, drawn from the same seeds.
//!
//! Only what such a world needs is open here; the parts themselves stay closed.

use std::collections::BTreeSet;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::connection::{STREAM_WINDOW, resend_pause};
use super::flight::Flight;
use super::handshake::HANDSHAKE_PAUSE;
pub use super::network::packets_of;
use super::network::{Network, NetworkSettings, PACKET_PAYLOAD, Traffic};
use super::schedule::Schedule;
use super::{Fault, NodeId};
use crate::limits;
use crate::time::Instant;

/// Bytes around a UDP payload: IPv4 20, UDP 8.
pub const UDP_OVERHEAD: usize = 28;
/// A message that is not there after that time is given up.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(10);

/// The network between nodes 1 to n.
#[derive(Debug)]
pub struct Wire {
    network: Network,
}

impl Wire {
    /// A network between so many nodes, whose chance is made of the seed.
    #[must_use]
    pub fn new(settings: NetworkSettings, seed: u64, nodes: u16) -> Self {
        let network = Network::new(settings, seed, nodes);
        Self { network }
    }

    /// Sends a UDP datagram of so many bytes: when it arrives, if it does, and whether once more.
    pub fn datagram(
        &mut self,
        now: Instant,
        from: NodeId,
        to: NodeId,
        bytes: usize,
    ) -> (Option<Instant>, Option<Instant>) {
        self.network
            .carry_packet(now, from, to, bytes + UDP_OVERHEAD)
    }

    /// Opens a stream: when the other side's kernel has answered, if neither packet was lost.
    pub fn handshake(&mut self, now: Instant, from: NodeId, to: NodeId) -> Option<Instant> {
        let there = self.network.passes(from, to);
        let back = self.network.passes(to, from);
        let takes = self.network.latency() + self.network.latency();
        (there && back).then_some(now + takes)
    }

    /// Sends packets of a stream: how many are still missing, and when the last of the others is there.
    pub fn packets(
        &mut self,
        now: Instant,
        from: NodeId,
        to: NodeId,
        missing: usize,
    ) -> (usize, Instant) {
        self.network
            .carry_packets(now, from, to, PACKET_PAYLOAD, missing)
    }

    /// Connects as members do, trying again where packets are lost: when the connection is up at the dialer.
    pub fn dial(&mut self, now: Instant, from: NodeId, to: NodeId) -> Option<Instant> {
        let (mut at, mut pause) = (now, HANDSHAKE_PAUSE);
        while at.saturating_since(now) < limits::HANDSHAKE_TIMEOUT {
            if let Some(up) = self.handshake(at, from, to) {
                return Some(up);
            }
            at = at + pause;
            pause *= 2;
        }
        None
    }

    /// Sends the first long message of a connection, in turns as members do (`flight.rs`): when the last of it is there.
    pub fn first_message(
        &mut self,
        now: Instant,
        from: NodeId,
        to: NodeId,
        bytes: usize,
    ) -> Option<Instant> {
        let (mut at, mut there) = (now, now);
        let (mut missing, mut flight, mut attempts) = (packets_of(bytes), Flight::FIRST, 0);
        while at.saturating_since(now) < MESSAGE_TIMEOUT {
            let packets = missing
                .min(flight.packets())
                .min(STREAM_WINDOW / PACKET_PAYLOAD);
            let turn = self.network.carry_turn(at, from, to, bytes, packets);
            missing -= packets - turn.lost;
            there = there.max(turn.last);
            if missing == 0 {
                return Some(there);
            }
            flight = flight.after(turn);
            at = if turn.is_told() {
                turn.last + self.network.latency()
            } else {
                at + resend_pause(attempts)
            };
            // Whoever hears of something starts with the short pause again.
            attempts = if turn.is_silent() { attempts + 1 } else { 0 };
        }
        None
    }

    /// Lets a link or a line go wrong, or right again; false for a fault that is not the network's.
    pub fn inflict(&mut self, fault: &Fault) -> bool {
        match fault {
            Fault::CutOneWay(from, to) => self.network.cut(*from, *to),
            Fault::Cut(a, b) => {
                self.network.cut(*a, *b);
                self.network.cut(*b, *a);
            }
            Fault::Partition(these) => self.network.cut_off(these),
            Fault::HealLinks => self.network.heal_all(),
            Fault::LineLoss(node, arriving, leaving) => {
                self.network.set_line_loss(*node, *arriving, *leaving);
            }
            _ => return false,
        }
        true
    }

    /// What a node's line carried.
    #[must_use]
    pub fn traffic(&self, node: NodeId) -> Traffic {
        self.network.traffic(node)
    }

    /// A generator of its own for one who is part of the run.
    pub fn generator(&mut self) -> Pcg64Mcg {
        Pcg64Mcg::seed_from_u64(self.network.random())
    }
}

/// A choice of so many different nodes of 1 to n, made of the seed alone: all peers that are compared with it
/// lose the same ones.
#[must_use]
pub fn choose(seed: u64, nodes: u16, count: usize) -> BTreeSet<NodeId> {
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    let count = count.min(usize::from(nodes));
    let mut chosen = BTreeSet::new();
    while chosen.len() < count {
        chosen.insert(NodeId(rng.random_range(1..=nodes)));
    }
    chosen
}

/// What is due, in the order of time; what is due at one instant, in the order in which it was put in.
#[derive(Debug)]
pub struct Agenda<T> {
    schedule: Schedule<T>,
}

impl<T> Default for Agenda<T> {
    fn default() -> Self {
        let schedule = Schedule::new();
        Self { schedule }
    }
}

impl<T> Agenda<T> {
    /// Puts something in. What finds no room is counted ([`Self::refused`]).
    pub fn push(&mut self, at: Instant, what: T) {
        self.schedule.push(at, what);
    }

    /// Takes out the next of all that is due until `end`.
    pub fn pop_until(&mut self, end: Instant) -> Option<(Instant, T)> {
        self.schedule.pop_until(end)
    }

    /// How much found no room: a run in which that is not zero proves nothing.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.schedule.refused()
    }
}

#[cfg(test)]
mod tests;
