//! Maps, and addresses of the operator, that do not hold: to refuse one costs as much as to take it in.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use slotmesh_map::fixture::{keypair, map};

use super::super::tests::{ONE, THREE, at, difference, hear, hello, member, of_epoch, said};
use super::*;
use crate::join_address::JoinAddress;
use crate::machine::{CloseReason, Input, Machine, PeerIdentity};
use crate::member::settled::{agent, connected, operator};

/// A process that the map does not list.
const STRANGER: ConnectionId = ConnectionId(40);
const OPERATOR: ConnectionId = ConnectionId(9);

/// The map that its sender has is not known here.
const BEHIND: Frame = Frame::Hello {
    era: 0,
    epoch: 90,
    sha256: [0; 8],
};

/// How many maps that do not hold hang up on whoever sends them.
const MAPS: usize = (limits::FORGED_MAX / limits::FORGED_MAP_WEIGHT) as usize;

/// Member 2 of eight, with all kinds of peers.
fn with_all() -> Mesh {
    let mut mesh = member();
    mesh.handle(at(1), connected(STRANGER, agent(40)));
    mesh.handle(at(1), connected(OPERATOR, PeerIdentity::Operator));
    said(&mut mesh);
    mesh
}

/// The next map, in the name of somebody who is not the operator.
fn invented() -> SignedMap {
    let map = of_epoch(101).map().as_ref().clone();
    SignedMap::sign(map, &keypair(9)).unwrap()
}

fn whole(bytes: Vec<u8>) -> Frame {
    Frame::Map { age_us: 0, bytes }
}

fn changed(bytes: Vec<u8>) -> Frame {
    Frame::MapDifference { age_us: 0, bytes }
}

/// How often a peer can send that until it is hung up on; up to a hundred times.
fn until_hung_up(mesh: &mut Mesh, from: ConnectionId, frame: &Frame) -> usize {
    let sent = (1..=100).find(|_| {
        hear(mesh, at(10), from, frame);
        mesh.peers.get(from).is_none()
    });
    sent.unwrap_or(usize::MAX)
}

#[test]
fn whoever_sends_maps_that_do_not_hold_is_hung_up_on() {
    let forged = [
        whole(invented().encode()),
        changed(invented().difference_from(&of_epoch(100))),
        whole(vec![1, 2, 3]),
    ];
    for (frame, from) in forged.iter().zip([ONE, STRANGER, ONE]) {
        let mut mesh = with_all();
        assert_eq!(until_hung_up(&mut mesh, from, frame), MAPS, "{frame:?}");
        let closed = Output::Close {
            connection: from,
            reason: CloseReason::ProtocolError,
        };
        let mut outputs = std::iter::from_fn(|| mesh.poll_output());
        assert!(outputs.any(|output| output == closed));
        assert!(mesh.peers.get(THREE).is_some());
    }
}

/// A difference of a form that only newer versions know comes from the honest, too: not as often.
#[test]
fn differences_that_cannot_be_read_count_less() {
    let mut mesh = with_all();
    let sent = until_hung_up(&mut mesh, ONE, &changed(vec![1, 2, 3]));
    assert_eq!(sent, limits::FORGED_MAX as usize);
    let asked = said(&mut mesh);
    let asked = asked.iter().filter(|it| **it == (ONE, Frame::MapRequest));
    assert_eq!(asked.count(), sent - 1, "nobody is asked after the last");
}

#[test]
fn addresses_of_the_operator_that_do_not_hold_count_as_well() {
    let mut mesh = with_all();
    let address = "10.0.0.1:7401".parse().unwrap();
    let forged = JoinAddress::sign(map(8).cluster, 7, address, &keypair(9));
    let sent = until_hung_up(&mut mesh, ONE, &Frame::JoinAddress(forged));
    assert_eq!(sent, limits::FORGED_MAX as usize);
}

/// Two that are not of one mind about the map in force: both are honest.
#[test]
fn differences_of_another_base_and_second_copies_hang_up_on_nobody() {
    for honest in [difference(102, 103, 0), difference(100, 101, 0)] {
        let mut mesh = with_all();
        hear(&mut mesh, at(10), THREE, &difference(100, 101, 0));
        assert_eq!(until_hung_up(&mut mesh, ONE, &honest), usize::MAX);
    }
}

/// All operators show one certificate.
#[test]
fn an_operator_is_not_hung_up_on() {
    let mut mesh = with_all();
    let forged = whole(invented().encode());
    assert_eq!(until_hung_up(&mut mesh, OPERATOR, &forged), usize::MAX);
    hear(&mut mesh, at(10), OPERATOR, &whole(of_epoch(101).encode()));
    assert_eq!(mesh.signed_map(), &of_epoch(101));
}

/// What came before is forgotten one by one, and until it is little enough nothing is verified; beats are heard.
#[test]
fn whoever_was_hung_up_on_is_not_listened_to_when_it_comes_back_at_once() {
    let mut mesh = with_all();
    until_hung_up(&mut mesh, ONE, &whole(invented().encode()));
    let refused = |mesh: &Mesh| mesh.counters().refused.get("BadMapSignature").copied();
    let back = ConnectionId(50);
    mesh.handle(at(11), connected(back, agent(1)));
    until_hung_up(&mut mesh, back, &whole(invented().encode()));
    assert!(mesh.peers.get(back).is_some());
    assert_eq!(refused(&mesh), Some(MAPS as u64), "none was looked at");
    assert_eq!(mesh.counters().refused["ForgersFrame"], 100);

    let later = at(10) + limits::FORGED_PAUSE;
    hear(&mut mesh, later, back, &whole(of_epoch(101).encode()));
    assert_eq!(mesh.signed_map(), &of_epoch(101), "it may be honest again");
    hear(&mut mesh, later, back, &whole(invented().encode()));
    assert!(mesh.peers.get(back).is_none(), "one more is too much");
}

