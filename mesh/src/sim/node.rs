//! A node with the process on it: a member, or one that waits to be one. What an agent's shell does
//! around its machine is done here: it joins, joins again when it lost its place or hears nobody, and
//! leaves.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::clock::Clock;
use super::connection::FROZEN_INPUTS_MAX;
use super::handshake::HANDSHAKE_PAUSE;
use super::hostile::Hostility;
use super::processor::Processor;
use super::scenario::State;
use super::{Happening, NodeId, OPERATOR, ProcessId, Simulation};
use crate::identity::{Keypair, PublicKey, Uid};
use crate::limits;
use crate::machine::{Event, Input};
use crate::member::{Mesh, MeshConfig};
use crate::signed::SignedMap;
use crate::time::Instant;

/// An agent that was not answered asks the operator again after that time.
const JOIN_PAUSE: Duration = Duration::from_millis(500);
/// Pace at which an agent looks whether it hears anybody.
const AGENT_TICK: Duration = Duration::from_secs(1);

/// A node.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) uid: Uid,
    /// Counts the machines that ran here: connections belong to one of them.
    pub(super) generation: u32,
    /// Whether there is a process, frozen or not.
    pub(super) running: bool,
    /// Apart, so that what every arrival looks at lies close together.
    pub(super) mesh: Option<Box<Mesh>>,
    key: Option<PublicKey>,
    /// The key with which it asks to be admitted.
    pub(super) joining: Option<Keypair>,
    keys_made: u32,
    pub(super) frozen: bool,
    inbox: VecDeque<Happening>,
    /// When its timer goes off.
    pub(super) wake: Option<Instant>,
    pub(super) leaving: bool,
    lost_its_place: bool,
    silent_ticks: u32,
    alone: bool,
    /// How often it got another address.
    moves: u8,
    pub(super) keypair: Option<Keypair>,
    pub(super) clock: Clock,
    pub(super) processor: Processor,
    pub(super) hostility: Option<Hostility>,
    pub(super) heard: VecDeque<Vec<u8>>,
}

/// Where a node's mesh port is.
pub(super) fn address_of(node: NodeId, moves: u8) -> SocketAddr {
    let [high, low] = node.0.to_be_bytes();
    SocketAddr::new(Ipv4Addr::new(10, moves, high, low).into(), 7400)
}

/// Name of a node; names sort as numbers do.
pub(super) fn name_of(node: NodeId) -> String {
    format!("agent-{:05}", node.0)
}

/// A UID made of two random numbers.
pub(super) fn uid_of(high: u64, low: u64) -> Uid {
    Uid::from_bytes(((u128::from(high) << 64) | u128::from(low)).to_be_bytes())
}

impl Node {
    pub(super) fn new(uid: Uid) -> Self {
        Self {
            uid,
            generation: 0,
            running: false,
            mesh: None,
            key: None,
            joining: None,
            keys_made: 0,
            frozen: false,
            inbox: VecDeque::new(),
            wake: None,
            leaving: false,
            lost_its_place: false,
            silent_ticks: 0,
            alone: false,
            moves: 0,
            keypair: None,
            clock: Clock::default(),
            processor: Processor::default(),
            hostility: None,
            heard: VecDeque::new(),
        }
    }

    /// A key that no process had before.
    pub(super) fn new_key(&mut self, node: NodeId, seed: u64) -> Keypair {
        self.keys_made += 1;
        let mut bytes = [7; 32];
        let parts = [
            &seed.to_be_bytes()[..],
            &node.0.to_be_bytes(),
            &self.keys_made.to_be_bytes(),
        ];
        for (target, source) in bytes.iter_mut().zip(parts.into_iter().flatten()) {
            *target = *source;
        }
        Keypair::from_seed(bytes)
    }

    fn end_machine(&mut self) {
        self.generation += 1;
        self.mesh = None;
        self.key = None;
        self.keypair = None;
        self.hostility = None;
        self.heard.clear();
        self.processor.reset();
        self.wake = None;
        self.lost_its_place = false;
        self.silent_ticks = 0;
        self.alone = false;
    }
}

impl Simulation {
    /// Whether that process still runs.
    pub(super) fn is_current(&self, process: ProcessId) -> bool {
        if process.node == OPERATOR {
            return self.operator.watch.is_some() && self.operator.generation == process.generation;
        }
        self.node(process.node)
            .is_some_and(|node| node.running && node.generation == process.generation)
    }

    pub(super) fn process_of(&self, node: NodeId) -> ProcessId {
        let generation = if node == OPERATOR {
            self.operator.generation
        } else {
            self.node(node).map_or(0, |node| node.generation)
        };
        ProcessId { node, generation }
    }

    pub(super) fn is_running(&self, node: NodeId) -> bool {
        if node == OPERATOR {
            self.operator.watch.is_some()
        } else {
            self.node(node).is_some_and(|node| node.running)
        }
    }

