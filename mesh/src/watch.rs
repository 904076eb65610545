//! The operator's machine: one for each cell.
//!
//! It is no member. It dials a few reporters (all members of a small cell), hands them new maps,
//! receives the evidence in force and comes to the same verdict by the same function: it counts
//! nobody's word. In cells of up to three members it also observes them itself, with probes in the
//! place of beats, because two members that accuse each other prove nothing.

mod census;
mod claims;
mod handing_out;
mod joins;
mod judging;
mod probing;
mod second_look;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::convergence::Convergence;
use crate::counters::Counters;
use crate::dials::Dials;
use crate::edges::Edges;
use crate::evidence::{Budget, EvidenceStore};
use crate::graph::Graph;
use crate::identity::{Epoch, Keypair, MemberId, PublicKey, Uid};
use crate::limits;
use crate::machine::{
    CloseReason, ConnectionId, Disconnect, Event, Input, Machine, Output, PeerIdentity,
};
use crate::map::{Map, Member};
use crate::signed::SignedMap;
use crate::time::Instant;
use crate::told::Told;
use crate::verdict::{Announced, Caution, Judged};
use crate::wire::Frame;

use census::Census;
use claims::Claim;
use handing_out::Ways;
use joins::Joins;
use judging::Patience;
use second_look::SecondLook;

/// What a watch is made of.
#[derive(Debug)]
pub struct WatchConfig {
    /// Key that signs maps, and what the operator observes.
    pub keypair: Keypair,
    /// Statements are numbered from here: above those of earlier operators, if clocks agree (Unix microseconds do).
    pub first_sequence: u64,
    /// Whether to find out of every member that it has applied a map of this cell.
    pub take_census: bool,
}

/// The operator's eyes and mouth in one cell.
#[derive(Debug)]
pub struct Watch {
    config: WatchConfig,
    outputs: VecDeque<Output>,
    counters: Counters,
    signed: SignedMap,
    older: VecDeque<SignedMap>,
    graph: Graph,
    evidence: EvidenceStore,
    budget: Budget,
    announced: Announced,
    judged: Judged,
    caution: Caution,
    patience: Patience,
    conflict: bool,

    peers: BTreeMap<Uid, Peer>,
    dials: Dials,
    edges: Edges,
    /// Members found failed that the rest is too few to claim.
    second_look: SecondLook,
    census: Census,
    /// How far the newest published maps have come.
    ways: Ways,
    sequence: u64,
    /// Told to every reporter.
    joins: Joins,
    /// Number of the tick: nonce of its probes.
    tick: u32,
    next_tick: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Peer {
    connection: ConnectionId,
    /// The key that it showed.
    key: PublicKey,
    version: Option<(u32, Epoch)>,
    claim: Claim,
    /// Maps sent to it, and those that it got whole because it asked.
    sent: Told,
    asked: Told,
    /// What came from it and whose signature does not hold.
    forged: u32,
    /// When it was last heard.
    heard: Instant,
}

impl Watch {
    /// A watch over the cell of that map.
    #[must_use]
    pub fn new(config: WatchConfig, current: SignedMap, now: Instant) -> Self {
        let mut watch = Self {
            sequence: config.first_sequence,
            joins: Joins::default(),
            census: match config.take_census {
                true => Census::of(current.map()),
                false => Census::default(),
            },
            config,
            outputs: VecDeque::new(),
            counters: Counters::default(),
            graph: Graph::of(current.map()),
            signed: current,
            older: VecDeque::new(),
            evidence: EvidenceStore::default(),
            budget: Budget::default(),
            announced: Announced::default(),
            judged: Judged::default(),
            caution: Caution::default(),
            patience: Patience::default(),
            conflict: false,
            peers: BTreeMap::new(),
            dials: Dials::default(),
            edges: Edges::default(),
            second_look: SecondLook::default(),
            ways: Ways::default(),
            tick: 0,
            next_tick: now,
        };
        watch.rebuild_edges(now);
        watch.dial(now);
        watch
    }

    /// Hands a recorded map to the reporters.
    pub fn publish(&mut self, now: Instant, map: SignedMap) {
        if map.map().version() <= self.signed.map().version() {
            return;
        }
        let listed: BTreeSet<MemberId> = self
            .map()
            .members
            .iter()
            .map(crate::map::Member::id)
            .collect();
        let begun = Convergence::of(self.map(), map.map(), now);
        self.ways
            .begin(map.map().era, map.map().members.len(), begun);
        let older = std::mem::replace(&mut self.signed, map);
        self.older.push_front(older);
        self.older.truncate(limits::OLDER_MAPS_MAX);
        self.graph = Graph::of(self.signed.map());
        self.evidence.adapt_to(self.signed.map(), &self.graph);
        self.budget.retain_for(self.signed.map(), &self.graph);
        self.announced.clear();
        self.conflict = false;
        self.census.retain_for(self.signed.map());
        self.counters.maps_applied += 1;
        let same = |uid: Uid| {
            let member = self.graph.member(self.signed.map(), uid);
            member.is_some_and(|member| listed.contains(&member.id()))
        };
        self.edges.retain(same);
        let epoch = self.map().epoch;
        self.outputs
            .push_back(Output::Event(Event::MapApplied { epoch }));
        self.rebuild_edges(now);
        self.let_go_of_predecessors();
        // Whoever is connected gets it, those whom it no longer lists included: so they learn it.
        for uid in self.peers.keys().copied().collect::<Vec<_>>() {
            self.send_map(now, uid);
        }
        self.judge(now);
        self.dial(now);
    }

