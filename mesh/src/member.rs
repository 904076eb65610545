//! The agent's machine: a member of a cell.
//!
//! It sends beats to its observers, watches its subjects ([`crate::edge`]), signs and spreads
//! evidence, comes to the verdict, and passes maps on. What it knows of the world comes in through
//! [`Machine::handle`]; what it wants done comes out as [`Output`].

mod config;
mod deafness;
mod doubt;
mod health;
mod hints;
mod operator;
mod peers;
mod separation;
#[cfg(test)]
mod settled;
mod spread;
mod statement;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::counters::Counters;
use crate::edges::Edges;
use crate::evidence::{Budget, Edge as Link, EvidenceStore, Wanted};
use crate::graph::Graph;
use crate::identity::{MemberId, Uid};
use crate::join_address::JoinAddress;
use crate::limits;
use crate::machine::{Event, Input, Machine, Output};
use crate::map::{Map, Member};
use crate::signed::SignedMap;
use crate::time::Instant;
use crate::verdict::{Announced, Caution, Judged, Verdict};

pub use config::{MeshConfig, MeshError};
use deafness::Deafness;
use doubt::Doubt;
use health::BEAT_JITTER_PART;
use peers::Peers;
use spread::Repair;
use spread::neighbours::Neighbours;
use spread::outbox::Outbox;
use spread::pull::Pull;
use spread::reports::Reports;
use statement::Statement;

/// How a member looks from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Nobody reports it.
    Alive,
    /// Somebody reports it, not enough for a verdict.
    Suspect,
    /// The verdict holds.
    Failed,
    /// It says that it leaves.
    Leaving,
}

/// How one member looks from here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberHealth {
    /// Who.
    pub id: MemberId,
    /// How.
    pub health: Health,
    /// Who reports it.
    pub reported_by: Vec<MemberId>,
}

/// A member of a cell.
#[derive(Debug)]
pub struct Mesh {
    config: MeshConfig,
    rng: Pcg64Mcg,
    outputs: VecDeque<Output>,
    counters: Counters,

    me: MemberId,
    signed: SignedMap,
    older: VecDeque<SignedMap>,
    /// A map of another cell that lists this process: the split that explains it is still to come.
    early: Option<SignedMap>,
    /// The last map of the cell that this one is a part of, for members that missed it.
    delegation: Option<SignedMap>,
    graph: Arc<Graph>,
    neighbours: Neighbours,
    pull: Pull,
    reports: Reports,
    outbox: Outbox,
    wanted: Wanted,
    deposed: bool,
    conflict: bool,
    leaving: bool,

    peers: Peers,
    edges: Edges,
    /// Observers of the last epoch that are still beaten, and until when.
    old_observers: (Vec<Uid>, Instant),
    evidence: EvidenceStore,
    budget: Budget,
    statement: Statement,
    repair: Option<Repair>,
    verdict: Verdict,
    judged: Judged,
    /// Of the last verdict: whether caution withheld it, and whether this member could speak of it.
    judged_last: Option<(bool, bool)>,
    caution: Caution,
    announced: Announced,
    catch_up: CatchUp,

    /// Nothing is due before.
    quiet_until: Instant,
    next_beat: Instant,
    beat_sequence: u32,
    nonce: u32,
    timer_lag: Duration,
    doubt: Doubt,
    deafness: Deafness,
    heard_anybody: Instant,
    heard_operator: Option<Instant>,
    /// Where the operator answers joins, as it told.
    join_address: Option<JoinAddress>,
}

/// A fresh member learns what is known before it counts reports itself.
#[derive(Debug)]
struct CatchUp {
    asked: BTreeSet<Uid>,
    answered: usize,
    until: Instant,
}