    pub(super) fn is_frozen(&self, node: NodeId) -> bool {
        self.node(node).is_some_and(|node| node.frozen)
    }

    /// Whether somebody answers handshakes there: a member does, the operator never.
    pub(super) fn accepts(&self, node: NodeId) -> bool {
        self.node(node)
            .is_some_and(|node| node.mesh.is_some() && !node.frozen)
    }

    pub(super) fn key_of(&self, node: NodeId) -> Option<PublicKey> {
        self.node(node).and_then(|node| node.key)
    }

    /// Keeps something for a frozen process. Where there is no room it comes back.
    pub(super) fn wait_for_thaw(&mut self, node: NodeId, what: Happening) -> Result<(), Happening> {
        match self.node_mut(node) {
            Some(node) if node.inbox.len() < FROZEN_INPUTS_MAX => {
                node.inbox.push_back(what);
                Ok(())
            }
            _ => {
                self.passed_states.insert(State::InboxFull);
                Err(what)
            }
        }
    }

    /// A member of the first map begins.
    pub(super) fn begin(&mut self, node: NodeId) {
        let key = self.node_mut(node).and_then(|place| place.joining.take());
        match key {
            Some(key) => self.become_member(node, key, self.operator.record.clone()),
            None => self.begin_to_join(node),
        }
    }

    /// The process becomes the member that the map lists.
    pub(super) fn become_member(&mut self, node: NodeId, keypair: Keypair, map: SignedMap) {
        let seed = self.network.random();
        let (now, cluster) = (self.now, self.cluster);
        let shown = self.clock_at(node);
        let map_keys = vec![self.operator.key.public()];
        let interner = self.interner.clone();
        let Some(place) = self.node_mut(node) else {
            return;
        };
        let key = keypair.public();
        let config = MeshConfig {
            cluster,
            uid: place.uid,
            keypair: keypair.clone(),
            map_keys,
            seed,
            interner: Some(interner),
        };
        // A map that does not list it is not this process's: it goes on asking.
        let Ok(mesh) = Mesh::new(config, map, shown) else {
            return;
        };
        let id = mesh.id();
        place.mesh = Some(Box::new(mesh));
        place.key = Some(key);
        place.keypair = Some(keypair);
        place.joining = None;
        // An answer that waited long may be about a place that is lost already, and who joins over a bad line is not well.
        if self.operator.record.map().lists(id) && !self.network.has_bad_line(node) {
            self.invariants.healthy.admit(id);
        }
        let process = self.process_of(node);
        self.schedule
            .push(now + AGENT_TICK, Happening::AgentTick(process));
        self.carry_out(node);
    }

    /// The process asks to be admitted, with a new key.
    pub(super) fn begin_to_join(&mut self, node: NodeId) {
        let seed = self.settings.seed;
        let Some(place) = self.node_mut(node).filter(|place| place.running) else {
            return;
        };
        let keypair = place.new_key(node, seed);
        let key = keypair.public();
        place.joining = Some(keypair);
        self.ask_to_join(node, key);
    }

    pub(super) fn ask_to_join(&mut self, node: NodeId, key: PublicKey) {
        let asks = self.node(node).is_some_and(|place| {
            let joining = place.joining.as_ref().map(Keypair::public);
            place.running && joining == Some(key)
        });
        if !asks {
            return;
        }
        if !self.is_frozen(node)
            && let Some(after) = self.network.carry_of_join(node, OPERATOR, HANDSHAKE_PAUSE)
        {
            let request = Happening::JoinRequest { node, key };
            self.schedule.push(self.now + after, request);
        }
        let pause = JOIN_PAUSE + self.network.below(JOIN_PAUSE);
        self.schedule
            .push(self.now + pause, Happening::AskToJoin { node, key });
    }

    pub(super) fn on_join_answer(&mut self, node: NodeId, key: PublicKey, map: Box<SignedMap>) {
        let Some(place) = self.node_mut(node).filter(|place| place.running) else {
            return;
        };
        if place.frozen {
            let answer = Happening::JoinAnswer { node, key, map };
            // Where there is no room the request is made again.
            let _ = self.wait_for_thaw(node, answer);
            return;
        }
        let Some(keypair) = place.joining.take_if(|joining| joining.public() == key) else {
            return;
        };
        self.stop_machine(node);
        self.become_member(node, keypair, *map);
    }

    /// Closes every connection; the process lives on.
    fn stop_machine(&mut self, node: NodeId) {
        let process = self.process_of(node);
        self.close_all(process);
        if let Some(id) = self.member_id(node) {
            self.invariants.healthy.disturb(id);
        }
        self.remember_states(node);
        self.connections.stale = true;
        if let Some(place) = self.node_mut(node) {
            place.end_machine();
        }
    }

    /// What the shell does about an event of its machine.
    pub(super) fn on_agent_event(&mut self, node: NodeId, event: &Event) {
        match event {
            Event::Verdict { failed, .. } => self.check_verdict(node, failed),
            Event::Deposed { .. } => {
                if let Some(place) = self.node_mut(node) {
                    place.lost_its_place = true;
                }
            }
            _ => {}
        }
    }

