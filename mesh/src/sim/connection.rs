//! Connections as QUIC has them, seen from above: datagrams that may be lost, messages that arrive
//! however often their packets are lost, a close that travels, a reset from a process that knows nothing
//! of the connection, and silence that ends it.

mod ending;

use std::collections::VecDeque;
use std::time::Duration;

use super::flight::Flight;
use super::network::{PACKET_PAYLOAD, packets_of};
use super::{Happening, NodeId, OPERATOR, ProcessId, Simulation};
use crate::limits;
use crate::machine::{ConnectionId, Disconnect, Input, PeerIdentity};
use crate::time::Instant;

/// A lost part of a message is sent again after that time; the pause doubles.
const RESEND_PAUSE: Duration = Duration::from_millis(30);
/// The longest such pause to a peer that is heard: an acknowledged beat shows that what was sent before it is lost.
const RESEND_PAUSE_MAX: Duration = Duration::from_millis(200);
/// Messages under way at once on one connection, in one direction.
const STREAMS: usize = limits::STREAMS as usize;
/// Bytes of one message that are under way before the receiver has read some: a message of 1 MiB takes 16 turns.
pub(super) const STREAM_WINDOW: usize = limits::STREAM_WINDOW_BYTES as usize;
/// The same for all messages of one connection.
const WINDOW: usize = limits::CONNECTION_WINDOW_BYTES as usize;
/// Inputs that wait for a process that is frozen; its socket holds no more.
pub const FROZEN_INPUTS_MAX: usize = 4096;
/// A frozen process is looked at again after that time, where something waits for it to go on.
const FROZEN_PAUSE: Duration = Duration::from_millis(50);

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EndId {
    pub(super) connection: u64,
    pub(super) accepted: bool,
}

impl EndId {
    /// Each end has a name of its own for the connection, as in two processes.
    pub(super) fn name(self) -> ConnectionId {
        ConnectionId(self.connection * 2 + u64::from(self.accepted))
    }

    pub(super) fn of(name: ConnectionId) -> Self {
        Self {
            connection: name.0 / 2,
            accepted: name.0 % 2 == 1,
        }
    }

    fn other(self) -> Self {
        Self {
            accepted: !self.accepted,
            ..self
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Comes up at that time.
    Opening(Instant),
    Up,
    Gone,
}

#[derive(Debug)]
pub(super) struct End {
    pub(super) process: ProcessId,
    pub(super) state: State,
    pub(super) last_heard: Instant,
    under_way: usize,
    /// What no datagram asks for.
    rest: Box<Rest>,
}

#[derive(Debug)]
struct Rest {
    peer: PeerIdentity,
    waiting: VecDeque<Vec<u8>>,
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) dialed: End,
    pub(super) accepted: End,
}

/// A message under way.
#[derive(Clone, Debug)]
pub(super) struct Message {
    from: EndId,
    bytes: Vec<u8>,
    attempts: u32,
    /// Packets of it that did not arrive yet.
    missing: usize,
    flight: Flight,
}

impl Message {
    fn again(self) -> Self {
        Self {
            missing: packets(&self.bytes),
            flight: Flight::PROBE,
            ..self
        }
    }
}

fn packets(bytes: &[u8]) -> usize {
    packets_of(bytes.len())
}

/// What arrives at one end.
#[derive(Clone, Debug)]
pub(super) enum Arrival {
    Up,
    Datagram(Vec<u8>),
    Down(Disconnect),
}

impl End {
    pub(super) fn new(
        process: ProcessId,
        peer: PeerIdentity,
        state: State,
        last_heard: Instant,
    ) -> Self {
        Self {
            process,
            state,
            last_heard,
            under_way: 0,
            rest: Box::new(Rest {
                peer,
                waiting: VecDeque::new(),
            }),
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.state == State::Up
    }
}

impl Simulation {
    pub(super) fn end(&self, id: EndId) -> Option<&End> {
        let connection = self.connections.get(id.connection)?;
        Some(if id.accepted {
            &connection.accepted
        } else {
            &connection.dialed
        })
    }

    fn end_mut(&mut self, id: EndId) -> Option<&mut End> {
        let connection = self.connections.get_mut(id.connection)?;
        Some(if id.accepted {
            &mut connection.accepted
        } else {
            &mut connection.dialed
        })
    }

    /// The nodes at this end and at the other.
    fn nodes_of(&self, id: EndId) -> Option<(NodeId, NodeId)> {
        let here = self.end(id)?.process.node;
        Some((here, self.end(id.other())?.process.node))
    }

    pub(super) fn arrive_at(&mut self, at: Instant, end: EndId, what: Arrival) {
        self.schedule.push(at, Happening::Arrival { end, what });
    }

