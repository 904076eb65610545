//! A map that changes the time between two beats, and what a member says while others fall silent together.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use slotmesh_map::fixture::{keypair, map};

use crate::evidence::Evidence;
use crate::identity::MemberId;
use crate::machine::{ConnectionId, Event, Input, Machine, Output, PeerIdentity};
use crate::member::settled::{
    BEAT_MS, MEMBERS, SETTLED_MS, Subject, at, beats_until, connected, connection, operator,
};
use crate::signed::SignedMap;
use crate::wire::{Datagram, FLAG_HEARS_OPERATOR, FLAG_LEAVING, Frame};

const LONG_MS: u64 = 2000;

fn take_interval(subject: &mut Subject, ms: u64, epoch: u64, interval_ms: u64) {
    let mut map = map(MEMBERS);
    map.epoch = epoch;
    map.protocol.heartbeat_interval_ms = u32::try_from(interval_ms).unwrap();
    let bytes = SignedMap::sign(map, &operator()).unwrap().encode();
    let (connection, bytes) = (connection(1), Frame::Map { age_us: 0, bytes }.encode());
    subject.give(at(ms), Input::Frame { connection, bytes });
    assert_eq!(subject.mesh.map().epoch, epoch);
}

/// Time passes, in which those beat at the long interval that do.
fn pass_slowly(subject: &mut Subject, time: std::ops::Range<u64>, beats: impl Fn(u16) -> bool) {
    for ms in time.step_by(20) {
        subject.pass(ms, |_| false);
        let slept = ms - SETTLED_MS;
        if slept % LONG_MS == LONG_MS / 2 {
            let number = beats_until(SETTLED_MS) + u32::try_from(slept / LONG_MS).unwrap();
            for other in (1..MEMBERS).filter(|other| beats(*other)) {
                subject.hear_numbered_beat(ms, other, number);
            }
        }
    }
}

/// Edges that went on at the old interval would fail 1.4 s after each beat.
#[test]
fn whoever_beats_at_a_longer_interval_is_not_late() {
    let mut subject = Subject::settled();
    take_interval(&mut subject, SETTLED_MS, 101, LONG_MS);
    let later = SETTLED_MS + 15 * LONG_MS;
    pass_slowly(&mut subject, SETTLED_MS..later, |_| true);
    assert!(!subject.accuses() && !subject.doubts());
    pass_slowly(&mut subject, later..later + 5 * LONG_MS, |other| other != 1);
    assert!(subject.accuses(), "and who dies is found");
}

#[test]
fn a_shorter_interval_counts_from_now_on() {
    let mut subject = Subject::settled();
    take_interval(&mut subject, SETTLED_MS, 101, LONG_MS);
    let later = SETTLED_MS + LONG_MS;
    pass_slowly(&mut subject, SETTLED_MS..later, |_| true);
    take_interval(&mut subject, later, 102, BEAT_MS);
    let next = subject.mesh.next_deadline().unwrap();
    assert!(next <= at(later + BEAT_MS + BEAT_MS / 10), "{next:?}");
    // After the grace of new edges, and three beats and probes.
    let found = later + 2000 + 4 * BEAT_MS;
    for ms in (later..found).step_by(20) {
        subject.pass(ms, |other| other != 1);
    }
    assert!(subject.accuses());
}

fn hear(subject: &mut Subject, ms: u64, evidence: Vec<Evidence>) {
    let (connection, bytes) = (connection(1), Frame::Evidence(evidence).encode());
    subject.give(at(ms), Input::Frame { connection, bytes });
}

/// Of six members two fall silent, and two others report them as this one does; of the sixth, which beats as long as
/// it is told, nobody has reported anything. Some more may be there that leave. The
/// member, and what time it is.
fn two_fall_silent(sixth_beats: fn(u64) -> bool, leaving: u16) -> (Subject, u64) {
    let mut subject = Subject::settled_of(6 + leaving);
    let cell = map(6 + leaving);
    let id = |n: u16| cell.members.get(usize::from(n)).unwrap().id();
    let leaves = |n| Evidence::sign(&cell, id(n), &[], true, 1, &keypair(n));
    hear(
        &mut subject,
        SETTLED_MS,
        (6..6 + leaving).map(leaves).collect(),
    );
    let silent = [3, 4].map(id);
    let reports = |subject: &Subject, whom: MemberId| {
        let observer = subject.mesh.id();
        subject.said.contains(&Output::Event(Event::Suspected {
            observer,
            subject: whom,
        }))
    };
    let beats = |ms| move |other| other < 3 || (other == 5 && sixth_beats(ms));
    let mut ms = SETTLED_MS;
    while !silent.iter().all(|whom| reports(&subject, *whom)) {
        subject.pass(ms, beats(ms));
        ms += 20;
        assert!(ms < SETTLED_MS + 10 * BEAT_MS);
    }
    let said = |n| Evidence::sign(&cell, id(n), &silent, false, 1, &keypair(n));
    hear(&mut subject, ms, [1, 2].map(said).to_vec());
    for ms in [ms, ms + 20, ms + 40] {
        subject.pass(ms, beats(ms));
    }
    assert!(!reports(&subject, id(5)));
    (subject, ms + 40)
}

