#![allow(clippy::unwrap_used)]

use super::*;
use crate::machine::{Input, Machine};
use crate::map::Map;
use crate::member::settled::{self, agent, config, operator};
use crate::signed::SignedMap;
use crate::wire::Frame;
use slotmesh_map::fixture::{map, uid};

const MEMBERS: u16 = 40;
const OPERATOR: ConnectionId = ConnectionId(1000);

fn signed(map: Map) -> SignedMap {
    SignedMap::sign(map, &operator()).unwrap()
}

/// Member 0 of forty, connected to all whom it wants; it dialed them.
fn connected() -> Mesh {
    connected_of(MEMBERS)
}

fn connected_of(members: u16) -> Mesh {
    let mut mesh = Mesh::new(config(0), signed(map(members)), Instant::ZERO).unwrap();
    for number in 1..members {
        if mesh.wanted_peers().contains(&uid(number)) {
            connect(&mut mesh, number);
        }
    }
    let operator = settled::connected(OPERATOR, PeerIdentity::Operator);
    mesh.handle(Instant::ZERO, operator);
    while mesh.poll_output().is_some() {}
    mesh
}

fn connect(mesh: &mut Mesh, number: u16) {
    let connected = Input::Connected {
        connection: ConnectionId(number.into()),
        peer: agent(number),
        remote: "127.0.0.1:1".parse().unwrap(),
        dialed: true,
    };
    mesh.handle(Instant::ZERO, connected);
}

/// Lets its timers run until then; says when it closed what, and whom it dialed.
fn pass(mesh: &mut Mesh, until: Instant) -> (Vec<(Instant, CloseReason)>, Vec<Uid>) {
    let (mut closed, mut dialed) = (Vec::new(), Vec::new());
    while let Some(due) = mesh.next_deadline().filter(|due| *due <= until) {
        mesh.handle(due, Input::Timer);
        while let Some(output) = mesh.poll_output() {
            match output {
                Output::Close { reason, .. } => closed.push((due, reason)),
                Output::Dial { uid, .. } => dialed.push(uid),
                _ => {}
            }
        }
    }
    (closed, dialed)
}

/// However long they were needed before.
#[test]
fn whoever_is_no_longer_needed_stays_for_a_while() {
    let mut mesh = connected();
    let since = Instant::from_micros(20_000_000);
    assert_eq!(pass(&mut mesh, since).0, []);
    assert!(mesh.peers.complete);

    let mut next = map(60);
    next.epoch = 101;
    let bytes = signed(next).encode();
    let frame = Frame::Map { age_us: 0, bytes }.encode();
    let input = Input::Frame {
        connection: OPERATOR,
        bytes: frame,
    };
    mesh.handle(since, input);
    assert!(!mesh.peers.complete);
    let end = since + limits::STRANGER_LINGER + limits::OLD_EDGE_LINGER * 2;
    let (closed, _) = pass(&mut mesh, end);
    assert!(closed.len() > 5, "{closed:?}");
    for (at, reason) in closed {
        assert_eq!(reason, CloseReason::NotNeeded);
        assert!(at >= since + limits::STRANGER_LINGER, "{at:?}");
    }
}

#[test]
fn whoever_is_lost_is_dialed_again() {
    let mut mesh = connected();
    let (_, dialed) = pass(&mut mesh, Instant::from_micros(1_000_000));
    assert_eq!(dialed, [], "all are connected");
    let lost = *mesh.wanted_peers().first().unwrap();
    let input = Input::Disconnected {
        connection: mesh.peers.of(lost).unwrap(),
        reason: crate::machine::Disconnect::Reset,
    };
    mesh.handle(Instant::from_micros(1_000_000), input);
    let (_, dialed) = pass(&mut mesh, Instant::from_micros(3_000_000));
    assert_eq!(dialed, [lost]);
}