    /// A member that lost its place joins again, or is done leaving.
    pub(super) fn after_outputs(&mut self, node: NodeId) {
        let Some(place) = self.node(node).filter(|place| place.lost_its_place) else {
            return;
        };
        if place.leaving {
            return self.end_after_leaving(node);
        }
        self.stop_machine(node);
        if self.node(node).is_some_and(|place| place.joining.is_none()) {
            self.begin_to_join(node);
        }
    }

    pub(super) fn agent_tick(&mut self, process: ProcessId) {
        if !self.is_current(process) {
            return;
        }
        self.schedule
            .push(self.now + AGENT_TICK, Happening::AgentTick(process));
        let (now, node) = (self.clock_at(process.node), process.node);
        let Some(place) = self.node_mut(node).filter(|place| !place.frozen) else {
            return;
        };
        let Some(mesh) = &place.mesh else { return };
        let others = mesh.signed_map().map().active().nth(1).is_some();
        let limit = if others {
            limits::ALONE_AFTER
        } else {
            limits::ALONE_AFTER_AS_THE_ONLY
        };
        if now.saturating_since(mesh.heard_anybody_at()) <= limit {
            place.silent_ticks = 0;
            if std::mem::take(&mut place.alone) {
                place.joining = None;
            }
            return;
        }
        place.silent_ticks += 1;
        if !place.alone && place.silent_ticks >= limits::ALONE_TICKS {
            place.alone = true;
            self.begin_to_join(node);
        }
    }

    fn new_uid(&mut self) -> Uid {
        let (high, low) = (self.network.random(), self.network.random());
        uid_of(high, low)
    }

    /// What a node's clock shows.
    pub(super) fn clock_at(&self, node: NodeId) -> Instant {
        self.node(node)
            .map_or(self.now, |node| node.clock.shows(self.now))
    }

    /// Where a node's mesh port is now.
    pub(super) fn address_at(&self, node: NodeId) -> SocketAddr {
        address_of(node, self.node(node).map_or(0, |node| node.moves))
    }

    // Faults.

    /// The pod is gone, and another one starts in its place, at another address.
    pub(super) fn replace(&mut self, node: NodeId) {
        self.crash(node);
        let uid = self.new_uid();
        let Some(place) = self.node_mut(node) else {
            return;
        };
        place.moves = place.moves.wrapping_add(1);
        let gone = std::mem::replace(&mut place.uid, uid);
        self.by_uid.insert(uid, node);
        self.pod_gone(gone);
        self.start(node);
    }

    pub(super) fn crash(&mut self, node: NodeId) {
        self.remember_states(node);
        self.connections.stale = true;
        if let Some(place) = self.node_mut(node) {
            place.end_machine();
            place.running = false;
            place.joining = None;
            place.frozen = false;
            place.inbox.clear();
            place.leaving = false;
        }
    }

    pub(super) fn start(&mut self, node: NodeId) {
        if let Some(place) = self.node_mut(node).filter(|place| !place.running) {
            place.running = true;
            place.generation += 1;
            self.begin_to_join(node);
        }
    }

    pub(super) fn pause(&mut self, node: NodeId) {
        if let Some(place) = self.node_mut(node).filter(|place| place.running) {
            place.frozen = true;
        }
    }

    /// The process goes on: with what waited at its socket and with its timers, in either order.
    pub(super) fn resume(&mut self, node: NodeId) {
        let timers_first = self.settings.timers_first;
        let Some(place) = self.node_mut(node).filter(|place| place.frozen) else {
            return;
        };
        place.frozen = false;
        let inbox = std::mem::take(&mut place.inbox);
        if timers_first && self.mesh(node).is_some() {
            self.give(node, Input::Timer);
        }
        for what in inbox {
            self.happen(what);
        }
        self.set_timer(node);
    }

    pub(super) fn leave(&mut self, node: NodeId) {
        let process = self.process_of(node);
        let Some(place) = self.node_mut(node).filter(|place| place.mesh.is_some()) else {
            return;
        };
        place.leaving = true;
        self.schedule.push(
            self.now + limits::LEAVE_TIMEOUT,
            Happening::LeaveTimeout(process),
        );
        self.give(node, Input::Leave);
    }

    pub(super) fn leave_timeout(&mut self, process: ProcessId) {
        if self.is_current(process) {
            self.end_after_leaving(process.node);
        }
    }

    /// The process ends, and its pod is deleted.
    fn end_after_leaving(&mut self, node: NodeId) {
        let process = self.process_of(node);
        self.close_all(process);
        self.crash(node);
        let uid = self.new_uid();
        let Some(place) = self.node_mut(node) else {
            return;
        };
        // Whoever starts here next is another pod.
        let gone = std::mem::replace(&mut place.uid, uid);
        self.by_uid.insert(uid, node);
        self.pod_gone(gone);
    }
}