    /// The newest map handed out.
    #[must_use]
    pub fn signed_map(&self) -> &SignedMap {
        &self.signed
    }

    /// Members that are connected now.
    #[must_use]
    pub fn reach(&self) -> usize {
        self.peers
            .keys()
            .filter(|uid| self.listed(**uid).is_some())
            .count()
    }

    /// Members that the evidence finds failed while the others are too few to claim it, and for how
    /// long the operator's own probes have been unanswered.
    #[must_use]
    pub fn unproven(&self, now: Instant) -> Vec<(MemberId, Duration)> {
        self.second_look.silence(now)
    }

    /// Whom it finds failed now, under the newest map handed out. Events tell each change of it.
    #[must_use]
    pub fn found_failed(&self) -> &BTreeSet<MemberId> {
        self.announced.failed()
    }

    /// Members that have not said yet that they applied a map of this cell, if that is to be found out.
    #[must_use]
    pub fn census_missing(&self) -> usize {
        self.census.missing()
    }

    /// What peers can fill, as (what, how much, limit), for those who check limits.
    #[must_use]
    pub fn loads(&self) -> [(&'static str, usize, usize); 4] {
        [
            ("connections", self.peers.len(), limits::MEMBERS_MAX),
            ("evidence", self.evidence.len(), limits::EVIDENCE_MAX),
            (
                "edges",
                self.edges.iter().count(),
                limits::OPERATOR_OBSERVES_MAX,
            ),
            ("older maps", self.older.len(), limits::OLDER_MAPS_MAX),
        ]
    }

    /// What it counted.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    fn map(&self) -> &Map {
        self.signed.map()
    }

    /// A member of the map in force.
    fn listed(&self, uid: Uid) -> Option<&Member> {
        self.graph.member(self.signed.map(), uid)
    }

    fn interval(&self) -> Duration {
        Duration::from_millis(self.map().protocol.heartbeat_interval_ms.into())
    }

    fn keys(&self) -> [PublicKey; 1] {
        [self.config.keypair.public()]
    }

    fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    fn refuse(&mut self, cause: &'static str) {
        self.counters.refuse(cause);
        self.event(Event::Refused { cause });
    }

    fn send(&mut self, connection: ConnectionId, frame: &Frame) {
        self.outputs.push_back(Output::Frame {
            connection,
            bytes: frame.encode(),
        });
    }

    fn dial(&mut self, now: Instant) {
        let mut wanted = self.reporters(now);
        let reporters = wanted.len();
        let asked = self.census.next(|uid| self.dials.rests(now, uid));
        for uid in self.second_look.members().chain(asked) {
            if !wanted.contains(&uid) {
                wanted.push(uid);
            }
        }
        for uid in &wanted {
            if self.peers.contains_key(uid) || !self.dials.may_begin(now, *uid) {
                continue;
            }
            let Some(member) = self.listed(*uid) else {
                continue;
            };
            let dial = Output::Dial {
                uid: *uid,
                address: member.address,
                key: member.key,
            };
            self.dials.begin(now, *uid);
            self.outputs.push_back(dial);
        }
        self.let_go_of_others(&wanted, reporters);
    }

    /// More than needed are connected, after a dead reporter came back or because of the census: the
    /// extra ones go once all reporters, the first of those wanted, are there.
    fn let_go_of_others(&mut self, wanted: &[Uid], reporters: usize) {
        let mut first = wanted.iter().take(reporters);
        if !first.all(|uid| self.peers.contains_key(uid)) {
            return;
        }
        let extra: Vec<Uid> = self
            .peers
            .keys()
            .filter(|uid| !wanted.contains(uid))
            .copied()
            .collect();
        for uid in extra {
            if let Some(peer) = self.peers.remove(&uid) {
                let connection = peer.connection;
                self.outputs.push_back(Output::Close {
                    connection,
                    reason: CloseReason::NotNeeded,
                });
            }
        }
    }