/// Those who are no longer needed linger; that must not keep out who is.
#[test]
fn whoever_is_needed_takes_the_place_of_one_that_is_not() {
    let mut mesh = connected_of(200);
    let needed = mesh.wanted_peers();
    let others = (1..200).filter(|number| !needed.contains(&uid(*number)));
    let mut others = others.collect::<Vec<u16>>().into_iter();
    let late = *needed.first().unwrap();
    let connection = mesh.peers.of(late).unwrap();
    let reason = crate::machine::Disconnect::Reset;
    let input = Input::Disconnected { connection, reason };
    mesh.handle(Instant::ZERO, input);
    while mesh.peers.members().count() < limits::CONNECTIONS_MAX {
        connect(&mut mesh, others.next().unwrap());
    }
    let closed = |mesh: &mut Mesh, number: u16| {
        while mesh.poll_output().is_some() {}
        connect(mesh, number);
        let outputs = std::iter::from_fn(|| mesh.poll_output());
        let closed = outputs.filter_map(|output| match output {
            Output::Close { connection, reason } => Some((connection, reason)),
            _ => None,
        });
        closed.collect::<Vec<_>>()
    };
    let one_more = others.next().unwrap();
    let refused = (ConnectionId(one_more.into()), CloseReason::Limit);
    assert_eq!(closed(&mut mesh, one_more), [refused]);

    let number = (1..200).find(|number| uid(*number) == late).unwrap();
    let gone = closed(&mut mesh, number);
    assert!(
        matches!(gone.as_slice(), [(_, CloseReason::NotNeeded)]),
        "{gone:?}"
    );
    assert_eq!(mesh.peers.members().count(), limits::CONNECTIONS_MAX);
    assert!(needed.iter().all(|uid| mesh.peers.of(*uid).is_some()));
}

/// One process that the map does not list takes up one of the places for such.
#[test]
fn a_stranger_has_one_connection() {
    let mut mesh = connected();
    let (one, other) = (MEMBERS + 1, MEMBERS + 2);
    let places = limits::STRANGERS_MAX as u64;
    for number in 0..places {
        let connection = ConnectionId(2000 + number);
        mesh.handle(Instant::ZERO, settled::connected(connection, agent(one)));
    }
    assert_eq!(mesh.loads().strangers, 1, "the newest");
    assert!(mesh.peers.get(ConnectionId(1999 + places)).is_some());
    mesh.handle(
        Instant::ZERO,
        settled::connected(ConnectionId(3000), agent(other)),
    );
    assert_eq!(mesh.loads().strangers, 2);
}

/// Until their new observers have edges to it: else those who hear nothing of it any more would report it.
#[test]
fn the_observers_of_the_last_map_are_beaten_for_a_while() {
    let mut mesh = connected();
    let since = Instant::from_micros(20_000_000);
    pass(&mut mesh, since);
    let before = mesh.graph.observers(uid(0)).to_vec();
    let mut next = map(60);
    next.epoch = 101;
    let bytes = signed(next).encode();
    let (connection, bytes) = (OPERATOR, Frame::Map { age_us: 0, bytes }.encode());
    mesh.handle(since, Input::Frame { connection, bytes });
    let now = mesh.graph.observers(uid(0)).to_vec();
    let old = before.into_iter().filter(|uid| !now.contains(uid));
    let old: Vec<ConnectionId> = old.filter_map(|uid| mesh.peers.of(uid)).collect();
    assert!(old.len() > 2, "{old:?}");
    let mut beaten = |until: Instant| {
        let mut last = BTreeMap::new();
        while let Some(due) = mesh.next_deadline().filter(|due| *due <= until) {
            mesh.handle(due, Input::Timer);
            while let Some(output) = mesh.poll_output() {
                if let Output::Datagram { connection, .. } = output {
                    last.insert(connection, due);
                }
            }
        }
        last.retain(|connection, _| old.contains(connection));
        last
    };
    let end = since + limits::OLD_EDGE_LINGER;
    let last = beaten(end);
    assert_eq!(last.len(), old.len());
    let beat = std::time::Duration::from_millis(221);
    assert!(last.values().all(|at| *at + beat >= end), "{last:?}");
    assert_eq!(beaten(end + limits::OLD_EDGE_LINGER), BTreeMap::new());
}
