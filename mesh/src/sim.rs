//! Many members, a model operator and a network under virtual time: a discrete-event simulator.
//!
//! ```text
//!   Schedule ── what is due ──▶ Simulation ── Input ──▶ Mesh, Watch (the real ones)
//!      ▲                           │   ▲                      │
//!      └── delay, loss, cuts ──────┘   └────── Output ────────┘
//! ```
//!
//! The machines are those that agents and the operator run. What is modelled: the network and its
//! connections ([`connection`]), what an agent's shell does ([`node`]), and what the operator makes of
//! verdicts and joins ([`operator`]). One seed is one run, bit by bit ([`Simulation::trace_digest`]).
//! [`invariants`] are looked at after every input. Shape: `proto/sim.rs` of iroh-gossip, the test pair
//! of quinn-proto, the VOPR of TigerBeetle.

mod clock;
mod connection;
mod connections;
mod fault;
mod flight;
mod handshake;
mod hostile;
pub mod invariants;
mod knock;
mod network;
mod node;
mod operator;
pub mod parts;
pub mod processor;
mod run;
pub mod scenario;
mod schedule;
mod trace;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use crate::identity::{Keypair, MemberId, PublicKey, Uid};
use crate::intern::Interner;
use crate::machine::Event;
use crate::map::{Map, MapError, Protocol};
use crate::member::{Health, Mesh};
use crate::signed::SignedMap;
use crate::slot::SlotSet;
use crate::time::Instant;
use crate::watch::Watch;

use connection::{Arrival, EndId, Message};
use connections::Connections;
use handshake::Dial;
use invariants::{Invariants, View, Violation};
use network::Network;
use node::Node;
use operator::Operator;
use schedule::Schedule;
use trace::Trace;

pub use connection::FROZEN_INPUTS_MAX;
pub use fault::{Fault, RANDOM_FAULTS_TIME, random_faults};
pub use hostile::Hostility;
pub use network::{NetworkSettings, Traffic};
pub use operator::MapChange;
pub use schedule::SCHEDULE_MAX;

/// Members start within that time.
const START_SPREAD: Duration = Duration::from_millis(100);
/// Events that are remembered for tests.
pub const EVENTS_MAX: usize = 1 << 20;
/// Epoch of the first map.
const FIRST_EPOCH: u64 = 100;

/// A node by number: the agents are 1, 2 and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u16);

/// The operator's node.
pub const OPERATOR: NodeId = NodeId(0);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            OPERATOR => f.write_str("the operator"),
            Self(number) => write!(f, "node {number}"),
        }
    }
}

/// A process on a node; another one after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ProcessId {
    node: NodeId,
    generation: u32,
}

/// What a run is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Seed of all randomness.
    pub seed: u64,
    /// Members of the first map.
    pub members: u16,
    /// Time between two beats.
    pub heartbeat_interval_ms: u32,
    /// The network.
    pub network: NetworkSettings,
    /// Zones, to which members are dealt out in turn.
    pub zones: u16,
    /// Only so many of them are in the first map; the others ask to be admitted at the same time.
    pub founders: Option<u16>,
    /// Whether the operator admits anybody.
    pub admits: bool,
    /// When more than this share of the members failed, they keep their slots and stay listed as failed.
    pub freeze_above_percent: Option<u8>,
    /// Whether a process that was paused finds its timers first, and then what waited at its socket. Runtimes differ, and
    /// to a failure detector this is the harder order.
    pub timers_first: bool,
}

impl Settings {
    /// So many members on the usual network.
    #[must_use]
    pub fn new(seed: u64, members: u16) -> Self {
        Self {
            seed,
            members,
            heartbeat_interval_ms: Protocol::default().heartbeat_interval_ms,
            network: NetworkSettings::default(),
            zones: 3,
            founders: None,
            admits: true,
            freeze_above_percent: None,
            timers_first: false,
        }
    }
}

/// An event of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When.
    pub at: Instant,
    /// Whose machine.
    pub node: NodeId,
    /// What.
    pub event: Event,
}

#[derive(Debug)]
enum Happening {
    Wake(ProcessId),
    Arrival {
        end: EndId,
        what: Arrival,
    },
    Message(Message),
    Transmit(Message),
    Acknowledged {
        from: EndId,
        attempts: Option<u32>,
    },
    Idle(EndId),
    Handshake(Box<Dial>),
    Refused {
        process: ProcessId,
        uid: Uid,
    },
    DialFailed {
        process: ProcessId,
        uid: Uid,
    },
    Begin(NodeId),
    AskToJoin {
        node: NodeId,
        key: PublicKey,
    },
    JoinRequest {
        node: NodeId,
        key: PublicKey,
    },
    JoinAnswer {
        node: NodeId,
        key: PublicKey,
        map: Box<SignedMap>,
    },
    AgentTick(ProcessId),
    LeaveTimeout(ProcessId),
    BatchEnds {
        generation: u32,
    },
    Recorded {
        generation: u32,
        map: Box<SignedMap>,
    },
    Fault(Fault),
    /// A process is through with its work and takes the next thing.
    Continue(ProcessId),
    Hostile(ProcessId),
    Look,
}