impl Mesh {
    /// A member that the first map lists.
    ///
    /// # Errors
    /// When the map does not list this process's pod with its key.
    pub fn new(config: MeshConfig, first: SignedMap, now: Instant) -> Result<Self, MeshError> {
        let me = Self::find(first.map(), &config).ok_or(MeshError::NotListed(first.map().epoch))?;
        let (first, graph) = config.with_graph(first);
        let mut mesh = Self {
            rng: Pcg64Mcg::seed_from_u64(config.seed),
            outputs: VecDeque::new(),
            counters: Counters::default(),
            me,
            neighbours: Neighbours::of(first.map(), &graph, me.uid),
            pull: Pull::default(),
            reports: Reports::default(),
            outbox: Outbox::default(),
            wanted: Wanted::default(),
            graph,
            signed: first,
            older: VecDeque::new(),
            early: None,
            delegation: None,
            deposed: false,
            conflict: false,
            leaving: false,
            peers: Peers::default(),
            edges: Edges::default(),
            old_observers: (Vec::new(), now),
            evidence: EvidenceStore::default(),
            budget: Budget::default(),
            statement: Statement::default(),
            repair: None,
            verdict: Verdict::default(),
            judged: Judged::default(),
            judged_last: None,
            caution: Caution::default(),
            announced: Announced::default(),
            catch_up: CatchUp {
                asked: BTreeSet::new(),
                answered: 0,
                until: now + limits::EDGE_GRACE,
            },
            quiet_until: now,
            next_beat: now,
            beat_sequence: 0,
            nonce: 0,
            timer_lag: Duration::ZERO,
            doubt: Doubt::default(),
            deafness: Deafness::default(),
            heard_anybody: now,
            heard_operator: None,
            join_address: None,
            config,
        };
        // Members that start together do not beat together.
        let spread = mesh
            .rng
            .random_range(0..u64::from(mesh.map().protocol.heartbeat_interval_ms));
        mesh.next_beat = now + Duration::from_millis(spread);
        mesh.rebuild_edges(now);
        mesh.dial_wanted(now);
        mesh.event(Event::MapApplied {
            epoch: mesh.map().epoch,
        });
        Ok(mesh)
    }

    /// This process, if the map counts it as a member. Listed as failed is not: it joins again, and
    /// then keeps what it owns.
    fn find(map: &Map, config: &MeshConfig) -> Option<MemberId> {
        let member = map.member(config.uid).filter(|member| !member.failed)?;
        (member.key == config.keypair.public()).then(|| member.id())
    }

    /// The map in force.
    #[must_use]
    pub fn signed_map(&self) -> &SignedMap {
        &self.signed
    }

    /// Who this process is.
    #[must_use]
    pub fn id(&self) -> MemberId {
        self.me
    }

    /// Whether a map no longer lists this process.
    #[must_use]
    pub fn is_deposed(&self) -> bool {
        self.deposed
    }

    /// Whether it takes itself for the sick one and therefore accuses nobody.
    #[must_use]
    pub fn doubts_itself(&self) -> bool {
        self.doubt.said
    }

    /// When anybody was last heard.
    #[must_use]
    pub fn heard_anybody_at(&self) -> Instant {
        self.heard_anybody
    }

    /// Whether two different maps of one epoch were seen.
    #[must_use]
    pub fn has_map_conflict(&self) -> bool {
        self.conflict
    }

    /// What it counted.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Connections to members.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.peers.members().count()
    }

    /// Entries of the queues and maps that peers can fill, for those who check limits.
    #[must_use]
    pub fn loads(&self) -> Loads {
        Loads {
            connections: self.peers.len(),
            strangers: self.peers.strangers(),
            parted: self.peers.parted(),
            evidence: self.evidence.len(),
            outputs: self.outputs.len(),
            edges: self.edges.len(),
            offers: self.pull.len(),
            wanted: self.wanted.len(),
        }
    }

    /// Digest of the evidence in force.
    #[must_use]
    pub fn evidence_digest(&self) -> u64 {
        self.evidence.digest()
    }

    /// Whether anybody reports a member.
    #[must_use]
    pub fn holds_reports(&self) -> bool {
        self.evidence.reported() > 0
    }

    /// How each member of the map looks from here.
    #[must_use]
    pub fn members(&self) -> Vec<MemberHealth> {
        let mut reporters: BTreeMap<MemberId, Vec<MemberId>> = BTreeMap::new();
        for (observer, subject) in self.evidence.reports() {
            reporters.entry(subject).or_default().push(observer);
        }
        let leaving: BTreeSet<MemberId> = self.evidence.leaving().collect();
        let members = self.map().members.iter();
        members
            .map(|member| {
                let id = member.id();
                let reported_by = reporters.remove(&id).unwrap_or_default();
                let health = if member.failed || self.verdict.failed.contains(&id) {
                    Health::Failed
                } else if leaving.contains(&id) {
                    Health::Leaving
                } else if reported_by.is_empty() {
                    Health::Alive
                } else {
                    Health::Suspect
                };
                MemberHealth {
                    id,
                    health,
                    reported_by,
                }
            })
            .collect()
    }

    /// Links that do not work though neither end was found failed or leaves, (observer, subject).
    #[must_use]
    pub fn degraded_links(&self) -> Vec<Link> {
        self.degraded().collect()
    }

    /// Whether there are any.
    #[must_use]
    pub fn has_degraded_links(&self) -> bool {
        self.degraded().next().is_some()
    }

    fn degraded(&self) -> impl Iterator<Item = Link> + '_ {
        let leaves = |id: &MemberId| self.evidence.get(*id).is_some_and(|held| held.leaves);
        let gone = move |id: &MemberId| self.verdict.failed.contains(id) || leaves(id);
        let links = self.verdict.degraded.iter().copied();
        links.filter(move |(observer, subject)| !gone(observer) && !gone(subject))
    }

    fn map(&self) -> &Arc<Map> {
        self.signed.map()
    }

    /// A member of the map in force.
    fn listed(&self, uid: Uid) -> Option<&Member> {
        self.graph.member(self.signed.map(), uid)
    }

    fn interval(&self) -> Duration {
        Duration::from_millis(self.map().protocol.heartbeat_interval_ms.into())
    }

    /// Nothing is due; a judge that rests makes something due.
    fn judge_in_passing(&mut self, now: Instant) {
        self.judge(now);
        if let Some(due) = self.judged.deadline() {
            self.quiet_until = self.quiet_until.min(due);
        }
    }

    fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    fn refuse(&mut self, cause: &'static str) {
        self.counters.refuse(cause);
        self.event(Event::Refused { cause });
    }

    /// Rebuilds what follows from the map: edges to subjects; those of the same process stay.
    fn rebuild_edges(&mut self, now: Instant) {
        let interval = self.interval();
        let leaving: BTreeSet<Uid> = self.evidence.leaving().map(|id| id.uid).collect();
        let subjects = self.graph.subjects(self.me.uid).iter().copied();
        let subjects = subjects.filter(|uid| !self.deposed && !leaving.contains(uid));
        self.edges.lead_to(now, interval, subjects);
        // A shorter interval counts from now on.
        self.next_beat = self
            .next_beat
            .min(now + interval + interval / BEAT_JITTER_PART);
    }
}

