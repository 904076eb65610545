//! Connections: who is at the other end, whom to dial, and when to let go.
//!
//! Of two members the one with the smaller UID dials; the other one too, when it has heard nothing for
//! long: the peer may no longer list it, and then nobody would dial. A peer with a certificate of the cluster that
//! the map does not list is a stranger: it may exchange maps, because they prove themselves, and
//! nothing else. So a member that slept, or one that joined an instant ago, finds its way.
//!
//! What a process may cost is its own, however often it connects: [`allowance`].

pub(super) mod allowance;

use std::collections::{BTreeMap, BTreeSet};

use crate::dials::Dials;
use crate::edge::State;
use crate::identity::{Epoch, MemberId, PublicKey, Uid};
use crate::limits;
use crate::machine::{CloseReason, ConnectionId, Output, PeerIdentity};
use crate::time::Instant;
use crate::told::Told;

use super::Mesh;
use allowance::{Allowance, Parted};

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Member(MemberId),
    Operator,
    Stranger,
}

/// One connection.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) kind: Kind,
    identity: PeerIdentity,
    dialed: bool,
    /// Since when it is of this kind, or not needed.
    since: Instant,
    /// The map that it has, as far as it told.
    pub(super) version: Option<(u32, Epoch)>,
    /// Maps sent to it, those of them that it got whole because it asked, and versions that it was told of.
    pub(super) sent: Told,
    pub(super) asked: Told,
    pub(super) told: Told,
    /// What its process has used up, on whatever connection.
    pub(super) allowance: Allowance,
}

/// All connections.
#[derive(Debug, Default)]
pub(super) struct Peers {
    connections: BTreeMap<ConnectionId, Peer>,
    /// Member -> its connection.
    members: BTreeMap<Uid, ConnectionId>,
    pub(super) dials: Dials,
    parted: Parted,
    /// All who are wanted are connected, and nobody else but operators: nothing is to be tended until that changes.
    complete: bool,
}

impl Peers {
    pub(super) fn get(&self, connection: ConnectionId) -> Option<&Peer> {
        self.connections.get(&connection)
    }

    pub(super) fn get_mut(&mut self, connection: ConnectionId) -> Option<&mut Peer> {
        self.connections.get_mut(&connection)
    }

    pub(super) fn of(&self, uid: Uid) -> Option<ConnectionId> {
        self.members.get(&uid).copied()
    }

    pub(super) fn members(&self) -> impl Iterator<Item = (Uid, ConnectionId)> + '_ {
        self.members
            .iter()
            .map(|(uid, connection)| (*uid, *connection))
    }

    pub(super) fn stranger_connections(&self) -> Vec<ConnectionId> {
        let strangers = self
            .connections
            .iter()
            .filter(|(_, peer)| peer.kind == Kind::Stranger);
        strangers.map(|(connection, _)| *connection).collect()
    }

    pub(super) fn operators(&self) -> Vec<ConnectionId> {
        let operators = self
            .connections
            .iter()
            .filter(|(_, peer)| peer.kind == Kind::Operator);
        operators.map(|(connection, _)| *connection).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.connections.len()
    }

    pub(super) fn strangers(&self) -> usize {
        if self.complete {
            return 0;
        }
        self.connections
            .values()
            .filter(|peer| peer.kind == Kind::Stranger)
            .count()
    }

    /// Processes of which something is kept though they are not connected.
    pub(super) fn parted(&self) -> usize {
        self.parted.len()
    }

    /// Whether that peer's process sent too much that does not hold, lately.
    pub(super) fn is_forger(&mut self, now: Instant, connection: ConnectionId) -> bool {
        let peer = self.connections.get_mut(&connection);
        peer.is_some_and(|peer| peer.allowance.is_forger(now))
    }

    /// What is left to a process: as on its connection that a new one takes the place of, or as it parted.
    fn allowance_of(&mut self, now: Instant, identity: PeerIdentity) -> Allowance {
        let mut others = self.connections.values();
        match others.find(|peer| peer.identity == identity) {
            Some(_) if identity == PeerIdentity::Operator => Allowance::default(),
            Some(other) => other.allowance.clone(),
            None => self.parted.recall(now, identity),
        }
    }

    pub(super) fn dial_failed(&mut self, now: Instant, uid: Uid) {
        self.dials.rest(now, uid);
    }

    fn remove(&mut self, connection: ConnectionId) -> Option<Peer> {
        let peer = self.connections.remove(&connection)?;
        self.complete = false;
        if let Kind::Member(id) = peer.kind
            && self.members.get(&id.uid) == Some(&connection)
        {
            self.members.remove(&id.uid);
        }
        let Peer {
            identity,
            allowance,
            ..
        } = &peer;
        self.parted.remember(*identity, allowance.clone());
        Some(peer)
    }
}

