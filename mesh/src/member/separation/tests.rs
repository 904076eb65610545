#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;
use crate::evidence::{Evidence, SummaryEntry};
use crate::machine::{ConnectionId, Input, Machine, Output, PeerIdentity};
use crate::map::Delegation;
use crate::member::settled::{agent, config, connected, operator};
use crate::slot::SlotSet;
use crate::wire::{Beat, Datagram, Frame};
use slotmesh_map::fixture::{keypair, map, uid};

const OPERATOR: ConnectionId = ConnectionId(1);

fn signed(map: Map) -> SignedMap {
    SignedMap::sign(map, &operator()).unwrap()
}

/// A part of the map of eight: four members with their slots.
fn part(cell: &str, members: std::ops::Range<usize>) -> Map {
    let mut part = map(8);
    part.cell = cell.into();
    part.epoch = 102;
    part.members = part.members[members].to_vec();
    let slots = part.members.iter().map(crate::map::Member::slots);
    part.slots = slots.fold(SlotSet::empty(), |all, slots| all.union(&slots));
    part
}

fn delegated() -> SignedMap {
    let mut parent = map(8);
    parent.epoch = 101;
    let delegate = |part: &Map| Delegation {
        cell: part.cell.clone(),
        slots: part.slots.clone(),
        first_map_sha256: part.sha256(),
        start_epoch: part.epoch,
    };
    parent.delegation = vec![delegate(&part("a", 0..4)), delegate(&part("b", 4..8))];
    signed(parent)
}

/// The member number 2, which belongs to part `a`, and the operator connected to it.
fn member() -> Mesh {
    member_number(2)
}

fn member_number(number: u16) -> Mesh {
    let mut mesh = Mesh::new(config(number), signed(map(8)), Instant::from_micros(1)).unwrap();
    connect(&mut mesh, OPERATOR, PeerIdentity::Operator);
    events(&mut mesh);
    mesh
}

fn connect(mesh: &mut Mesh, connection: ConnectionId, peer: PeerIdentity) {
    mesh.handle(Instant::from_micros(1), connected(connection, peer));
}

fn events(mesh: &mut Mesh) -> Vec<Event> {
    let outputs = std::iter::from_fn(|| mesh.poll_output());
    let events = outputs.filter_map(|output| match output {
        Output::Event(event) => Some(event),
        _ => None,
    });
    events.collect()
}

fn hand(mesh: &mut Mesh, map: &SignedMap) -> Vec<Event> {
    let frame = Input::Frame {
        connection: OPERATOR,
        bytes: Frame::Map {
            age_us: 0,
            bytes: map.encode(),
        }
        .encode(),
    };
    mesh.handle(Instant::from_micros(2), frame);
    events(mesh)
}

fn separated() -> Event {
    Event::Separated {
        from: "sessions-bcdfg".into(),
        to: "a".into(),
    }
}

#[test]
fn a_member_goes_over_to_the_part_that_lists_it() {
    let mut mesh = member();
    hand(&mut mesh, &delegated());
    assert!(mesh.is_split());
    assert_eq!(hand(&mut mesh, &signed(part("b", 4..8))), []);
    assert!(hand(&mut mesh, &signed(part("a", 0..4))).contains(&separated()));
    assert_eq!(mesh.signed_map().map().cell, "a");
    assert!(!mesh.is_split() && !mesh.is_deposed());
    assert_eq!(mesh.id(), map(8).members[2].id(), "the same incarnation");
    assert_eq!(mesh.loads().edges, 3);
    assert_eq!(mesh.opening_edges(), 3, "nobody was heard yet");
}

/// The streams of two maps do not wait for each other.
#[test]
fn the_part_may_arrive_before_the_split() {
    let mut mesh = member();
    assert_eq!(hand(&mut mesh, &signed(part("a", 0..4))), []);
    assert_eq!(mesh.signed_map().map().cell, "sessions-bcdfg");
    assert!(hand(&mut mesh, &delegated()).contains(&separated()));
    assert_eq!(mesh.signed_map().map().cell, "a");
}

#[test]
fn a_later_map_of_the_part_does_too() {
    let mut mesh = member();
    hand(&mut mesh, &delegated());
    let mut later = part("a", 0..4);
    later.epoch += 1;
    assert!(hand(&mut mesh, &signed(later)).contains(&separated()));
}

#[test]
fn whatever_the_delegation_does_not_say_is_refused() {
    let refused = |cause| vec![Event::Refused { cause }];
    let mut mesh = member();
    hand(&mut mesh, &delegated());
    let mut other_first = part("a", 0..4);
    other_first.members[0].owners[0].capacity = 7;
    assert_eq!(
        hand(&mut mesh, &signed(other_first)),
        refused("WrongFirstMap")
    );
    let mut too_early = part("a", 0..4);
    too_early.epoch = 101;
    assert_eq!(hand(&mut mesh, &signed(too_early)), refused("WrongCell"));
    let mut unknown = part("c", 4..8);
    unknown.epoch = 200;
    assert_eq!(hand(&mut mesh, &signed(unknown)), refused("WrongCell"));
    assert_eq!(mesh.signed_map().map().cell, "sessions-bcdfg");
}