    /// Where another process has taken the place of one, with another key, the connection leads to the one that is gone.
    fn let_go_of_predecessors(&mut self) {
        let (map, graph) = (self.signed.map(), &self.graph);
        let is_gone = |uid: &Uid, peer: &Peer| {
            let member = graph.member(map, *uid);
            member.is_some_and(|member| member.key != peer.key)
        };
        let gone = self.peers.extract_if(.., |uid, peer| is_gone(uid, peer));
        self.outputs.extend(gone.map(|(_, peer)| Output::Close {
            connection: peer.connection,
            reason: CloseReason::Replaced,
        }));
    }

    fn wait_before_dial(&mut self, now: Instant, uid: Uid) {
        self.dials.rest(now, uid);
        let (map, graph) = (self.signed.map(), &self.graph);
        self.dials.retain(|uid| graph.member(map, uid).is_some());
    }

    fn on_connected(&mut self, now: Instant, connection: ConnectionId, identity: PeerIdentity) {
        let PeerIdentity::Agent { uid, key } = identity else {
            self.outputs.push_back(Output::Close {
                connection,
                reason: CloseReason::ProtocolError,
            });
            return;
        };
        self.dials.connected(uid);
        self.second_look.hear(now, uid);
        if let Some(older) = self.peers.insert(
            uid,
            Peer {
                connection,
                key,
                version: None,
                claim: Claim::default(),
                sent: Told::default(),
                asked: Told::default(),
                forged: 0,
                heard: now,
            },
        ) {
            let connection = older.connection;
            self.outputs.push_back(Output::Close {
                connection,
                reason: CloseReason::Replaced,
            });
        }
        self.tell_join_address(connection);
        if let Some(own) = self.evidence.get(MemberId::OPERATOR) {
            let frame = Frame::Evidence(vec![own.clone()]);
            self.send(connection, &frame);
        }
        self.probe(uid);
    }

    fn on_disconnected(&mut self, now: Instant, connection: ConnectionId, reason: Disconnect) {
        let Some(uid) = self.uid_of(connection) else {
            return;
        };
        self.peers.remove(&uid);
        if reason != Disconnect::Local {
            self.wait_before_dial(now, uid);
        }
    }

    fn uid_of(&self, connection: ConnectionId) -> Option<Uid> {
        self.peers
            .iter()
            .find(|(_, peer)| peer.connection == connection)
            .map(|(uid, _)| *uid)
    }

    fn on_frame(&mut self, now: Instant, connection: ConnectionId, bytes: &[u8]) {
        let Some(uid) = self.hear(now, connection) else {
            return;
        };
        match Frame::decode(bytes) {
            Err(error) => self.refuse(error.category()),
            Ok(Frame::Hello { era, epoch, sha256 }) => {
                self.on_hello(now, uid, (era, epoch), sha256)
            }
            Ok(Frame::MapRequest) => self.send_whole_map(now, uid),
            Ok(Frame::Evidence(evidence)) => {
                let forged = self.on_evidence(now, evidence);
                self.count_forged(now, uid, forged);
            }
            Ok(Frame::Map { bytes, .. }) => self.on_map(now, uid, &bytes),
            Ok(Frame::MapDifference { .. }) => self.refuse("MapForTheOperator"),
            Ok(Frame::Applied { era, epoch, counts }) => self.on_applied((era, epoch), &counts),
            Ok(Frame::Summary(_)) => self.refuse("SummaryForTheOperator"),
            Ok(Frame::Offer(_)) => self.refuse("OfferForTheOperator"),
            Ok(Frame::Wants { .. }) => self.refuse("WantsForTheOperator"),
            Ok(Frame::JoinAddress(other)) => self.on_join_address(now, uid, other),
        }
    }
}

impl Machine for Watch {
    fn handle(&mut self, now: Instant, input: Input) {
        self.notice_lateness(now);
        match input {
            Input::Connected {
                connection, peer, ..
            } => self.on_connected(now, connection, peer),
            Input::DialFailed { uid } => {
                self.wait_before_dial(now, uid);
                self.dial(now);
            }
            Input::Disconnected { connection, reason } => {
                self.on_disconnected(now, connection, reason)
            }
            Input::Datagram { connection, bytes } => self.on_datagram(now, connection, &bytes),
            Input::Frame { connection, bytes } => self.on_frame(now, connection, &bytes),
            Input::Unread { why, .. } => self.refuse(why.category()),
            Input::SendDropped { .. } => self.counters.send_drops += 1,
            Input::Timer | Input::Leave | Input::Refused { .. } => {}
        }
        self.run_timers(now);
        self.tell_convergence(now);
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn next_deadline(&self) -> Option<Instant> {
        let edges = self.edges.deadline().into_iter();
        let nearest = edges.chain(self.judges_at()).min();
        Some(nearest.map_or(self.next_tick, |due| due.min(self.next_tick)))
    }
}