impl Mesh {
    pub(super) fn on_connected(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        identity: PeerIdentity,
        _remote: std::net::SocketAddr,
        dialed: bool,
    ) {
        let kind = self.kind_of(identity);
        if let PeerIdentity::Agent { uid, .. } = identity {
            self.peers.dials.connected(uid);
        }
        if kind == Kind::Stranger {
            self.close_older_strangers(identity);
        }
        if self.is_beyond_limit(kind) && !self.make_room_for(kind) {
            self.counters.refuse("ConnectionLimit");
            return self.close(connection, CloseReason::Limit);
        }
        let peer = Peer {
            kind,
            identity,
            dialed,
            since: now,
            version: None,
            sent: Told::default(),
            asked: Told::default(),
            told: Told::default(),
            allowance: self.peers.allowance_of(now, identity),
        };
        self.peers.connections.insert(connection, peer);
        self.peers.complete = false;
        if let Kind::Member(id) = kind {
            self.register(connection, id);
        }
        self.greet(now, connection);
        if let Kind::Member(id) = kind {
            self.probe_opening_edge(id.uid);
        }
    }

    pub(super) fn on_disconnected(&mut self, now: Instant, connection: ConnectionId) {
        if let Some(peer) = self.peers.remove(connection)
            && let PeerIdentity::Agent { uid, .. } = peer.identity
        {
            self.peers.dials.rest(now, uid);
        }
    }

    /// A map arrived: who is who may have changed.
    pub(super) fn reclassify_peers(&mut self, now: Instant) {
        if std::mem::take(&mut self.peers.complete) {
            // They were wanted until now.
            for peer in self.peers.connections.values_mut() {
                peer.since = now;
            }
        }
        let connections: Vec<(ConnectionId, PeerIdentity, Kind)> = self
            .peers
            .connections
            .iter()
            .map(|(c, peer)| (*c, peer.identity, peer.kind))
            .collect();
        for (connection, identity, old) in connections {
            let kind = self.kind_of(identity);
            if kind == old {
                continue;
            }
            if let Kind::Member(id) = old
                && self.peers.members.get(&id.uid) == Some(&connection)
            {
                self.peers.members.remove(&id.uid);
            }
            if let Some(peer) = self.peers.get_mut(connection) {
                peer.kind = kind;
                peer.since = now;
            }
            if let Kind::Member(id) = kind {
                self.register(connection, id);
            }
        }
        let (map, graph) = (self.signed.map(), &self.graph);
        let listed = |uid| graph.member(map, uid).is_some();
        self.peers.dials.retain(listed);
        self.close_strangers_beyond_limit();
    }

    /// One process takes up one stranger's place.
    fn close_older_strangers(&mut self, identity: PeerIdentity) {
        let strangers = self.peers.stranger_connections();
        let same =
            |it: &ConnectionId| self.peers.get(*it).map(|peer| peer.identity) == Some(identity);
        let older: Vec<ConnectionId> = strangers.into_iter().filter(same).collect();
        for connection in older {
            self.close(connection, CloseReason::Replaced);
        }
    }

    /// A map that drops many members at once makes strangers of all of them. The newest stay: most
    /// likely somebody is still there, who will read in the map why.
    fn close_strangers_beyond_limit(&mut self) {
        let strangers = self.peers.stranger_connections();
        let beyond = strangers.len().saturating_sub(limits::STRANGERS_MAX);
        for connection in strangers.into_iter().take(beyond) {
            self.close(connection, CloseReason::NotInMap);
        }
    }

    /// Lets go of strangers that stayed and of connections that no edge needs, and dials the rest.
    pub(super) fn tend_peers(&mut self, now: Instant) {
        if self.peers.complete {
            return;
        }
        let wanted = self.wanted_peers();
        let connected = |uid: &Uid| self.peers.of(*uid).is_some();
        let kept = self.old_observers.1 > self.next_beat;
        let mut complete = !kept && wanted.iter().all(connected);
        let mut closing = Vec::new();
        for (connection, peer) in &mut self.peers.connections {
            let reason = match peer.kind {
                Kind::Operator => continue,
                Kind::Stranger => CloseReason::NotInMap,
                Kind::Member(id) if wanted.contains(&id.uid) => {
                    peer.since = now;
                    continue;
                }
                Kind::Member(_) => CloseReason::NotNeeded,
            };
            complete = false;
            // Members that no edge needs are let go of by the side that dialed them.
            let mine = peer.dialed || reason == CloseReason::NotInMap;
            if mine && now.saturating_since(peer.since) >= limits::STRANGER_LINGER {
                closing.push((*connection, reason));
            }
        }
        for (connection, reason) in closing {
            self.close(connection, reason);
        }
        self.dial_wanted(now);
        self.peers.complete = complete;
    }

