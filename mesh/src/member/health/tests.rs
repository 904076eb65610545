//! A map that changes the time between two beats.

#![allow(clippy::unwrap_used)]

use slotmesh_map::fixture::map;

use crate::machine::{Input, Machine};
use crate::member::settled::{
    BEAT_MS, MEMBERS, SETTLED_MS, Subject, at, beats_until, connection, operator,
};
use crate::signed::SignedMap;
use crate::wire::Frame;

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
