#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use slotmesh_map::fixture::{keypair, map};

use super::*;
use crate::machine::{Event, Input, Output};
use crate::map::Map;
use crate::member::settled::{BEAT_MS, MEMBERS, SETTLED_MS, Subject, at, connection, operator};
use crate::signed::SignedMap;
use crate::wire::Frame;

/// Of a silence that others report too: three beats, and three probes that nobody answers.
const FOUND_MS: u64 = 3 * BEAT_MS + 4 * BEAT_MS / 5;

fn id(n: u16) -> MemberId {
    map(MEMBERS).members[usize::from(n)].id()
}

fn hear(subject: &mut Subject, ms: u64, from: u16, frame: &Frame) {
    let (connection, bytes) = (connection(from), frame.encode());
    subject.give(at(ms), Input::Frame { connection, bytes });
}

/// Member 7 reports so many.
fn report_of_another(subject: &mut Subject, ms: u64, reported: &[u16]) {
    let reported: Vec<MemberId> = reported.iter().map(|n| id(*n)).collect();
    let report = Evidence::sign(&map(MEMBERS), id(7), &reported, false, 1, &keypair(7));
    hear(subject, ms, 7, &Frame::Evidence(vec![report]));
}

/// Whom it reports, and in how many statements it came to that.
fn stated(subject: &Subject) -> (Vec<MemberId>, u64) {
    let mesh = &subject.mesh;
    let reported = mesh.evidence.reported_by(mesh.me).to_vec();
    (reported, mesh.counters.evidence_signed)
}

/// Time passes. The last beats of members 1 to 4 come within a beat of each other.
fn die_together(subject: &mut Subject, time: std::ops::Range<u64>) {
    for ms in time.step_by(10) {
        subject.pass(SETTLED_MS + ms, |other| other > 4);
        for other in (1..=4).filter(|other| ms == 40 * u64::from(*other)) {
            subject.hear_beat(SETTLED_MS + ms, other);
        }
    }
}

#[test]
fn a_death_is_reported_at_once() {
    let mut subject = Subject::settled();
    report_of_another(&mut subject, SETTLED_MS, &[1, 2]);
    let mut first = None;
    for ms in (SETTLED_MS..SETTLED_MS + 2000).step_by(10) {
        subject.pass(ms, |other| other != 1);
        if stated(&subject).1 > 0 {
            first.get_or_insert(ms);
        }
    }
    assert_eq!(stated(&subject), (vec![id(1)], 1));
    assert!(first.unwrap() <= SETTLED_MS + FOUND_MS + 20);
}

#[test]
fn those_who_die_together_are_reported_in_one_statement() {
    let mut subject = Subject::settled();
    report_of_another(&mut subject, SETTLED_MS, &[1, 2, 3, 4]);
    die_together(&mut subject, 0..FOUND_MS + 140);
    assert_eq!(
        stated(&subject),
        (vec![], 0),
        "1 to 3 were found, 4 is in question"
    );
    die_together(&mut subject, FOUND_MS + 140..2 * FOUND_MS);
    assert_eq!(stated(&subject), ((1..=4).map(id).collect(), 1));
}

#[test]
fn it_waits_for_the_others_no_longer_than_a_beat() {
    let mut subject = Subject::settled();
    report_of_another(&mut subject, SETTLED_MS, &[1, 2, 3, 4]);
    for ms in (SETTLED_MS..SETTLED_MS + 2 * FOUND_MS).step_by(10) {
        // One falls silent after the other, so that some are always in question.
        let silent = |other: u16| other <= 4 && ms >= SETTLED_MS + u64::from(other) * BEAT_MS;
        subject.pass(ms, |other| !silent(other));
        let patience = BEAT_MS * u64::from(limits::STATEMENT_PATIENCE_BEATS);
        if ms == SETTLED_MS + FOUND_MS + patience + 20 {
            assert!(
                stated(&subject).0.contains(&id(1)),
                "{:?}",
                stated(&subject)
            );
        }
    }
    assert!(stated(&subject).1 > 1);
}

/// A map with or without member 1, as the operator signs it.
fn next_map(epoch: u64, with: bool) -> Frame {
    let mut next: Map = map(MEMBERS);
    next.epoch = epoch;
    if !with {
        next.members.remove(1);
    }
    let bytes = SignedMap::sign(next, &operator()).unwrap().encode();
    Frame::Map { age_us: 0, bytes }
}

/// The map lists it no more, and then again: nobody knows of its edge yet, so what was said stands until a beat comes.
#[test]
fn what_was_said_stands_until_the_edge_knows_better() {
    let mut subject = Subject::settled();
    let end = SETTLED_MS + 2000;
    for ms in (SETTLED_MS..end).step_by(20) {
        subject.pass(ms, |other| other != 1);
    }
    assert_eq!(stated(&subject), (vec![id(1)], 1));
    let epoch = map(MEMBERS).epoch;
    hear(&mut subject, end, 7, &next_map(epoch + 1, false));
    assert_eq!(
        stated(&subject),
        (vec![], 1),
        "no such edge, and nothing to say"
    );
    hear(&mut subject, end, 7, &next_map(epoch + 2, true));
    assert_eq!(stated(&subject), (vec![id(1)], 1), "said before");
    for ms in (end..end + 2 * BEAT_MS).step_by(20) {
        subject.pass(ms, |other| other != 1);
    }
    assert_eq!(stated(&subject), (vec![id(1)], 1), "its edge is opening");
    for ms in (end + 2 * BEAT_MS..end + 5 * BEAT_MS).step_by(20) {
        subject.pass(ms, |_| true);
    }
    assert_eq!(stated(&subject), (vec![], 2), "its beats arrive");
}

#[test]
fn whoever_leaves_keeps_reporting() {
    let mut subject = Subject::settled();
    subject.give(at(SETTLED_MS), Input::Leave);
    let own = |subject: &Subject| subject.mesh.evidence.get(subject.mesh.me).cloned().unwrap();
    assert!(own(&subject).leaves && own(&subject).reported.is_empty());
    for ms in (SETTLED_MS..SETTLED_MS + 2000).step_by(20) {
        subject.pass(ms, |other| other != 1);
    }
    assert!(own(&subject).leaves);
    assert_eq!(stated(&subject), (vec![id(1)], 2));
}

/// Somebody else signs with its key, and said more than it will: it goes on, and says what is wrong.
#[test]
fn whoever_has_its_key_is_noticed() {
    let mut subject = Subject::settled();
    let other = Evidence::sign(&map(MEMBERS), id(0), &[], false, u64::MAX, &keypair(0));
    hear(&mut subject, SETTLED_MS, 7, &Frame::Evidence(vec![other]));
    subject.said.clear();
    for ms in (SETTLED_MS..SETTLED_MS + 2000).step_by(20) {
        subject.pass(ms, |other| other != 1);
    }
    let refused = |output: &Output| matches!(output, Output::Event(Event::Refused { cause }) if *cause == "EvidenceNotNews");
    assert!(subject.said.iter().any(refused));
}