fn finds_somebody_failed(subject: &Subject) -> bool {
    let is_verdict = |said: &Output| matches!(said, Output::Event(Event::Verdict { .. }));
    subject.said.iter().any(is_verdict)
}

/// Four would be left, of whom three report: but the fourth is silent as well, and then it is half the cell.
#[test]
fn who_is_silent_and_not_reported_yet_does_not_make_a_majority() {
    for leaving in [0, 1, 3] {
        let (subject, _) = two_fall_silent(|_| true, leaving);
        assert!(finds_somebody_failed(&subject), "{leaving} leave");
        let (mut subject, ms) = two_fall_silent(|ms| ms == SETTLED_MS, leaving);
        assert!(!finds_somebody_failed(&subject), "{leaving} leave");
        // No statement comes, and it is heard again.
        let evidence = subject.mesh.evidence.revision();
        subject.hear_beat(ms, 5);
        assert!(finds_somebody_failed(&subject), "{leaving} leave");
        assert_eq!(subject.mesh.evidence.revision(), evidence);
    }
}

/// Each flag, and how late its timers were since the last beat.
#[test]
fn a_beat_tells_how_its_sender_is() {
    let mut subject = Subject::settled();
    let flags = |subject: &mut Subject, ms: u64| {
        subject.said.clear();
        for ms in (ms..ms + 2 * BEAT_MS).step_by(20) {
            subject.pass(ms, |_| true);
        }
        subject.beats().last().unwrap().flags
    };
    assert_eq!(flags(&mut subject, SETTLED_MS), 0);
    let operator = ConnectionId(100);
    let later = SETTLED_MS + 2 * BEAT_MS;
    subject.give(at(later), connected(operator, PeerIdentity::Operator));
    let bytes = Datagram::Probe { nonce: 1 }.encode();
    let connection = operator;
    subject.give(at(later), Input::Datagram { connection, bytes });
    assert_eq!(flags(&mut subject, later), FLAG_HEARS_OPERATOR);
    let later = later + 2 * BEAT_MS;
    subject.give(at(later), Input::Leave);
    let leaving = FLAG_HEARS_OPERATOR | FLAG_LEAVING;
    assert_eq!(flags(&mut subject, later), leaving);

    subject.said.clear();
    let due = subject.mesh.next_deadline().unwrap();
    subject.give(due + Duration::from_millis(70), Input::Timer);
    let later = later + 2 * BEAT_MS;
    for ms in (later + 80..later + 4 * BEAT_MS).step_by(20) {
        subject.pass(ms, |_| true);
    }
    let lags: Vec<u16> = subject.beats().iter().map(|it| it.timer_lag_ms).collect();
    assert!(lags.contains(&70), "{lags:?}");
    assert!(*lags.last().unwrap() < 20, "it is of one beat: {lags:?}");
}

/// One subject is silent, and its deadline passes while this process is away for a moment, which another timer shows: what
/// the subject sent may be waiting at the socket.
#[test]
fn after_a_moments_absence_everything_is_due_that_much_later() {
    let mut subject = Subject::settled();
    // The first is heard for the last time at 3800 ms and due at 4400; the second is knocked at before that.
    for ms in (SETTLED_MS..SETTLED_MS + 360).step_by(20) {
        subject.pass(ms, |other| other > 2);
        if ms == SETTLED_MS + 100 {
            subject.hear_beat(ms, 2);
        }
    }
    assert_eq!(subject.probes(), 0);
    subject.give(at(SETTLED_MS + 410), Input::Timer);
    assert_eq!(subject.probes(), 0, "it was late by more than 20 ms");
    assert!(!subject.doubts(), "and by less than half an interval");
    subject.give(at(SETTLED_MS + 480), Input::Timer);
    assert!(subject.probes() > 0);
}
