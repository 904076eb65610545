//! Members of one protocol under virtual time, on the simulator's network.
//!
//! A member that is paused handles nothing. What arrives waits for it, up to a limit; its kernel still takes
//! streams. When it goes on it finds its inbox first, and then the timers that it missed: the kinder of the two
//! orders to a member that was away, unless [`World::timers_first`] is asked for. A silent member is gone for good:
//! nothing of it answers, its kernel neither.
//!
//! Streams cost what TCP costs where it matters for time: opening takes a round trip, and what is lost is sent
//! again after a time that doubles (RFC 6298). Not modelled: windows, closing, and resets.

use std::collections::{BTreeSet, VecDeque};
use std::hash::{Hash, Hasher};
use std::time::Duration;

use siphasher::sip::SipHasher13;
use slotmesh_mesh::sim::parts::{Agenda, Wire, packets_of};
use slotmesh_mesh::sim::{FROZEN_INPUTS_MAX, Fault, NetworkSettings, NodeId};
use slotmesh_mesh::time::Instant;

use super::protocol::{Output, Protocol, Way};

/// Messages that wait for a paused member, as many as wait for a paused agent.
const INBOX_MAX: usize = FROZEN_INPUTS_MAX;
/// Events that are remembered.
const EVENTS_MAX: usize = 1 << 20;
/// First pause of TCP before it sends an opening packet again (RFC 6298 2.1).
const OPEN_AGAIN: Duration = Duration::from_secs(1);
/// The same for data (Linux: TCP_RTO_MIN).
const SEND_AGAIN: Duration = Duration::from_millis(200);
/// How often either is tried; then the stream is given up.
const TRIES_MAX: u32 = 6;

/// What somebody came to hold of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Instant,
    /// Who.
    pub node: NodeId,
    /// Of whom.
    pub of: NodeId,
    /// Dead, or alive again.
    pub dead: bool,
}

#[derive(Debug)]
struct Node<P: Protocol> {
    protocol: P,
    silent: bool,
    paused: bool,
    inbox: VecDeque<(NodeId, P::Message)>,
    /// When a wake is under way for it.
    wake: Option<Instant>,
}

#[derive(Debug)]
struct Segment<M> {
    from: NodeId,
    to: NodeId,
    opening: bool,
    missing: usize,
    tries: u32,
    message: M,
}

#[derive(Debug)]
enum Happening<M> {
    Wake(NodeId),
    Arrival(NodeId, NodeId, M),
    Transmit(Box<Segment<M>>),
}

/// The run.
#[derive(Debug)]
pub struct World<P: Protocol> {
    now: Instant,
    wire: Wire,
    agenda: Agenda<Happening<P::Message>>,
    nodes: Vec<Node<P>>,
    events: Vec<Event>,
    /// Messages and events that found no room.
    dropped: u64,
    digest: SipHasher13,
    timers_first: bool,
}

impl<P: Protocol> World<P> {
    /// So many members, each made with its number and a generator of its own, that start at time zero.
    pub fn new(
        settings: NetworkSettings,
        seed: u64,
        members: u16,
        make: impl Fn(NodeId, rand_pcg::Pcg64Mcg) -> P,
    ) -> Self {
        let mut wire = Wire::new(settings, seed, members);
        let nodes = (1..=members).map(|number| Node {
            protocol: make(NodeId(number), wire.generator()),
            silent: false,
            paused: false,
            inbox: VecDeque::new(),
            wake: None,
        });
        let nodes = nodes.collect();
        let mut world = Self {
            now: Instant::ZERO,
            wire,
            agenda: Agenda::default(),
            nodes,
            events: Vec::new(),
            dropped: 0,
            digest: SipHasher13::new_with_keys(0x7065_6572, 0x73),
            timers_first: false,
        };
        for number in 1..=members {
            world.with(NodeId(number), |protocol, now, out| {
                protocol.start(now, out);
            });
        }
        world
    }

    /// Members that were paused find the timers that they missed first, and then their inbox.
    pub fn timers_first(&mut self) {
        self.timers_first = true;
    }

