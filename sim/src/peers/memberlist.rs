//! A model of hashicorp/memberlist 0.7 with its LAN defaults, Lifeguard on.
//!
//! ```text
//!  tick, 1 s ─▶ ping ──500 ms──▶ 3 x ping-req, TCP ping ──1 s x (1 + score)──▶ suspect ──timeout──▶ dead
//!                │ ack                │ ack, TCP ack                              │ alive, newer
//!                ▼                    ▼                                           ▼
//!              alive, score - 1     alive, score - 1                            alive
//! ```
//!
//! Written from its sources (state.go, suspicion.go, awareness.go, queue.go, net.go, util.go of v0.7.0) and from
//! the paper on Lifeguard (arXiv 1707.00788): probing in a shuffled order, indirect probes with nacks, a TCP ping
//! beside them, the local health score that stretches a probe, suspicion whose timeout shrinks with
//! confirmations, a suspect that is told with the ping, refutation by incarnation, gossip to three every
//! 200 ms and with every probe's packets, also to the dead for 30 s, and push-pull.
//!
//! Left out, because it does not change when somebody is declared dead unless a member is overloaded: joining and leaving (all know each other
//! from the start), metadata, encryption, labels, compression (the packet's budget counts uncompressed bytes there,
//! too), the queue between sockets and handlers with its order, and Go's scheduling: a member's processor takes no time.
//! Messages are plain data; their sizes are those of msgpack, for names of ten letters.

pub mod awareness;
mod belief;
pub mod config;
mod members;
mod probe;
pub mod queue;
pub mod suspicion;
mod word;

use std::collections::BTreeMap;
use std::time::Duration;

use rand::RngExt;
use rand_pcg::Pcg64Mcg;
use slotmesh_mesh::sim::NodeId;
use slotmesh_mesh::time::Instant;

use super::protocol::{Output, Protocol, Way};
use super::ticker::Ticker;
use awareness::Awareness;
use config::{GOSSIP_INTERVAL, PROBE_INTERVAL, PUSH_PULL_INTERVAL, TCP_TIMEOUT};
use members::Members;
use probe::{Probe, Relay};
use queue::Queue;
pub use word::{Packet, Word};

type Out = Vec<Output<Packet>>;

/// A member.
#[derive(Debug)]
pub struct Memberlist {
    own: NodeId,
    incarnation: u32,
    members: Members,
    queue: Queue,
    awareness: Awareness,
    sequence: u32,
    rng: Pcg64Mcg,
    probe: Option<Probe>,
    /// Pings that were asked of it, by the sequence number of its own ping; the oldest first.
    relays: BTreeMap<u32, Relay>,
    probe_ticks: Ticker,
    gossip_ticks: Ticker,
    push_pull_at: Instant,
    /// A push-pull waits for its answer, until then at most.
    push_pull_waits: bool,
}

impl Memberlist {
    /// The member on a node, of so many.
    pub fn new(own: NodeId, members: u16, rng: Pcg64Mcg) -> Self {
        Self {
            own,
            incarnation: 1,
            members: Members::new(own, members),
            queue: Queue::default(),
            awareness: Awareness::default(),
            sequence: 0,
            rng,
            probe: None,
            relays: BTreeMap::new(),
            probe_ticks: Ticker::new(Instant::ZERO, PROBE_INTERVAL),
            gossip_ticks: Ticker::new(Instant::ZERO, GOSSIP_INTERVAL),
            push_pull_at: Instant::ZERO,
            push_pull_waits: false,
        }
    }

    fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    fn below(&mut self, most: Duration) -> Duration {
        let most = u64::try_from(most.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.rng.random_range(0..most.max(1)))
    }

    /// Sends one message, and of the gossip that waits what else fits into the packet.
    fn send(&mut self, to: NodeId, word: Word, out: &mut Out) {
        let budget = word::BUDGET.saturating_sub(word.bytes());
        let count = self.members.count();
        let mut words = self.queue.take(budget, count);
        words.insert(0, word);
        send_packet(to, words, out);
    }

