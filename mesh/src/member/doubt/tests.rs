//! A member that has reason to take itself for the sick one.

#![allow(clippy::unwrap_used)]

use slotmesh_map::fixture::{keypair, map, uid};

use crate::evidence::Evidence;
use crate::machine::{Event, Input, Output};
use crate::member::settled::{BEAT_MS, MEMBERS, SETTLED_MS, Subject, at, connection, operator};
use crate::signed::SignedMap;
use crate::wire::{FLAG_DEAF, FLAG_DOUBT, Frame};

#[test]
fn drops_towards_more_than_half_of_the_peers_are_ones_own() {
    for (dropping, doubts) in [(3, false), (4, true)] {
        let mut subject = Subject::settled();
        for other in 1..=dropping {
            let connection = connection(other);
            subject.give(at(SETTLED_MS), Input::SendDropped { connection });
        }
        for ms in (SETTLED_MS..SETTLED_MS + 300).step_by(20) {
            subject.pass(ms, |_| true);
        }
        assert_eq!(subject.doubts(), doubts, "{dropping} of seven");
    }
}

/// To every observer, for as long as it does.
#[test]
fn whoever_doubts_itself_says_so_on_its_beats() {
    let mut subject = Subject::settled();
    for connection in (1..=4).map(connection) {
        subject.give(at(SETTLED_MS), Input::SendDropped { connection });
    }
    for ms in (SETTLED_MS..SETTLED_MS + 2000).step_by(20) {
        subject.pass(ms, |_| true);
    }
    let doubting = |flags: u8| flags & FLAG_DOUBT != 0;
    let flags: Vec<bool> = subject
        .beats()
        .iter()
        .map(|it| doubting(it.flags))
        .collect();
    let observers = usize::from(MEMBERS - 1);
    let in_doubt = flags.iter().take_while(|on| **on).count();
    // Three beats, and the next one may still come before they are over.
    assert!([3, 4].contains(&(in_doubt / observers)), "{flags:?}");
    assert_eq!(in_doubt % observers, 0, "all observers are told the same");
    assert!(flags.iter().skip(in_doubt).all(|on| !on), "{flags:?}");
    assert!(flags.len() > 8 * observers);
    let beats = subject.beats();
    assert!(beats.iter().all(|beat| beat.send_drops == 4), "all so far");
}

/// Whoever hears nobody, and whom no observer answers, finds that it is deaf; both flags go when it hears again.
#[test]
fn so_does_whoever_hears_nobody_until_it_hears_again() {
    let mut subject = Subject::settled();
    let deaf_until = SETTLED_MS + 5000;
    for ms in (SETTLED_MS..deaf_until).step_by(20) {
        subject.pass(ms, |_| false);
    }
    let both = FLAG_DOUBT | FLAG_DEAF;
    assert_eq!(subject.beats().last().unwrap().flags, both);
    assert!(subject.doubts() && !subject.accuses());
    for ms in (deaf_until..deaf_until + 3000).step_by(20) {
        subject.pass(ms, |_| true);
    }
    assert_eq!(subject.beats().last().unwrap().flags, 0);
}

#[test]
fn drops_towards_the_silent_are_theirs() {
    let mut subject = Subject::settled();
    for ms in (SETTLED_MS..SETTLED_MS + 3000).step_by(20) {
        subject.pass(ms, |other| other > 4);
        // Three beats after the last the member knows that they are silent.
        for connection in (1..=4).map(connection).filter(|_| ms > SETTLED_MS + 600) {
            subject.give(at(ms), Input::SendDropped { connection });
        }
    }
    assert!(!subject.doubts());
    assert!(!subject.mesh.doubts_itself());
}

/// It slept: what it did not hear meanwhile is nobody's fault, and nothing is asked of anybody.
#[test]
fn after_a_pause_silence_counts_from_the_end_of_it() {
    let mut subject = Subject::settled();
    let woken = SETTLED_MS + 5000;
    subject.give(at(woken), Input::Timer);
    assert_eq!(subject.mesh.counters().pauses, 1);
    assert!(subject.mesh.doubts_itself() || subject.doubts());
    for ms in (woken + 20..woken + 500).step_by(20) {
        subject.pass(ms, |_| false);
    }
    assert_eq!(subject.probes(), 0, "less than three beats have passed");
    assert_eq!(subject.mesh.opening_edges(), 0, "all were heard before");
}

/// One beat in five arrives of everybody, somebody's at any time: from no subject do enough arrive after a second, and
/// from then on it is the member that may be deaf. Before, it cannot tell, and what it reports is a few edges.
#[test]
fn whoever_hears_little_of_everybody_accuses_nobody() {
    let mut subject = Subject::settled();
    for ms in (SETTLED_MS..SETTLED_MS + 10_000).step_by(20) {
        let arrives = |other: u16| (ms / BEAT_MS + u64::from(other)).is_multiple_of(5);
        subject.pass(ms, arrives);
        assert!(ms < SETTLED_MS + 1000 || !subject.accuses(), "at {ms} ms");
        if ms < SETTLED_MS + 1000 {
            subject.said.clear();
        }
    }
    assert!(subject.mesh.doubts_itself());
}

/// Of one alone it does hear little: then that one is reported.
#[test]
fn whoever_hears_little_of_one_reports_it() {
    let mut subject = Subject::settled();
    for ms in (SETTLED_MS..SETTLED_MS + 10_000).step_by(20) {
        subject.pass(ms, |other| other != 1 || (ms / BEAT_MS).is_multiple_of(5));
    }
    assert!(subject.accuses());
    assert!(!subject.mesh.doubts_itself());
}

/// What the others found of it is theirs to act upon: it says nothing about itself, and of nobody else.
#[test]
fn a_verdict_over_oneself_is_not_announced() {
    let mut subject = Subject::settled();
    let whole = SignedMap::sign(map(MEMBERS), &operator()).unwrap();
    let me = subject.mesh.id();
    for other in 1..MEMBERS {
        let observer = whole.map().member(uid(other)).unwrap().id();
        let report = Evidence::sign(whole.map(), observer, &[me], false, 1, &keypair(other));
        let frame = Frame::Evidence(vec![report]).encode();
        let input = Input::Frame {
            connection: connection(other),
            bytes: frame,
        };
        subject.give(at(SETTLED_MS), input);
    }
    let mut reports = subject.said.iter();
    let about_me = |output: &Output| matches!(output, Output::Event(Event::Suspected { subject, .. }) if *subject == me);
    assert!(reports.any(about_me), "the reports were taken in");
    subject.pass(SETTLED_MS + 20, |_| true);
    let verdict = |output: &Output| matches!(output, Output::Event(Event::Verdict { .. }));
    assert!(!subject.said.iter().any(verdict));
    assert_eq!(subject.mesh.counters().verdicts, 0);
}