/// A run.
#[derive(Debug)]
pub struct Simulation {
    settings: Settings,
    cluster: Uid,
    now: Instant,
    schedule: Schedule<Happening>,
    network: Network,
    nodes: Vec<Node>,
    by_uid: BTreeMap<Uid, NodeId>,
    operator: Operator,
    interner: Interner,
    connections: Connections,
    /// Messages that found a full queue.
    queue_full: u64,
    /// States of machines that ended, and such as pass.
    passed_states: BTreeSet<scenario::State>,
    trace: Trace,
    events: Vec<Record>,
    invariants: Invariants,
    /// Nodes whose address outlives their process.
    refusing: BTreeSet<NodeId>,
}

impl Simulation {
    /// A cell whose first map lists all members and that starts at time zero.
    ///
    /// # Errors
    /// When there are more members than a map can list.
    pub fn new(settings: Settings) -> Result<Self, MapError> {
        let mut network = Network::new(settings.network, settings.seed, settings.members);
        let mut uid = || node::uid_of(network.random(), network.random());
        let cluster = uid();
        let mut nodes: Vec<Node> = (0..settings.members).map(|_| Node::new(uid())).collect();
        let mut map = Map {
            cluster,
            cell: "simulated".into(),
            era: 0,
            epoch: FIRST_EPOCH,
            slots: SlotSet::full(),
            protocol: Protocol {
                heartbeat_interval_ms: settings.heartbeat_interval_ms,
                ..Protocol::default()
            },
            members: Vec::with_capacity(nodes.len()),
            delegation: Vec::new(),
            directory: Vec::new(),
        };
        let mut by_uid = BTreeMap::new();
        let founders = settings.founders.unwrap_or(settings.members);
        for (number, node) in (1..).zip(&mut nodes) {
            let id = NodeId(number);
            node.running = true;
            by_uid.insert(node.uid, id);
            if number > founders {
                continue;
            }
            let key = node.new_key(id, settings.seed);
            let zone = number % settings.zones.max(1);
            let member = operator::member_on(id, zone, node.uid, key.public(), FIRST_EPOCH);
            map.members.push(member);
            node.joining = Some(key);
        }
        operator::rehome(&mut map);
        let map_key = Keypair::from_seed([42; 32]);
        let first = SignedMap::sign(map, &map_key)?;
        let mut simulation = Self {
            settings,
            cluster,
            now: Instant::ZERO,
            schedule: Schedule::new(),
            network,
            nodes,
            by_uid,
            operator: Operator::new(map_key, first),
            interner: Interner::default(),
            connections: Connections::default(),
            queue_full: 0,
            passed_states: BTreeSet::new(),
            trace: Trace::new(),
            events: Vec::new(),
            invariants: Invariants::default(),
            refusing: BTreeSet::new(),
        };
        let loss = settings.network.loss_per_mille;
        simulation.invariants.views.at_loss(loss);
        simulation.start_operator();
        for node in simulation.node_ids() {
            let at = simulation.now + simulation.network.below(START_SPREAD);
            simulation.schedule.push(at, Happening::Begin(node));
        }
        simulation.schedule.push(Instant::ZERO, Happening::Look);
        Ok(simulation)
    }

    // Running.

    /// Lets that much time pass.
    pub fn run_for(&mut self, time: Duration) {
        self.run_until_time(self.now + time);
    }

    /// Lets time pass until then.
    pub fn run_until_time(&mut self, end: Instant) {
        while self.step(end).is_some() {}
        self.now = end;
    }

    /// Lets the next of all that happens until `end` happen. What was due before now, as the end of a window that
    /// is no longer held open, happens now: time never goes back.
    fn step(&mut self, end: Instant) -> Option<()> {
        let (at, what) = self.schedule.pop_until(end)?;
        self.now = self.now.max(at);
        self.happen(what);
        Some(())
    }

    /// Lets time pass until something holds, for at most `most`; says how long it took.
    pub fn run_until(&mut self, most: Duration, holds: impl Fn(&Self) -> bool) -> Option<Duration> {
        let begin = self.now;
        let end = begin + most;
        while !holds(self) {
            self.step(end)?;
        }
        Some(self.now.saturating_since(begin))
    }