    fn handle(&mut self, now: Instant, from: NodeId, word: Word, out: &mut Out) {
        match word {
            Word::Ping { sequence } => self.send(from, Word::Ack { sequence }, out),
            Word::PingRequest { sequence, target } => {
                self.relay(now, from, sequence, target, out);
            }
            Word::Ack { sequence } => self.on_ack(now, sequence, out),
            Word::Nack { sequence } => self.on_nack(sequence),
            Word::StreamPing { sequence } => {
                let ack = Word::StreamAck { sequence };
                send_on_stream(from, Way::Stream, ack, out);
            }
            Word::StreamAck { sequence } => self.on_stream_ack(sequence),
            Word::Suspect {
                node,
                incarnation,
                from,
            } => self.suspect(now, node, incarnation, from),
            Word::Alive { node, incarnation } => self.alive(now, node, incarnation, out),
            Word::Dead {
                node,
                incarnation,
                from,
            } => self.dead(now, node, incarnation, from, out),
            Word::State { is_answer, states } => {
                if is_answer {
                    if !std::mem::take(&mut self.push_pull_waits) {
                        return;
                    }
                    self.plan_push_pull(now);
                } else {
                    let states = self.members.states();
                    let answer = Word::State {
                        is_answer: true,
                        states,
                    };
                    send_on_stream(from, Way::Stream, answer, out);
                }
                self.merge(now, states, out);
            }
        }
    }

    fn gossip(&mut self, now: Instant, out: &mut Out) {
        let targets = self.members.gossip_targets(now, &mut self.rng);
        let count = self.members.count();
        for target in targets {
            let words = self.queue.take(word::BUDGET, count);
            if words.is_empty() {
                return;
            }
            send_packet(target, words, out);
        }
    }

    fn push_pull(&mut self, now: Instant, out: &mut Out) {
        if std::mem::take(&mut self.push_pull_waits) {
            // It got no answer in time.
            self.plan_push_pull(now);
            return;
        }
        let Some(with) = self.members.push_pull_target(&mut self.rng) else {
            self.plan_push_pull(now);
            return;
        };
        let states = self.members.states();
        let ask = Word::State {
            is_answer: false,
            states,
        };
        send_on_stream(with, Way::NewStream, ask, out);
        self.push_pull_waits = true;
        self.push_pull_at = now + TCP_TIMEOUT;
    }

    fn plan_push_pull(&mut self, now: Instant) {
        self.push_pull_at = now + config::push_pull_scale(PUSH_PULL_INTERVAL, self.members.count());
    }
}

impl Protocol for Memberlist {
    type Message = Packet;

    fn start(&mut self, now: Instant, _: &mut Out) {
        // Members of a cell that has run for a while are at any point of their rounds.
        self.members.shuffle(now, &mut self.rng);
        let first = now + self.below(PROBE_INTERVAL);
        self.probe_ticks = Ticker::new(first, PROBE_INTERVAL);
        let first = now + self.below(GOSSIP_INTERVAL);
        self.gossip_ticks = Ticker::new(first, GOSSIP_INTERVAL);
        let round = config::push_pull_scale(PUSH_PULL_INTERVAL, self.members.count());
        self.push_pull_at = now + self.below(round);
    }

    fn on_message(&mut self, now: Instant, from: NodeId, message: Packet, out: &mut Out) {
        for word in message.0 {
            self.handle(now, from, word, out);
        }
    }

    fn on_timer(&mut self, now: Instant, out: &mut Out) {
        self.time_out_relays(now, out);
        self.time_out_suspicions(now, out);
        self.go_on_probing(now, out);
        if self.gossip_ticks.take(now) {
            self.gossip(now, out);
        }
        if self.push_pull_at <= now {
            self.push_pull(now, out);
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let probe = match &self.probe {
            Some(probe) => probe.next_deadline(),
            None => self.probe_ticks.next(),
        };
        let relay = self.relays.values().next().map(|relay| relay.until);
        let suspicion = self.members.next_timeout();
        [relay, suspicion]
            .into_iter()
            .flatten()
            .chain([probe, self.gossip_ticks.next(), self.push_pull_at])
            .min()
    }
}

fn send_packet(to: NodeId, words: Vec<Word>, out: &mut Out) {
    out.push(Output::Send {
        to,
        way: Way::Datagram,
        bytes: word::packet_bytes(&words),
        message: Packet(words),
    });
}

fn send_on_stream(to: NodeId, way: Way, word: Word, out: &mut Out) {
    out.push(Output::Send {
        to,
        way,
        bytes: word.bytes(),
        message: Packet(vec![word]),
    });
}

#[cfg(test)]
mod tests;
