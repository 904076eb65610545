//! Maps and evidence: pushed on arrival to a few ring neighbours, dropped when known, and repaired
//! through what beats tell (epoch and digest) with only the difference sent.

use std::collections::BTreeSet;

use crate::edge::Edge;
use crate::evidence::{Claim, Evidence, EvidenceError, SummaryEntry};
use crate::graph::Graph;
use crate::identity::{Epoch, Uid};
use crate::limits;
use crate::machine::{ConnectionId, Event, Output};
use crate::map::MapError;
use crate::signed::SignedMap;
use crate::time::Instant;
use crate::wire::Frame;

use super::Mesh;
use super::peers::Kind;

impl Mesh {
    /// The first words on a connection.
    pub(super) fn greet(&mut self, now: Instant, connection: ConnectionId) {
        self.say_hello(connection);
        match self.peers.get(connection).map(|peer| peer.kind) {
            Some(Kind::Member(id)) => {
                self.tell_join_address(connection);
                self.ask_to_catch_up(now, connection, id.uid);
            }
            Some(Kind::Operator) => {
                let all: Vec<Evidence> = self.evidence.iter().copied().collect();
                self.send_evidence(connection, &all);
            }
            _ => {}
        }
    }

    fn say_hello(&mut self, connection: ConnectionId) {
        let (era, epoch) = self.map().version();
        let mut sha256 = [0; 8];
        for (target, source) in sha256.iter_mut().zip(self.signed.sha256()) {
            *target = *source;
        }
        self.send(connection, &Frame::Hello { era, epoch, sha256 });
    }

    fn ask_to_catch_up(&mut self, now: Instant, connection: ConnectionId, uid: Uid) {
        if self.has_caught_up(now) || self.catch_up.asked.len() >= limits::CATCH_UP_NEIGHBOURS {
            return;
        }
        if self.catch_up.asked.insert(uid) {
            self.send_summary(now, connection, false);
        }
    }

    pub(super) fn has_caught_up(&self, now: Instant) -> bool {
        let others = self.graph.len().saturating_sub(1);
        self.catch_up.answered >= limits::CATCH_UP_NEIGHBOURS.min(others)
            || now >= self.catch_up.until
    }

    pub(super) fn on_frame(&mut self, now: Instant, connection: ConnectionId, bytes: &[u8]) {
        let Some(kind) = self.peers.get(connection).map(|peer| peer.kind) else {
            return;
        };
        let frame = match Frame::decode(bytes) {
            Ok(frame) => frame,
            Err(error) => return self.refuse(error.category()),
        };
        match (kind, frame) {
            (_, Frame::Hello { era, epoch, sha256 }) => {
                self.on_hello(now, connection, (era, epoch), sha256)
            }
            (_, Frame::Map(bytes)) => {
                let decoded = SignedMap::decode(&bytes, self.config.cluster, &self.config.map_keys);
                self.on_map(now, connection, decoded);
            }
            (_, Frame::MapDifference(bytes)) => {
                let applied = SignedMap::apply(&self.signed, &bytes, &self.config.map_keys);
                self.on_map(now, connection, applied);
            }
            (_, Frame::MapRequest) => self.send_whole_map(now, connection),
            (Kind::Stranger, _) => self.counters.refuse("StrangersFrame"),
            (_, Frame::JoinAddress(told)) => self.on_join_address(now, connection, told),
            (_, Frame::Evidence(evidence)) => self.on_evidence(now, connection, evidence),
            (Kind::Operator, Frame::Summary { .. }) => self.refuse("OperatorsSummary"),
            (Kind::Member(id), Frame::Summary { reply, entries }) => {
                self.on_summary(now, connection, id.uid, reply, &entries);
            }
        }
    }

    fn on_hello(
        &mut self,
        now: Instant,
        from: ConnectionId,
        version: (u32, Epoch),
        sha256: [u8; 8],
    ) {
        if let Some(peer) = self.peers.get_mut(from) {
            peer.version = Some(version);
        }
        match version.cmp(&self.map().version()) {
            std::cmp::Ordering::Less => self.send_map(now, from),
            // The greeting goes both ways, so whoever has the newer map sends it.
            std::cmp::Ordering::Greater => {}
            std::cmp::Ordering::Equal => {
                if !self.signed.sha256().starts_with(&sha256) {
                    self.send(from, &Frame::MapRequest);
                }
            }
        }
    }