/// Maps that hold cost as much to read; the honest send a version once.
#[test]
fn maps_are_read_so_often_only() {
    let mut mesh = with_all();
    let known = whole(of_epoch(100).encode());
    (0..100).for_each(|_| hear(&mut mesh, at(10), ONE, &known));
    let unread = mesh.counters().refused["MapsTooOften"];
    assert_eq!(unread, 100 - u64::from(limits::MAPS_READ_MAX));
    hear(&mut mesh, at(10), ONE, &whole(of_epoch(101).encode()));
    assert_eq!(mesh.signed_map(), &of_epoch(100));
    hear(&mut mesh, at(10), THREE, &whole(of_epoch(101).encode()));
    assert_eq!(mesh.signed_map(), &of_epoch(101), "of others they are");
    let later = at(10) + limits::MAPS_READ_PAUSE;
    hear(&mut mesh, later, ONE, &whole(of_epoch(102).encode()));
    assert_eq!(mesh.signed_map(), &of_epoch(102));
}

/// Each asks for the whole on a connection of its own, and says that it has an older one.
#[test]
fn a_process_that_connects_again_and_again_is_sent_a_few_maps() {
    for number in [1, 40] {
        let mut mesh = with_all();
        let mut whole_maps = 0;
        for connection in (100..120).map(ConnectionId) {
            mesh.handle(at(10), connected(connection, agent(number)));
            hear(&mut mesh, at(10), connection, &BEHIND);
            hear(&mut mesh, at(10), connection, &Frame::MapRequest);
            let said = said(&mut mesh);
            let maps = said
                .iter()
                .filter(|(_, it)| matches!(it, Frame::Map { .. }));
            whole_maps += maps.count();
            if connection.0.is_multiple_of(2) {
                let reason = crate::machine::Disconnect::ClosedByPeer;
                mesh.handle(at(10), Input::Disconnected { connection, reason });
            }
        }
        assert_eq!(whole_maps, limits::MAPS_AT_ONCE as usize, "{number}");
        let (connection, later) = (ConnectionId(200), at(10) + limits::REPAIR_INTERVAL);
        mesh.handle(later, connected(connection, agent(number)));
        hear(&mut mesh, later, connection, &BEHIND);
        let sent = said(&mut mesh);
        let maps = sent
            .iter()
            .filter(|(_, it)| matches!(it, Frame::Map { .. }));
        assert_eq!(maps.count(), 1, "{number}: one more after a while");
    }
}

/// What was sent to it may have been lost with its connection.
#[test]
fn whoever_connects_again_is_sent_its_map_at_once() {
    let mut mesh = with_all();
    for connection in [100, 101].map(ConnectionId) {
        mesh.handle(at(10), connected(connection, agent(1)));
        hear(&mut mesh, at(10), connection, &BEHIND);
        let sent = said(&mut mesh);
        let is_map =
            |(to, it): &(ConnectionId, Frame)| *to == connection && matches!(it, Frame::Map { .. });
        assert!(sent.iter().any(is_map), "{connection:?}");
    }
}

/// A map each 300 ms, which is as fast as the operator makes them, and each goes to the peer as a difference.
#[test]
fn differences_are_sent_as_fast_as_maps_are_made() {
    let mut mesh = with_all();
    hear(&mut mesh, at(10), ONE, &hello(&of_epoch(100)));
    for epoch in 101..160 {
        let now = at(300 * (epoch - 100));
        hear(&mut mesh, now, THREE, &difference(epoch - 1, epoch, 0));
        said(&mut mesh);
        hear(&mut mesh, now, ONE, &hello(&of_epoch(epoch - 1)));
        assert_eq!(said(&mut mesh), [(ONE, difference(epoch - 1, epoch, 0))]);
    }
}

/// Whichever is the right one: somebody has the operator's key who should not, or two operators were at work.
#[test]
fn after_two_maps_of_one_epoch_none_is_taken_in() {
    let mut mesh = with_all();
    let mut other = map(8);
    other.members[0].owners[0].capacity += 1;
    let other = SignedMap::sign(other, &operator()).unwrap();
    let conflicts = |mesh: &mut Mesh| {
        let outputs = std::iter::from_fn(|| mesh.poll_output());
        let conflict = Output::Event(Event::MapConflict { epoch: 100 });
        outputs.filter(|output| *output == conflict).count()
    };
    // A word alone raises no alarm: the map is asked for.
    hear(&mut mesh, at(10), ONE, &hello(&other));
    assert_eq!(said(&mut mesh), [(ONE, Frame::MapRequest)]);
    hear(&mut mesh, at(10), ONE, &whole(other.encode()));
    hear(&mut mesh, at(11), THREE, &whole(other.encode()));
    assert_eq!(conflicts(&mut mesh), 1);
    assert!(mesh.has_map_conflict());

    hear(&mut mesh, at(12), ONE, &hello(&of_epoch(101)));
    assert_eq!(said(&mut mesh), [], "nor is it asked for");
    hear(&mut mesh, at(13), ONE, &whole(of_epoch(101).encode()));
    hear(&mut mesh, at(14), OPERATOR, &difference(100, 101, 0));
    assert_eq!(mesh.signed_map(), &of_epoch(100));
    assert_eq!(mesh.counters().refused["MapAfterConflict"], 2);
}