    pub(super) fn dial_wanted(&mut self, now: Instant) {
        if self.deposed {
            return;
        }
        for uid in self.wanted_peers() {
            let dials = self.me.uid < uid || self.is_long_silent(now, uid);
            if !dials || self.peers.of(uid).is_some() || !self.peers.dials.may_begin(now, uid) {
                continue;
            }
            let Some(member) = self.listed(uid) else {
                continue;
            };
            let dial = Output::Dial {
                uid,
                address: member.address,
                key: member.key,
            };
            self.peers.dials.begin(now, uid);
            self.outputs.push_back(dial);
        }
    }

    fn is_long_silent(&self, now: Instant, uid: Uid) -> bool {
        self.edges.get(uid).is_some_and(|edge| {
            edge.state() == State::Failed
                && now.saturating_since(edge.last_arrival()) >= limits::LONG_SILENCE
        })
    }

    pub(super) fn close(&mut self, connection: ConnectionId, reason: CloseReason) {
        self.peers.remove(connection);
        self.outputs.push_back(Output::Close { connection, reason });
    }

    /// Observers and subjects: those with whom an edge is shared.
    fn wanted_peers(&self) -> BTreeSet<Uid> {
        let (old, until) = &self.old_observers;
        let old = old.iter().filter(|_| *until > self.next_beat).copied();
        let observers = self.graph.observers(self.me.uid).iter().copied();
        let subjects = self.graph.subjects(self.me.uid).iter().copied();
        observers
            .chain(subjects)
            .chain(old)
            .take(limits::CONNECTIONS_MAX)
            .collect()
    }

    fn kind_of(&self, identity: PeerIdentity) -> Kind {
        match identity {
            PeerIdentity::Operator => Kind::Operator,
            PeerIdentity::Agent { uid, key } => self
                .member_with(uid, key)
                .map_or(Kind::Stranger, Kind::Member),
        }
    }

    fn member_with(&self, uid: Uid, key: PublicKey) -> Option<MemberId> {
        let member = self.listed(uid).filter(|member| member.key == key)?;
        (uid != self.me.uid).then(|| member.id())
    }

    fn is_beyond_limit(&self, kind: Kind) -> bool {
        let count = |wanted: fn(&Kind) -> bool| {
            self.peers
                .connections
                .values()
                .filter(|peer| wanted(&peer.kind))
                .count()
        };
        match kind {
            Kind::Member(id) => {
                self.peers.of(id.uid).is_none()
                    && count(|kind| matches!(kind, Kind::Member(_))) >= limits::CONNECTIONS_MAX
            }
            Kind::Operator => count(|kind| *kind == Kind::Operator) >= limits::OPERATORS_MAX,
            Kind::Stranger => count(|kind| *kind == Kind::Stranger) >= limits::STRANGERS_MAX,
        }
    }

    /// Whoever shares an edge gets the place of one that no edge needs any more: many of those linger after a map that
    /// drops a large part of the cell.
    fn make_room_for(&mut self, kind: Kind) -> bool {
        let wanted = self.wanted_peers();
        let shares_edge = |kind| matches!(kind, Kind::Member(id) if wanted.contains(&id.uid));
        if !shares_edge(kind) {
            return false;
        }
        let is_needless =
            |peer: &Peer| matches!(peer.kind, Kind::Member(_)) && !shares_edge(peer.kind);
        let peers = self.peers.connections.iter();
        let first = peers
            .filter(|(_, peer)| is_needless(peer))
            .min_by_key(|(_, peer)| peer.since)
            .map(|(connection, _)| *connection);
        if let Some(connection) = first {
            self.close(connection, CloseReason::NotNeeded);
        }
        first.is_some()
    }

    /// Makes a connection the one of that member; an older one is closed.
    fn register(&mut self, connection: ConnectionId, id: MemberId) {
        if let Some(older) = self.peers.members.insert(id.uid, connection)
            && older != connection
        {
            self.peers.connections.remove(&older);
            self.outputs.push_back(Output::Close {
                connection: older,
                reason: CloseReason::Replaced,
            });
        }
    }
}

#[cfg(test)]
mod tests;
