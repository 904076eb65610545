//! What a member says about maps, word by word.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::time::Duration;

use slotmesh_map::fixture::{keypair, map};

use super::*;
use crate::convergence::Counts;
use crate::machine::{Event, Input, Machine};
pub(super) use crate::member::settled::at;
use crate::member::settled::{Subject, agent, config, connected, operator};
use crate::signed::SignedMap;

/// Connections to the members 1 and 3.
pub(super) const ONE: ConnectionId = ConnectionId(1);
pub(super) const THREE: ConnectionId = ConnectionId(3);

pub(super) fn of_epoch(epoch: Epoch) -> SignedMap {
    of(8, epoch)
}

fn of(members: u16, epoch: Epoch) -> SignedMap {
    let mut map = map(members);
    map.epoch = epoch;
    SignedMap::sign(map, &operator()).unwrap()
}

pub(super) fn hello(map: &SignedMap) -> Frame {
    let (era, epoch) = map.map().version();
    let sha256 = map.sha256()[..8].try_into().unwrap();
    Frame::Hello { era, epoch, sha256 }
}

pub(super) fn member() -> Mesh {
    member_of(8)
}

/// Member 2 of so many at epoch 100, connected to the members 1 and 3, who have the same map.
pub(super) fn member_of(members: u16) -> Mesh {
    let mut mesh = Mesh::new(config(2), of(members, 100), at(0)).unwrap();
    for (connection, n) in [(ONE, 1), (THREE, 3)] {
        mesh.handle(at(0), connected(connection, agent(n)));
        hear(&mut mesh, at(0), connection, &hello(&of(members, 100)));
    }
    said(&mut mesh);
    mesh
}

pub(super) fn hear(mesh: &mut Mesh, now: Instant, connection: ConnectionId, frame: &Frame) {
    let bytes = frame.encode();
    mesh.handle(now, Input::Frame { connection, bytes });
}

/// Frames that were sent, and to whom.
pub(super) fn frames(mesh: &mut Mesh) -> Vec<(ConnectionId, Frame)> {
    let outputs = std::iter::from_fn(|| mesh.poll_output());
    let frames = outputs.filter_map(|output| match output {
        Output::Frame { connection, bytes } => Some((connection, Frame::decode(&bytes).unwrap())),
        _ => None,
    });
    frames.collect()
}

/// Those about maps.
pub(super) fn said(mesh: &mut Mesh) -> Vec<(ConnectionId, Frame)> {
    let of_evidence = |frame: &Frame| matches!(frame, Frame::Summary(_) | Frame::Evidence(_));
    let all = frames(mesh).into_iter();
    all.filter(|(_, frame)| !of_evidence(frame)).collect()
}

pub(super) fn difference(from: Epoch, to: Epoch, age_us: u64) -> Frame {
    let bytes = of_epoch(to).difference_from(&of_epoch(from));
    Frame::MapDifference { age_us, bytes }
}

#[test]
fn an_announced_map_is_asked_for_once_and_announced_to_the_others() {
    let mut mesh = member();
    hear(&mut mesh, at(10), ONE, &hello(&of_epoch(101)));
    hear(&mut mesh, at(10), THREE, &hello(&of_epoch(101)));
    assert_eq!(
        said(&mut mesh),
        [(ONE, hello(&of_epoch(100)))],
        "to say what one has is to ask"
    );
    hear(&mut mesh, at(11), ONE, &difference(100, 101, 0));
    assert_eq!(mesh.signed_map(), &of_epoch(101));
    assert_eq!(said(&mut mesh), [], "both have it already");
    hear(&mut mesh, at(12), THREE, &difference(100, 101, 0));
    assert_eq!(said(&mut mesh), [], "a second copy is dropped");
    assert_eq!(mesh.counters().maps_received, 2);
    hear(&mut mesh, at(20), ONE, &difference(101, 102, 0));
    assert_eq!(said(&mut mesh), [(THREE, hello(&of_epoch(102)))]);
    hear(&mut mesh, at(21), THREE, &hello(&of_epoch(101)));
    assert_eq!(
        said(&mut mesh),
        [(THREE, difference(101, 102, 1000))],
        "with its age"
    );
}