    // Sending.

    pub(super) fn send_datagram(&mut self, name: ConnectionId, bytes: Vec<u8>) {
        let from = EndId::of(name);
        let Some((here, there)) = self.sending_nodes(from) else {
            return;
        };
        let (first, again) = self.network.carry(self.now, here, there, bytes.len());
        if let Some(at) = again {
            self.arrive(at, from.other(), Arrival::Datagram(bytes.clone()));
        }
        if let Some(at) = first {
            self.arrive(at, from.other(), Arrival::Datagram(bytes));
        }
    }

    /// Nothing arrives at an end before it is up.
    fn arrive(&mut self, at: Instant, end: EndId, what: Arrival) {
        let at = match self.end(end).map(|end| end.state) {
            Some(State::Opening(up)) => at.max(up),
            _ => at,
        };
        self.arrive_at(at, end, what);
    }

    fn sending_nodes(&self, from: EndId) -> Option<(NodeId, NodeId)> {
        let end = self.end(from)?;
        (end.state == State::Up && self.is_current(end.process))
            .then(|| self.nodes_of(from))
            .flatten()
    }

    /// Returns whether the message found room.
    pub(super) fn send_message(&mut self, name: ConnectionId, bytes: Vec<u8>) -> bool {
        let from = EndId::of(name);
        if self.sending_nodes(from).is_none() {
            return true;
        }
        let Some(end) = self.end_mut(from) else {
            return true;
        };
        if end.rest.waiting.len() >= limits::FRAMES_QUEUED_MAX {
            return false;
        }
        end.rest.waiting.push_back(bytes);
        self.pump(from);
        true
    }

    fn pump(&mut self, from: EndId) {
        while let Some(end) = self.end_mut(from).filter(|end| end.under_way < STREAMS) {
            let Some(bytes) = end.rest.waiting.pop_front() else {
                return;
            };
            end.under_way += 1;
            self.transmit(Message {
                from,
                missing: packets(&bytes),
                bytes,
                attempts: 0,
                flight: Flight::FIRST,
            });
        }
    }

    /// Packets of one message that may be under way.
    fn window(&self, from: EndId) -> usize {
        let messages = self.end(from).map_or(1, |end| end.under_way.max(1));
        STREAM_WINDOW.min(WINDOW / messages) / PACKET_PAYLOAD
    }

    pub(super) fn transmit(&mut self, mut message: Message) {
        let Some((here, there)) = self.sending_nodes(message.from) else {
            return;
        };
        if !self.is_frozen(here) {
            let (now, bytes) = (self.now, message.bytes.len());
            let window = self.window(message.from).min(message.flight.packets());
            let packets = window.min(message.missing);
            let network = &mut self.network;
            let mut turn = network.carry_turn(now, here, there, bytes, packets);
            if !self.is_running(there) {
                turn = turn.unanswered();
            }
            message.missing -= packets - turn.lost;
            message.flight = message.flight.after(turn);
            if turn.is_told() && message.missing > 0 && !self.is_frozen(there) {
                // Room for more is told when this has been read.
                let read = self.idle_at(there).unwrap_or(turn.last).max(turn.last);
                message.attempts = 0;
                let at = read + self.network.latency();
                return self.schedule.push(at, Happening::Transmit(message));
            }
            let last = turn.last;
            if message.missing == 0 {
                let other = self.end(message.from.other()).map(|end| end.state);
                let at = match other {
                    Some(State::Opening(up)) => last.max(up),
                    _ => last,
                };
                return self.schedule.push(at, Happening::Message(message));
            }
        }
        self.transmit_again(message);
    }

    /// After a pause that doubles; a peer that is heard has acknowledged what is not lost.
    fn transmit_again(&mut self, mut message: Message) {
        let pause = resend_pause(message.attempts);
        let heard = self.end(message.from).map(|end| end.last_heard);
        let is_heard = heard.is_some_and(|at| self.now.saturating_since(at) <= pause);
        let pause = if is_heard {
            pause.min(RESEND_PAUSE_MAX)
        } else {
            pause
        };
        message.attempts += 1;
        self.schedule
            .push(self.now + pause, Happening::Transmit(message));
    }