    // Looking.

    /// The time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Digest of every input that a machine was given and every event that one told, so far.
    #[must_use]
    pub fn trace_digest(&self) -> u64 {
        self.trace.digest()
    }

    /// How many inputs machines were given.
    #[must_use]
    pub fn inputs(&self) -> u64 {
        self.trace.inputs()
    }

    /// Events of all machines so far, but for refusals.
    #[must_use]
    pub fn events(&self) -> &[Record] {
        &self.events
    }

    /// Maps after the first, as the operator recorded them.
    #[must_use]
    pub fn map_changes(&self) -> &[MapChange] {
        &self.operator.changes
    }

    /// The newest map.
    #[must_use]
    pub fn record(&self) -> &SignedMap {
        &self.operator.record
    }

    /// Every node but the operator's.
    pub fn node_ids(&self) -> impl Iterator<Item = NodeId> + use<> {
        (1..=self.settings.members).map(NodeId)
    }

    /// The machine of a member.
    #[must_use]
    pub fn mesh(&self, node: NodeId) -> Option<&Mesh> {
        self.node(node)?.mesh.as_deref()
    }

    /// The operator's machine.
    #[must_use]
    pub fn watch(&self) -> Option<&Watch> {
        self.operator.watch.as_ref()
    }

    /// Who the member on a node is.
    #[must_use]
    pub fn member_id(&self, node: NodeId) -> Option<MemberId> {
        self.mesh(node).map(Mesh::id)
    }

    /// Where a pod is.
    #[must_use]
    pub fn node_of(&self, uid: Uid) -> Option<NodeId> {
        self.by_uid.get(&uid).copied()
    }

    /// The rules, and what they saw.
    #[must_use]
    pub fn invariants(&self) -> &Invariants {
        &self.invariants
    }

    /// Where a rule did not hold.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        self.invariants.violations()
    }

    /// What every process sees.
    pub fn views(&self) -> impl Iterator<Item = View> {
        let record = &self.operator.record;
        // Who holds the newest map and no evidence sees nothing else than that map: no need to count.
        let plain = record.map().members.iter().all(|member| !member.failed);
        let plain = plain.then(|| *record.sha256());
        let numbered = (1..).map(NodeId).zip(&self.nodes);
        let running = numbered.filter(|(_, node)| node.running);
        running.map(move |(id, node)| view(id, node.mesh.as_deref(), plain.as_ref()))
    }

    /// What a node's line carried.
    #[must_use]
    pub fn traffic(&self, node: NodeId) -> Traffic {
        self.network.traffic(node)
    }

    /// Messages that found a full queue.
    #[must_use]
    pub fn queue_full(&self) -> u64 {
        self.queue_full
    }

    /// States that machines which ended came by, and such as pass.
    pub(crate) fn passed_states(&self) -> &BTreeSet<scenario::State> {
        &self.passed_states
    }

    /// Remembers what a machine came by.
    fn remember_states(&mut self, node: NodeId) {
        if let Some(mesh) = self.mesh(node) {
            let states: Vec<_> = scenario::of_machine(mesh).collect();
            self.passed_states.extend(states);
        }
    }

    /// The zone of a node, by number.
    #[must_use]
    pub fn zone_of(&self, node: NodeId) -> u16 {
        node.0 % self.settings.zones.max(1)
    }

    fn node(&self, node: NodeId) -> Option<&Node> {
        self.nodes.get(usize::from(node.0).checked_sub(1)?)
    }

    fn node_mut(&mut self, node: NodeId) -> Option<&mut Node> {
        self.nodes.get_mut(usize::from(node.0).checked_sub(1)?)
    }
}

fn view(node: NodeId, mesh: Option<&Mesh>, plain: Option<&[u8; 32]>) -> View {
    let Some(mesh) = mesh else {
        return View {
            node,
            is_member: false,
            epoch: 0,
            map_sha256: [0; 32],
            evidence: 0,
            failed: 0,
            reported: 0,
        };
    };
    let own = mesh.signed_map().sha256();
    let is_plain = plain == Some(own) && !mesh.holds_reports();
    let members = if is_plain { Vec::new() } else { mesh.members() };
    let count = |wanted| members.iter().filter(|m| m.health == wanted).count();
    View {
        node,
        is_member: !mesh.is_deposed(),
        epoch: mesh.signed_map().map().epoch,
        map_sha256: *mesh.signed_map().sha256(),
        evidence: mesh.evidence_digest(),
        failed: count(Health::Failed),
        reported: count(Health::Suspect),
    }
}

#[cfg(test)]
mod tests;