#[test]
fn who_does_not_answer_is_not_waited_for() {
    let mut mesh = member();
    hear(&mut mesh, at(10), ONE, &hello(&of_epoch(101)));
    hear(&mut mesh, at(11), THREE, &hello(&of_epoch(101)));
    said(&mut mesh);
    let due = at(10) + limits::PULL_PAUSE_MIN;
    assert!(mesh.next_deadline().unwrap() <= due);
    mesh.handle(due, Input::Timer);
    assert_eq!(said(&mut mesh), [(THREE, hello(&of_epoch(100)))]);
}

#[test]
fn a_difference_that_does_not_apply_is_answered_by_asking_for_the_whole() {
    let mut mesh = member();
    let unreadable = Frame::MapDifference {
        age_us: 0,
        bytes: vec![1, 2, 3],
    };
    for frame in [unreadable, difference(101, 102, 0)] {
        hear(&mut mesh, at(10), ONE, &frame);
        assert_eq!(said(&mut mesh), [(ONE, Frame::MapRequest)]);
    }
    let stranger = SignedMap::sign(of_epoch(101).map().as_ref().clone(), &keypair(9)).unwrap();
    let bytes = stranger.difference_from(&of_epoch(100));
    hear(
        &mut mesh,
        at(11),
        ONE,
        &Frame::MapDifference { age_us: 0, bytes },
    );
    assert_eq!(said(&mut mesh), [], "a forged one is not worth a word");
    assert_eq!(mesh.counters().refused["BadMapSignature"], 1);
}

#[test]
fn who_applied_a_map_is_told_to_whoever_handed_it_on() {
    let mut mesh = member();
    hear(&mut mesh, at(10), ONE, &difference(100, 101, 4_000));
    let applied = |epoch, counts| Frame::Applied {
        era: 0,
        epoch,
        counts,
    };
    let after = |ms| Counts::one(Duration::from_millis(ms));
    hear(&mut mesh, at(20), THREE, &applied(101, after(9)));
    said(&mut mesh);
    mesh.handle(at(10) + limits::CONVERGENCE_PAUSE, Input::Timer);
    let mut both = after(4);
    both.add(&after(9));
    assert_eq!(said(&mut mesh), [(ONE, applied(101, both))]);
    hear(&mut mesh, at(150), THREE, &applied(101, after(30)));
    mesh.handle(at(150) + limits::CONVERGENCE_PAUSE, Input::Timer);
    assert_eq!(
        said(&mut mesh),
        [(ONE, applied(101, after(30)))],
        "what comes later follows"
    );
}

#[test]
fn counts_of_more_than_all_or_of_an_unknown_map_are_dropped() {
    let mut mesh = member();
    hear(&mut mesh, at(10), ONE, &difference(100, 101, 0));
    let mut many = Counts::default();
    (0..9).for_each(|_| many.add(&Counts::one(Duration::ZERO)));
    for (epoch, counts) in [(101, many), (500, Counts::one(Duration::ZERO))] {
        hear(
            &mut mesh,
            at(20),
            THREE,
            &Frame::Applied {
                era: 0,
                epoch,
                counts,
            },
        );
    }
    assert_eq!(mesh.counters().refused["AppliedBeyondMembers"], 1);
    assert_eq!(mesh.counters().refused["AppliedUnknownMap"], 1);
    said(&mut mesh);
    mesh.handle(at(10) + limits::CONVERGENCE_PAUSE, Input::Timer);
    let Frame::Applied { counts, .. } = &said(&mut mesh)[0].1 else {
        unreachable!("its own report");
    };
    assert_eq!(counts.total(), 1);
}