/// Entries of the queues and maps that peers can fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loads {
    /// Connections of any kind.
    pub connections: usize,
    /// Connections of peers that the map does not list.
    pub strangers: usize,
    /// Processes of which something is kept though they are not connected.
    pub parted: usize,
    /// Statements in force.
    pub evidence: usize,
    /// Outputs not yet taken.
    pub outputs: usize,
    /// Edges to subjects.
    pub edges: usize,
    /// Peers that offer a newer map.
    pub offers: usize,
    /// Statements that were asked for.
    pub wanted: usize,
}

impl Machine for Mesh {
    fn handle(&mut self, now: Instant, input: Input) {
        if now >= self.quiet_until {
            self.quiet_until = self.next_deadline().unwrap_or(now);
            self.notice_lateness(now, self.quiet_until);
        }
        match input {
            // Nearly all that comes in, and it makes nothing due but what its own edge waits for.
            Input::Datagram { connection, bytes } => {
                if self.on_datagram(now, connection, &bytes) && now < self.quiet_until {
                    return self.judge_in_passing(now);
                }
            }
            Input::Connected {
                connection,
                peer,
                remote,
                dialed,
            } => {
                self.on_connected(now, connection, peer, remote, dialed);
            }
            Input::DialFailed { uid } => self.peers.dial_failed(now, uid),
            Input::Disconnected { connection, reason } => self.on_end(now, connection, reason),
            Input::Frame { connection, bytes } => self.on_frame(now, connection, &bytes),
            Input::Unread { why, .. } => self.refuse(why.category()),
            Input::Refused { uid } => self.on_refused(now, uid),
            Input::SendDropped { connection } => self.on_send_dropped(now, connection),
            Input::Timer if now < self.quiet_until => return self.judge_in_passing(now),
            Input::Timer => {}
            Input::Leave => self.leave(),
        }
        self.run_timers(now);
        self.tend_statement(now);
        self.run_spread_timers(now);
        self.judge(now);
        self.quiet_until = self.next_deadline().unwrap_or(now);
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn next_deadline(&self) -> Option<Instant> {
        let edges = self.edges.deadline();
        let others = [
            self.deafness.deadline(),
            self.statement_deadline(),
            self.spread_deadline(),
            self.judged.deadline(),
        ];
        let nearest = edges.into_iter().chain(others.into_iter().flatten()).min();
        Some(nearest.map_or(self.next_beat, |due| due.min(self.next_beat)))
    }

    fn not_before(&self) -> Option<Instant> {
        Some(self.quiet_until)
    }
}