    fn on_map(&mut self, now: Instant, from: ConnectionId, map: Result<SignedMap, MapError>) {
        let map = match map {
            Ok(map) => map,
            Err(MapError::WrongBase) => return self.send(from, &Frame::MapRequest),
            Err(error) => return self.refuse(error.category()),
        };
        let version = map.map().version();
        if map.map().cell != self.map().cell {
            return self.on_map_of_another_cell(now, from, map);
        }
        if let Some(peer) = self.peers.get_mut(from) {
            peer.version = Some(version);
        }
        match version.cmp(&self.map().version()) {
            std::cmp::Ordering::Less => {
                self.counters.refuse("OlderMap");
                self.send_map(now, from);
            }
            std::cmp::Ordering::Equal if map.sha256() == self.signed.sha256() => {}
            std::cmp::Ordering::Equal => {
                if !self.conflict {
                    self.conflict = true;
                    self.counters.refuse("MapConflict");
                    self.event(Event::MapConflict { epoch: version.1 });
                }
            }
            std::cmp::Ordering::Greater if self.conflict => {
                self.counters.refuse("MapAfterConflict")
            }
            std::cmp::Ordering::Greater => self.apply(now, from, map),
        }
    }

    fn apply(&mut self, now: Instant, from: ConnectionId, map: SignedMap) {
        self.install(now, map);
        self.settle(now, from);
        self.separate_if_early(now, from);
    }

    /// Puts a map in force: what follows from it alone.
    pub(super) fn install(&mut self, now: Instant, map: SignedMap) {
        let old_observers = self.graph.observers(self.me.uid).to_vec();
        let listed_before: BTreeSet<_> = self
            .map()
            .members
            .iter()
            .map(crate::map::Member::id)
            .collect();
        let older = std::mem::replace(&mut self.signed, map);
        self.older.push_front(older);
        self.older.truncate(limits::OLDER_MAPS_MAX);
        self.graph = Graph::of(self.signed.map());
        self.counters.maps_applied += 1;
        match Self::find(self.signed.map(), &self.config) {
            Some(me) => self.me = me,
            None => self.deposed = true,
        }
        // A process that restarted is another subject: its edge starts afresh.
        self.edges.retain(|uid, _| {
            self.signed
                .map()
                .member(*uid)
                .is_some_and(|member| listed_before.contains(&member.id()))
        });
        self.evidence.retain_for(self.signed.map(), &self.graph);
        self.budget.retain_for(self.signed.map());
        self.old_observers = (old_observers, now + limits::OLD_EDGE_LINGER);
        self.announced.clear();
    }

    /// Adapts peers and edges to a map that was put in force, and passes it on.
    pub(super) fn settle(&mut self, now: Instant, from: ConnectionId) {
        self.reclassify_peers(now);
        self.rebuild_edges(now);
        let epoch = self.map().epoch;
        self.event(Event::MapApplied { epoch });
        if self.deposed {
            self.edges.clear();
            self.event(Event::Deposed { epoch });
        }
        self.push_map(now, from);
        // An operator counts who has applied what.
        for operator in self.peers.operators() {
            self.say_hello(operator);
        }
        self.dial_wanted(now);
    }

    /// Pushes a map that just arrived to a few neighbours, and to whom it no longer lists.
    fn push_map(&mut self, now: Instant, from: ConnectionId) {
        let listeners = self.listeners(now);
        for connection in listeners
            .into_iter()
            .filter(|connection| *connection != from)
        {
            self.send_map(now, connection);
        }
        for connection in self.peers.stranger_connections() {
            self.send_map(now, connection);
        }
    }

    /// Sends what the peer lacks: a difference where its map is known, else the whole.
    fn send_map(&mut self, now: Instant, to: ConnectionId) {
        let version = self.map().version();
        let Some(peer) = self.peers.get_mut(to) else {
            return;
        };
        if peer.version.is_some_and(|theirs| theirs >= version) {
            return;
        }
        let recently = |(sent, at): (_, Instant)| {
            sent == version && now.saturating_since(at) < limits::REPAIR_INTERVAL
        };
        if peer.sent.is_some_and(recently) {
            return;
        }
        peer.sent = Some((version, now));
        let base = peer.version;
        let base = self
            .older
            .iter()
            .find(|older| Some(older.map().version()) == base);
        let frame = match base {
            Some(base) => Frame::MapDifference(self.signed.difference_from(base)),
            None => Frame::Map(self.signed.encode()),
        };
        self.count_and_send_map(to, &frame);
    }

    fn send_whole_map(&mut self, now: Instant, to: ConnectionId) {
        let version = self.map().version();
        if let Some(peer) = self.peers.get_mut(to) {
            peer.sent = Some((version, now));
        }
        let frame = Frame::Map(self.signed.encode());
        self.count_and_send_map(to, &frame);
    }

    fn count_and_send_map(&mut self, to: ConnectionId, frame: &Frame) {
        let bytes = frame.encode();
        self.counters.maps_sent += 1;
        self.counters.map_bytes_sent += bytes.len() as u64;
        self.outputs.push_back(Output::Frame {
            connection: to,
            bytes,
        });
    }