    /// Lets that much time pass.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some((at, what)) = self.agenda.pop_until(end) {
            self.now = at;
            self.happen(what);
        }
        self.now = end;
    }

    /// Lets something go wrong; false for a fault that this world does not know.
    pub fn inflict(&mut self, fault: &Fault) -> bool {
        match fault {
            Fault::Crash(node) => self.each_of(*node, |node| node.silent = true),
            Fault::Pause(node) => self.each_of(*node, |node| node.paused = true),
            Fault::Resume(node) => self.resume(*node),
            other => return self.wire.inflict(other),
        }
        true
    }

    /// The time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// What members came to hold of each other, in the order of time.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// What found no room, but for what a paused member's inbox refused: if not zero, the run proves nothing.
    pub fn dropped(&self) -> u64 {
        self.dropped + self.agenda.refused()
    }

    /// Digest of all that was handed to members, and of all that they said.
    #[cfg(test)]
    pub fn digest(&self) -> u64 {
        self.digest.finish()
    }

    /// Who is neither silent nor paused.
    pub fn running(&self) -> BTreeSet<NodeId> {
        let numbered = (1..).map(NodeId).zip(&self.nodes);
        let running = numbered.filter(|(_, node)| !node.silent && !node.paused);
        running.map(|(id, _)| id).collect()
    }

    /// The member on a node.
    #[cfg(test)]
    pub fn protocol(&self, node: NodeId) -> Option<&P> {
        let index = usize::from(node.0).checked_sub(1)?;
        self.nodes.get(index).map(|node| &node.protocol)
    }

    fn node_mut(&mut self, node: NodeId) -> Option<&mut Node<P>> {
        self.nodes.get_mut(usize::from(node.0).checked_sub(1)?)
    }

    fn each_of(&mut self, node: NodeId, change: impl FnOnce(&mut Node<P>)) {
        if let Some(node) = self.node_mut(node) {
            change(node);
        }
    }

    fn resume(&mut self, node: NodeId) {
        let mut waiting = VecDeque::new();
        self.each_of(node, |node| {
            node.paused = false;
            waiting = std::mem::take(&mut node.inbox);
        });
        if self.timers_first {
            self.time_out(node);
        }
        for (from, message) in waiting {
            self.deliver(from, node, message);
        }
        self.time_out(node);
    }

    fn happen(&mut self, what: Happening<P::Message>) {
        match what {
            Happening::Wake(node) => self.wake(node),
            Happening::Arrival(from, to, message) => self.deliver(from, to, message),
            Happening::Transmit(segment) => self.transmit(*segment),
        }
    }

    fn wake(&mut self, id: NodeId) {
        let now = self.now;
        let Some(node) = self.node_mut(id) else {
            return;
        };
        if node.wake != Some(now) {
            return;
        }
        node.wake = None;
        if node.silent || node.paused {
            return;
        }
        self.digest.write_u64(now.as_micros());
        self.digest.write_u16(id.0);
        self.time_out(id);
    }

    /// A member's timer, if it is due; its deadline may have moved since the wake was planned.
    fn time_out(&mut self, id: NodeId) {
        self.with(id, |protocol, now, out| {
            if protocol.next_deadline().is_some_and(|due| due <= now) {
                protocol.on_timer(now, out);
            }
        });
    }

    fn deliver(&mut self, from: NodeId, to: NodeId, message: P::Message) {
        let Some(node) = self.node_mut(to) else {
            return;
        };
        if node.silent {
            return;
        }
        if node.paused {
            if node.inbox.len() < INBOX_MAX {
                node.inbox.push_back((from, message));
            }
            return;
        }
        self.digest.write_u64(self.now.as_micros());
        self.digest.write_u16(to.0);
        self.digest.write_u16(from.0);
        message.hash(&mut self.digest);
        self.with(to, |protocol, now, out| {
            protocol.on_message(now, from, message, out);
        });
    }

    /// Lets a member act, and carries out what it wants.
    fn with(
        &mut self,
        id: NodeId,
        act: impl FnOnce(&mut P, Instant, &mut Vec<Output<P::Message>>),
    ) {
        let now = self.now;
        let mut out = Vec::new();
        let Some(node) = self.node_mut(id) else {
            return;
        };
        if node.silent || node.paused {
            return;
        }
        act(&mut node.protocol, now, &mut out);
        // A deadline that has passed is due now, but never again at an instant that is over.
        let due = node.protocol.next_deadline().map(|due| due.max(now));
        if let Some(due) = due.filter(|due| node.wake.is_none_or(|wake| *due < wake)) {
            node.wake = Some(due);
            self.agenda.push(due, Happening::Wake(id));
        }
        for output in out {
            self.carry_out(id, output);
        }
    }

    fn carry_out(&mut self, from: NodeId, output: Output<P::Message>) {
        let (of, dead) = match output {
            Output::Send {
                to,
                way,
                bytes,
                message,
            } => return self.send(from, to, way, bytes, message),
            Output::Dead(of) => (of, true),
            Output::Alive(of) => (of, false),
        };
        let event = Event {
            at: self.now,
            node: from,
            of,
            dead,
        };
        self.digest.write_u64(self.now.as_micros());
        (from.0, of.0, dead).hash(&mut self.digest);
        if self.events.len() < EVENTS_MAX {
            self.events.push(event);
        } else {
            self.dropped += 1;
        }
    }

    fn send(&mut self, from: NodeId, to: NodeId, way: Way, bytes: usize, message: P::Message) {
        if way == Way::Datagram {
            let (first, again) = self.wire.datagram(self.now, from, to, bytes);
            for at in [first, again].into_iter().flatten() {
                let arrival = Happening::Arrival(from, to, message.clone());
                self.agenda.push(at, arrival);
            }
            return;
        }
        self.transmit(Segment {
            from,
            to,
            opening: way == Way::NewStream,
            missing: packets_of(bytes),
            tries: 0,
            message,
        });
    }

    /// One try of a stream to open, or to send what is missing.
    fn transmit(&mut self, mut segment: Segment<P::Message>) {
        let (from, to) = (segment.from, segment.to);
        let is_silent = |node: Option<&mut Node<P>>| node.is_none_or(|node| node.silent);
        if is_silent(self.node_mut(from)) || is_silent(self.node_mut(to)) {
            return;
        }
        let pause = if segment.opening {
            if let Some(open) = self.wire.handshake(self.now, from, to) {
                segment.opening = false;
                segment.tries = 0;
                let next = Happening::Transmit(Box::new(segment));
                return self.agenda.push(open, next);
            }
            OPEN_AGAIN
        } else {
            let (missing, last) = self.wire.packets(self.now, from, to, segment.missing);
            if missing == 0 {
                let arrival = Happening::Arrival(from, to, segment.message);
                return self.agenda.push(last, arrival);
            }
            segment.missing = missing;
            SEND_AGAIN
        };
        segment.tries += 1;
        if segment.tries < TRIES_MAX {
            let again = self.now + pause * (1 << (segment.tries - 1));
            let next = Happening::Transmit(Box::new(segment));
            self.agenda.push(again, next);
        }
    }
}

#[cfg(test)]
mod tests;