    /// A message is at its goal, if anybody is there.
    pub(super) fn message_arrives(&mut self, message: Message) {
        let goal = message.from.other();
        if !self.reaches_process(goal) {
            return self.transmit_again(message.again());
        }
        let Some(process) = self.end(goal).map(|end| end.process) else {
            return;
        };
        let frozen = self.is_frozen(process.node);
        if frozen || self.is_busy(process.node) {
            // A message that finds no room is not acknowledged, and sent again.
            if let Err(Happening::Message(message)) =
                self.wait(process.node, frozen, Happening::Message(message))
            {
                self.transmit_again(message.again());
            }
            return;
        }
        self.hear(goal);
        self.network
            .count_ack(process.node, packets(&message.bytes));
        self.acknowledge(message.from, 0);
        self.overhear(process.node, &message.bytes);
        self.give(
            process.node,
            Input::Frame {
                connection: goal.name(),
                bytes: message.bytes,
            },
        );
    }

    /// Until its acknowledgement is back, a message takes up one of few streams.
    pub(super) fn acknowledge(&mut self, from: EndId, attempts: u32) {
        let Some((here, there)) = self.nodes_of(from) else {
            return;
        };
        let (at, attempts) = if self.network.passes(there, here) {
            (self.now + self.network.latency(), None)
        } else {
            let pause = resend_pause(attempts).min(RESEND_PAUSE_MAX);
            (self.now + pause, Some(attempts + 1))
        };
        let what = Happening::Acknowledged { from, attempts };
        self.schedule.push(at, what);
    }

    pub(super) fn acknowledged(&mut self, from: EndId) {
        if let Some(end) = self.end_mut(from) {
            end.under_way = end.under_way.saturating_sub(1);
        }
        self.pump(from);
    }

    /// What finds no room comes back.
    fn wait(&mut self, node: NodeId, frozen: bool, what: Happening) -> Result<(), Happening> {
        if frozen {
            self.wait_for_thaw(node, what)
        } else {
            self.wait_for_processor(node, what)
        }
    }

    // Arriving.

    /// Whether a packet finds the process that the connection belongs to. A process that knows nothing
    /// of the connection answers with a reset; where no process is, nobody answers.
    fn reaches_process(&mut self, goal: EndId) -> bool {
        let Some(end) = self.end(goal) else {
            return false;
        };
        let (process, state) = (end.process, end.state);
        if !self.is_running(process.node) {
            return false;
        }
        if self.is_current(process) && state != State::Gone {
            return true;
        }
        let sender = goal.other();
        if !self.is_frozen(process.node)
            && let Some((here, there)) = self.nodes_of(goal)
            && self.network.passes(here, there)
        {
            let at = self.now + self.network.latency();
            self.arrive(at, sender, Arrival::Down(Disconnect::Reset));
        }
        false
    }

    pub(super) fn on_arrival(&mut self, end: EndId, what: Arrival) {
        if let Arrival::Datagram(_) = what {
            if !self.reaches_process(end) {
                return;
            }
        } else if !self
            .end(end)
            .is_some_and(|end| self.is_current(end.process))
        {
            return;
        }
        let Some((process, state)) = self.end(end).map(|e| (e.process, e.state)) else {
            return;
        };
        let frozen = self.is_frozen(process.node);
        if frozen || self.is_busy(process.node) {
            // What finds no room is lost, a close as well: silence tells later.
            let _ = self.wait(process.node, frozen, Happening::Arrival { end, what });
            return;
        }
        let connection = end.name();
        match (what, state) {
            (Arrival::Up, State::Opening(_)) => {
                self.set_state(end, State::Up);
                self.schedule
                    .push(self.now + limits::IDLE_TIMEOUT, Happening::Idle(end));
                let Some(peer) = self.end(end).map(|end| end.rest.peer) else {
                    return;
                };
                let other = self.nodes_of(end).map_or(OPERATOR, |(_, other)| other);
                let remote = self.address_at(other);
                self.give(
                    process.node,
                    Input::Connected {
                        connection,
                        peer,
                        remote,
                        dialed: !end.accepted,
                    },
                );
            }
            (Arrival::Datagram(bytes), State::Up) => {
                self.hear(end);
                self.network.count_ack(process.node, 1);
                self.give(process.node, Input::Datagram { connection, bytes });
            }
            (Arrival::Down(reason), State::Up) => {
                self.set_state(end, State::Gone);
                self.give(process.node, Input::Disconnected { connection, reason });
            }
            _ => {}
        }
    }

    /// Something arrived, and its acknowledgement goes back.
    fn hear(&mut self, end: EndId) {
        let now = self.now;
        if let Some(end) = self.end_mut(end) {
            end.last_heard = now;
        }
        if let Some((here, there)) = self.nodes_of(end)
            && !self.network.is_cut(here, there)
            && let Some(other) = self.end_mut(end.other())
        {
            other.last_heard = other.last_heard.max(now);
        }
    }
}

pub(super) fn resend_pause(attempts: u32) -> Duration {
    RESEND_PAUSE * 2_u32.saturating_pow(attempts.min(8))
}