#[test]
fn a_map_that_is_asked_for_again_and_again_is_sent_once_in_a_while() {
    let mut mesh = member();
    let pause = limits::REPAIR_INTERVAL.as_millis() as u64;
    for (ms, sent) in [(10, 1), (11, 0), (9 + pause, 0), (10 + pause, 1)] {
        hear(&mut mesh, at(ms), ONE, &Frame::MapRequest);
        let whole = said(&mut mesh);
        let whole = whole
            .iter()
            .filter(|(_, frame)| matches!(frame, Frame::Map { .. }));
        assert_eq!(whole.count(), sent, "at {ms} ms");
    }
    assert_eq!(mesh.counters().refused["MapRequestAgain"], 2);
}

/// To refuse a statement costs as much as to take one in.
#[test]
fn whoever_passes_on_forged_statements_is_hung_up_on() {
    let mut mesh = member();
    let by = map(8).members[4].id();
    let forged = |sequence| Evidence::sign(&map(8), by, &[], false, sequence, &keypair(5));
    let most = u64::from(limits::FORGED_MAX);
    let forged: Vec<Evidence> = (1..=2 * most).map(forged).collect();
    let (few, many) = forged.split_at(limits::FORGED_MAX as usize - 1);
    hear(&mut mesh, at(10), ONE, &Frame::Evidence(few.to_vec()));
    assert!(mesh.peers.get(ONE).is_some());
    hear(&mut mesh, at(11), ONE, &Frame::Evidence(many.to_vec()));
    assert!(mesh.peers.get(ONE).is_none() && mesh.peers.get(THREE).is_some());
    let refused = mesh.counters().refused["EvidenceBadSignature"];
    assert_eq!(refused, most, "nothing after that was looked at");
}

/// What five say of a sixth, who a member that just began has not heard either.
fn told_of_a_death(mesh: &mut Mesh) {
    let id = |n: u16| map(8).members[usize::from(n)].id();
    let says = |n: u16| Evidence::sign(&map(8), id(n), &[id(5)], false, 1, &keypair(n));
    let said = [0, 1, 3, 4, 6].map(says).to_vec();
    hear(mesh, at(10), ONE, &Frame::Evidence(said));
}

fn verdicts(mesh: &mut Mesh) -> usize {
    let outputs = std::iter::from_fn(|| mesh.poll_output());
    let is_verdict = |it: &Output| matches!(it, Output::Event(Event::Verdict { .. }));
    outputs.filter(is_verdict).count()
}

/// It may lack what takes the reports back.
#[test]
fn a_fresh_member_judges_when_its_neighbours_have_answered() {
    let mut mesh = member();
    let answer = |reply| Frame::Wants {
        reply,
        signers: Vec::new(),
    };
    told_of_a_death(&mut mesh);
    hear(&mut mesh, at(11), ONE, &answer(true));
    hear(&mut mesh, at(12), ONE, &answer(true));
    hear(&mut mesh, at(13), THREE, &answer(false));
    assert_eq!(verdicts(&mut mesh), 0, "one of two has");
    hear(&mut mesh, at(14), THREE, &answer(true));
    assert_eq!(verdicts(&mut mesh), 1);
}

#[test]
fn and_when_it_has_waited_for_long_enough() {
    let mut subject = Subject::fresh_of(8);
    told_of_a_death(&mut subject.mesh);
    let end = limits::EDGE_GRACE.as_millis() as u64;
    let found = |subject: &Subject| {
        let is_verdict = |it: &Output| matches!(it, Output::Event(Event::Verdict { .. }));
        subject.said.iter().any(is_verdict)
    };
    for ms in (20..end).step_by(20) {
        subject.pass(ms, |other| other != 5);
    }
    assert!(!found(&subject));
    subject.give(at(end), Input::Timer);
    assert!(found(&subject));
}
