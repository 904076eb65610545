//! Maps: announced to neighbours of the zone, asked for once ([`super::pull`]), and repaired through the
//! epoch on the beats. What travels is the difference to what the peer has, where that is known.

use std::time::Duration;

use rand::RngExt;

use crate::identity::Epoch;
use crate::limits;
use crate::machine::{ConnectionId, Event, Output};
use crate::map::MapError;
use crate::signed::SignedMap;
use crate::time::Instant;
use crate::wire::Frame;

use super::super::Mesh;
use super::super::peers::Kind;
use super::super::peers::allowance::{DIFFERENCE, WHOLE_MAP};
use super::neighbours::Neighbours;

impl Mesh {
    pub(super) fn on_hello(
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
            std::cmp::Ordering::Greater => self.take_offer(now, from, version),
            std::cmp::Ordering::Equal => {
                if !self.signed.sha256().starts_with(&sha256) {
                    self.send(from, &Frame::MapRequest);
                }
            }
        }
    }

    pub(super) fn on_whole_map(
        &mut self,
        now: Instant,
        from: ConnectionId,
        age_us: u64,
        bytes: &[u8],
    ) {
        if !self.reads_map_of(now, from) {
            return;
        }
        let map = SignedMap::decode(bytes, self.config.cluster, &self.config.map_keys);
        self.on_map(now, from, age_us, map);
    }

    pub(super) fn on_difference(
        &mut self,
        now: Instant,
        from: ConnectionId,
        age_us: u64,
        bytes: &[u8],
    ) {
        if !self.reads_map_of(now, from) {
            return;
        }
        match self.config.apply(&self.signed, bytes) {
            // Of another base, or of a form that this version does not read: the whole will do.
            Err(error @ (MapError::WrongBase | MapError::Malformed(_))) => {
                self.counters.refuse(error.category());
                // Now and then an honest peer may send the latter.
                let is_unread = error != MapError::WrongBase;
                if !(is_unread && self.distrust(now, from, 1)) {
                    self.send(from, &Frame::MapRequest);
                }
            }
            map => self.on_map(now, from, age_us, map),
        }
    }

    fn on_map(
        &mut self,
        now: Instant,
        from: ConnectionId,
        age_us: u64,
        map: Result<SignedMap, MapError>,
    ) {
        let map = match map {
            Ok(map) => map,
            Err(error) => {
                self.refuse(error.category());
                if proves_nothing(&error) {
                    self.distrust(now, from, limits::FORGED_MAP_WEIGHT);
                }
                return;
            }
        };
        let version = map.map().version();
        if map.map().cell != self.map().cell {
            return self.on_map_of_another_cell(now, map);
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
            std::cmp::Ordering::Greater => self.apply(now, from, age_us, map),
        }
    }

    fn apply(&mut self, now: Instant, from: ConnectionId, age_us: u64, map: SignedMap) {
        // Half of the exchange is the way back.
        let asked = self.pull.asked_at(from);
        let way = asked.map_or(Duration::ZERO, |at| now.saturating_since(at) / 2);
        self.install(now, map);
        if !self.deposed {
            self.report_applied(now, from, Duration::from_micros(age_us) + way);
        }
        self.settle(now);
        self.separate_if_early(now);
    }

    /// Puts a map in force: what follows from it alone.
    pub(in crate::member) fn install(&mut self, now: Instant, map: SignedMap) {
        let old_observers = self.graph.observers(self.me.uid).to_vec();
        let (map, graph) = self.config.with_graph(map);
        let older = std::mem::replace(&mut self.signed, map);
        let older_graph = std::mem::replace(&mut self.graph, graph);
        self.neighbours = Neighbours::of(self.signed.map(), &self.graph, self.me.uid);
        self.pull.settle(self.signed.map().version());
        self.counters.maps_applied += 1;
        match Self::find(self.signed.map(), &self.config) {
            Some(me) => self.me = me,
            None => self.deposed = true,
        }
        // A process that restarted is another subject: its edge starts afresh.
        self.edges.retain(|uid| {
            let listed = self.graph.member(self.signed.map(), uid);
            listed.is_some_and(|member| older_graph.lists(older.map(), member.id()))
        });
        self.older.push_front(older);
        self.older.truncate(limits::OLDER_MAPS_MAX);
        self.evidence.adapt_to(self.signed.map(), &self.graph);
        self.statement.compare();
        self.budget.retain_for(self.signed.map(), &self.graph);
        self.old_observers = (old_observers, now + limits::OLD_EDGE_LINGER);
        self.announced.clear();
        self.judged_last = None;
    }

    /// Adapts peers and edges to a map that was put in force, and passes it on.
    pub(in crate::member) fn settle(&mut self, now: Instant) {
        self.reclassify_peers(now);
        self.rebuild_edges(now);
        let epoch = self.map().epoch;
        self.event(Event::MapApplied { epoch });
        if self.deposed {
            self.event(Event::Deposed { epoch });
        }
        self.announce_map(now);
        // An operator counts who has applied what.
        for operator in self.peers.operators() {
            self.say_hello(operator);
        }
        self.dial_wanted(now);
    }

    /// Tells a few neighbours that there is a newer map, and hands it to whom it no longer lists: those may
    /// have nobody left to ask.
    fn announce_map(&mut self, now: Instant) {
        let version = self.map().version();
        let neighbours = self.neighbours.to_tell();
        let connections: Vec<ConnectionId> =
            neighbours.filter_map(|uid| self.peers.of(uid)).collect();
        for connection in connections {
            self.tell_version(now, connection, version);
        }
        for connection in self.peers.stranger_connections() {
            self.send_map(now, connection);
        }
    }

    /// Says which map is in force here, unless the peer has it or was told a moment ago.
    fn tell_version(&mut self, now: Instant, to: ConnectionId, version: (u32, Epoch)) {
        let Some(peer) = self.peers.get_mut(to) else {
            return;
        };
        let has_it = peer.version.is_some_and(|theirs| theirs >= version);
        if !has_it && peer.told.is_due(now, version) {
            self.say_hello(to);
        }
    }

    /// A peer has a newer map: it is asked for it, a little later where it is in another zone.
    fn take_offer(&mut self, now: Instant, from: ConnectionId, version: (u32, Epoch)) {
        let Some(Kind::Member(id)) = self.peers.get(from).map(|peer| peer.kind) else {
            // Operators and strangers send theirs as soon as they read our greeting.
            return;
        };
        if self.conflict {
            return;
        }
        let due = if self.neighbours.is_near(id.uid) {
            now
        } else {
            let most = u64::try_from(limits::FAR_PATIENCE_SPREAD.as_micros()).unwrap_or(1);
            // Spread, so that the first who asks outside has time to tell the others.
            let spread = Duration::from_micros(self.rng.random_range(0..most.max(1)));
            now + limits::FAR_PATIENCE + spread
        };
        self.pull.offer(version, from, due);
        self.ask_for_map(now);
    }

    /// To say which map one has is to ask for a newer one.
    pub(super) fn ask_for_map(&mut self, now: Instant) {
        while let Some(connection) = self.pull.ask(now) {
            if self.peers.get(connection).is_some() {
                return self.say_hello(connection);
            }
        }
    }

    /// A beat told the peer's epoch.
    pub(super) fn repair_map(&mut self, now: Instant, peer: ConnectionId, epoch: Epoch) {
        let (era, mine) = self.map().version();
        match epoch.cmp(&mine) {
            std::cmp::Ordering::Greater => self.take_offer(now, peer, (era, epoch)),
            order => {
                // Differences are made to what it has.
                if let Some(peer) = self.peers.get_mut(peer) {
                    peer.version = Some((era, epoch));
                }
                if order == std::cmp::Ordering::Less {
                    self.tell_version(now, peer, (era, mine));
                }
            }
        }
    }

    /// Each map costs milliseconds to read, whatever it turns out to be.
    fn reads_map_of(&mut self, now: Instant, from: ConnectionId) -> bool {
        self.count_received(from);
        let peer = self.peers.get_mut(from);
        let reads = peer.is_some_and(|it| it.kind == Kind::Operator || it.allowance.read_map(now));
        if !reads {
            self.counters.refuse("MapsTooOften");
        }
        reads
    }

    fn count_received(&mut self, from: ConnectionId) {
        self.counters.maps_received += 1;
        let zone = |uid| self.listed(uid).map(|member| &member.zone);
        if let Some(Kind::Member(id)) = self.peers.get(from).map(|peer| peer.kind)
            && zone(id.uid) != zone(self.me.uid)
        {
            self.counters.maps_received_from_other_zones += 1;
        }
    }

    /// Sends what the peer lacks: a difference where its map is known, else the whole.
    fn send_map(&mut self, now: Instant, to: ConnectionId) {
        let version = self.map().version();
        let Some(theirs) = self.peers.get(to).map(|peer| peer.version) else {
            return;
        };
        if theirs.is_some_and(|theirs| theirs >= version) {
            return;
        }
        let missed = theirs.and_then(|theirs| self.missed_delegation(theirs));
        let missed = missed.cloned();
        let mut older = self.older.iter();
        let base = older.find(|older| Some(older.map().version()) == theirs);
        let base = base.cloned();
        let room = base.as_ref().map_or(WHOLE_MAP, |_| DIFFERENCE)
            + missed.as_ref().map_or(0, |_| WHOLE_MAP);
        if !self.may_send_map(now, to, room) {
            return;
        }
        let age_us = self.age_us(now);
        if let Some(missed) = missed {
            self.count_and_send_map(to, &whole_map(&missed, age_us));
        }
        let frame = match base {
            Some(base) => Frame::MapDifference {
                age_us,
                bytes: self.config.difference(&base, &self.signed),
            },
            None => whole_map(&self.signed, age_us),
        };
        self.count_and_send_map(to, &frame);
    }

    /// Whether the map in force is to be sent to that peer now: then it counts as sent.
    fn may_send_map(&mut self, now: Instant, to: ConnectionId, room: u32) -> bool {
        let version = self.map().version();
        let Some(peer) = self.peers.get_mut(to) else {
            return false;
        };
        if !peer.allowance.has_room_for_map(now, room) {
            self.counters.refuse("MapsAskedTooOften");
            return false;
        }
        let is_due = peer.sent.is_due(now, version);
        if is_due {
            peer.allowance.send_map(now, room);
        }
        is_due
    }

    /// A peer asks for the map: each is sent whole to it once in a while.
    pub(super) fn send_whole_map(&mut self, now: Instant, to: ConnectionId) {
        let version = self.map().version();
        let Some(peer) = self.peers.get_mut(to) else {
            return;
        };
        if !peer.allowance.has_room_for_map(now, WHOLE_MAP) {
            return self.counters.refuse("MapsAskedTooOften");
        }
        if !peer.asked.is_due(now, version) {
            return self.counters.refuse("MapRequestAgain");
        }
        peer.allowance.send_map(now, WHOLE_MAP);
        peer.sent.note(now, version);
        let frame = whole_map(&self.signed, self.age_us(now));
        self.count_and_send_map(to, &frame);
    }

    fn age_us(&self, now: Instant) -> u64 {
        u64::try_from(self.reports.age(now).as_micros()).unwrap_or(u64::MAX)
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
}

/// Whether bytes that are refused so cannot come from the operator, by whatever honest way. What is inconsistent is found
/// only where the signature holds, and what is not newer, or of another base, where two of the honest are not of one mind.
fn proves_nothing(error: &MapError) -> bool {
    match error {
        MapError::Malformed(_)
        | MapError::Limit { .. }
        | MapError::WrongCluster
        | MapError::BadSignature => true,
        MapError::Inconsistent(_) | MapError::WrongBase | MapError::NotNewer => false,
    }
}

fn whole_map(map: &SignedMap, age_us: u64) -> Frame {
    Frame::Map {
        age_us,
        bytes: map.encode(),
    }
}

#[cfg(test)]
mod tests;