    fn on_evidence(&mut self, now: Instant, from: ConnectionId, evidence: Vec<Evidence>) {
        let mut news = Vec::new();
        for item in evidence {
            if !self.evidence.is_news(&item) {
                continue;
            }
            if !self.budget.has_room(now, item.signer, self.interval()) {
                self.counters.refuse(EvidenceError::Budget.category());
                continue;
            }
            if let Err(error) = item.check(self.signed.map(), &self.graph, &self.config.map_keys) {
                // Between two epochs that is usual; the digest brings it back.
                self.counters.refuse(error.category());
                continue;
            }
            self.budget.spend(now, item.signer);
            match self.evidence.insert(item) {
                Ok(true) => news.push(item),
                Ok(false) => {}
                Err(error) => self.counters.refuse(error.category()),
            }
        }
        for item in &news {
            self.counters.evidence_received += 1;
            self.announce(item);
            match item.claim {
                Claim::Suspect => self.look_at(now, item.subject.uid),
                Claim::Clear => {}
                Claim::Leave => {
                    self.edges.remove(&item.subject.uid);
                }
            }
        }
        self.spread_evidence(now, news, Some(from));
    }

    /// Whom to tell news: on each of a few rings the next member that is well, and whoever comes before
    /// it. So each ring stays a cycle through the living however many died at once, and a member that
    /// is reported by mistake is not left in the dark.
    pub(super) fn listeners(&self, now: Instant) -> BTreeSet<ConnectionId> {
        let reported: BTreeSet<Uid> = self.evidence.reports().map(|(_, id)| id.uid).collect();
        let is_well = |uid: Uid| {
            let silent = |edge: &Edge| !edge.is_well(now);
            !reported.contains(&uid) && !self.edges.get(&uid).is_some_and(silent)
        };
        let (mut listeners, mut well) = (BTreeSet::new(), BTreeSet::new());
        for ring in 0..limits::FANOUT {
            for uid in self.graph.after(self.me.uid, ring) {
                let Some(connection) = self.peers.of(uid) else {
                    continue;
                };
                listeners.insert(connection);
                if is_well(uid) && well.insert(uid) {
                    break;
                }
            }
        }
        listeners
    }

    /// Tells a few neighbours, and every operator.
    pub(super) fn spread_evidence(
        &mut self,
        now: Instant,
        news: Vec<Evidence>,
        from: Option<ConnectionId>,
    ) {
        if news.is_empty() {
            return;
        }
        let mut targets = self.listeners(now);
        targets.extend(self.peers.operators());
        for connection in targets
            .into_iter()
            .filter(|connection| Some(*connection) != from)
        {
            self.send_evidence(connection, &news);
        }
    }

    fn send_evidence(&mut self, to: ConnectionId, evidence: &[Evidence]) {
        for part in evidence.chunks(limits::EVIDENCE_PER_FRAME_MAX) {
            self.send(to, &Frame::Evidence(part.to_vec()));
        }
    }

    /// A beat told the peer's epoch and digest: mend what differs.
    pub(super) fn repair(&mut self, now: Instant, peer: ConnectionId, epoch: Epoch, digest: u64) {
        let (era, mine) = self.map().version();
        if epoch < mine {
            if let Some(peer) = self.peers.get_mut(peer) {
                peer.version = Some((era, epoch));
            }
            self.send_map(now, peer);
        } else if epoch == mine && digest != self.evidence.digest() {
            self.send_summary(now, peer, false);
        }
    }

    fn send_summary(&mut self, now: Instant, to: ConnectionId, reply: bool) {
        let Some(peer) = self.peers.get_mut(to) else {
            return;
        };
        let recently = |at: Instant| now.saturating_since(at) < limits::REPAIR_INTERVAL;
        if !reply && peer.summarized.is_some_and(recently) {
            return;
        }
        peer.summarized = Some(now);
        self.counters.summaries_sent += 1;
        let entries = self.evidence.summary();
        self.send(to, &Frame::Summary { reply, entries });
    }

    fn on_summary(
        &mut self,
        now: Instant,
        from: ConnectionId,
        uid: Uid,
        reply: bool,
        entries: &[SummaryEntry],
    ) {
        let missing = self.evidence.missing_from(entries);
        self.send_evidence(from, &missing);
        if reply {
            if self.catch_up.asked.remove(&uid) {
                self.catch_up.answered += 1;
            }
        } else {
            self.send_summary(now, from, true);
        }
    }

    pub(super) fn send(&mut self, connection: ConnectionId, frame: &Frame) {
        self.outputs.push_back(Output::Frame {
            connection,
            bytes: frame.encode(),
        });
    }
}