/// The operator hands the split to a few; when all others have gone over already, they still know it.
#[test]
fn who_missed_the_split_hears_of_it_from_one_that_went_over() {
    let part_a = signed(part("a", 0..4));
    let (mut over, mut behind) = (member(), member_number(3));
    hand(&mut over, &delegated());
    hand(&mut over, &part_a);
    assert_eq!(hand(&mut behind, &part_a), [], "kept: it lists us");

    let link = ConnectionId(2);
    connect(&mut over, link, agent(3));
    connect(&mut behind, link, agent(2));
    let mut told = Vec::new();
    for _ in 0..4 {
        carry(&mut over, &mut behind, link, &mut told);
        carry(&mut behind, &mut over, link, &mut told);
    }
    assert!(told.contains(&separated()), "{told:?}");
    assert_eq!(behind.signed_map().map().cell, "a");
    assert!(behind.counters().refused.is_empty());
}

/// Frames on that connection from one to the other, and the events of the one.
fn carry(from: &mut Mesh, to: &mut Mesh, link: ConnectionId, told: &mut Vec<Event>) {
    for output in std::iter::from_fn(|| from.poll_output()) {
        match output {
            Output::Frame { connection, bytes } if connection == link => {
                let frame = Input::Frame { connection, bytes };
                to.handle(Instant::from_micros(3), frame);
            }
            Output::Event(event) => told.push(event),
            _ => {}
        }
    }
}

/// Members of the other part fall silent; that is no failure.
#[test]
fn nobody_is_accused_in_a_cell_that_was_split() {
    let mut mesh = member();
    hand(&mut mesh, &delegated());
    let mut all = Vec::new();
    for _ in 0..200 {
        let Some(due) = mesh.next_deadline() else {
            break;
        };
        mesh.handle(due, Input::Timer);
        all.extend(events(&mut mesh));
    }
    assert!(
        !all.iter()
            .any(|event| matches!(event, Event::Suspected { .. } | Event::Verdict { .. })),
        "{all:?}"
    );
}

#[test]
fn who_is_listed_as_failed_is_no_member_and_joins_again() {
    let mut next = map(8);
    next.epoch = 101;
    let position = next.members.iter().position(|member| member.uid == uid(2));
    next.members[position.unwrap()].failed = true;
    let next = signed(next);
    let mut mesh = member();
    let events = hand(&mut mesh, &next);
    assert!(
        events.contains(&Event::Deposed { epoch: 101 }),
        "{events:?}"
    );
    assert!(mesh.is_deposed());
    assert!(Mesh::new(config(2), next, Instant::from_micros(1)).is_err());
}

/// What it had still to tell, or to ask for, when it went over: signed for the other cell, it would be taken for forged.
#[test]
fn news_of_the_cell_that_was_split_stay_behind() {
    let mut mesh = member();
    connect(&mut mesh, ConnectionId(2), agent(1));
    connect(&mut mesh, ConnectionId(3), agent(3));
    let id = |n: usize| map(8).members[n].id();
    let now = Instant::from_micros(2);
    let many: Vec<_> = [4, 5, 6, 7].map(id).to_vec();
    let said = |signer: u16, sequence| {
        let (by, key) = (id(signer.into()), keypair(signer));
        Evidence::sign(&map(8), by, &many, false, sequence, &key)
    };
    hear(&mut mesh, now, &Frame::Evidence(vec![said(0, 1)]));
    // While many are reported the next news wait for further ones.
    hear(&mut mesh, now, &Frame::Evidence(vec![said(1, 1)]));
    let unknown = SummaryEntry::of(&said(3, 1));
    hear(&mut mesh, now, &Frame::Offer(vec![unknown]));
    // And this one holds something else.
    connect(&mut mesh, ConnectionId(4), agent(0));
    let beat = Beat {
        flags: 0,
        epoch: 100,
        incarnation: 100,
        sequence: 1,
        digest: 1,
        timer_lag_ms: 0,
        send_drops: 0,
    };
    let (connection, bytes) = (ConnectionId(4), Datagram::Beat(beat).encode());
    mesh.handle(now, Input::Datagram { connection, bytes });
    assert!(mesh.outbox.deadline().is_some() && mesh.wanted.len() == 1);
    assert!(mesh.repair.is_some());
    hand(&mut mesh, &delegated());
    hand(&mut mesh, &signed(part("a", 0..4)));
    assert_eq!(mesh.signed_map().map().cell, "a");
    assert!(mesh.outbox.deadline().is_none() && mesh.wanted.is_empty());
    for later in [10, 100, 1000] {
        mesh.handle(Instant::from_micros(later * 1000), Input::Timer);
    }
    let outputs = std::iter::from_fn(|| mesh.poll_output());
    let told = outputs.filter(|output| match output {
        Output::Frame { bytes, .. } => matches!(
            Frame::decode(bytes).unwrap(),
            Frame::Evidence(_) | Frame::Wants { .. } | Frame::Offer(_) | Frame::Summary(_)
        ),
        _ => false,
    });
    assert_eq!(told.count(), 0);
}

fn hear(mesh: &mut Mesh, now: Instant, frame: &Frame) {
    let (connection, bytes) = (ConnectionId(2), frame.encode());
    mesh.handle(now, Input::Frame { connection, bytes });
}
