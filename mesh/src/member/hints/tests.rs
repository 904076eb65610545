//! What the end of a connection says of the peer's process.

#![allow(clippy::unwrap_used)]

use crate::limits;
use crate::machine::{ConnectionId, Disconnect, Event, Input, Output};
use crate::member::settled::{
    BEAT_MS, SETTLED_MS, Subject, agent, at, beats_until, connected, connection,
};
use crate::wire::{Beat, Datagram};

/// The last beat of all.
const LAST_MS: u64 = SETTLED_MS - BEAT_MS;
/// The shortest deadline of silence, and the probes after it.
const SILENCE_MS: u64 = BEAT_MS * limits::SILENCE_BEATS_MIN as u64;
const PROBES_MS: u64 = BEAT_MS / limits::PROBES_PER_BEAT as u64 * limits::PROBES as u64;

fn end(subject: &mut Subject, ms: u64, connection: ConnectionId, reason: Disconnect) {
    subject.give(at(ms), Input::Disconnected { connection, reason });
}

/// Whether one of these was said of member 1.
fn said(subject: &Subject, is: fn(&Event) -> bool) -> bool {
    let mut said = subject.said.iter();
    said.any(|output| matches!(output, Output::Event(event) if is(event)))
}

/// Its connection ends so, and it is not heard any more: how long after its last beat it is reported.
fn reported_after(subject: &mut Subject, how: Disconnect) -> u64 {
    end(subject, SETTLED_MS, connection(1), how);
    let mut ms = SETTLED_MS;
    while !subject.accuses() {
        subject.pass(ms, |other| other != 1);
        ms += 10;
        assert!(ms < SETTLED_MS + 10 * BEAT_MS, "{how:?}");
    }
    ms.saturating_sub(LAST_MS + 10)
}

#[test]
fn each_end_of_a_connection_says_something_else_of_the_peer() {
    let at_once = SETTLED_MS - LAST_MS;
    let cases = [
        // It said that it goes: there is nothing to wait for. (Nothing passed: the time is that of the end.)
        (Disconnect::GoneAway, at_once - 10, 1),
        // Another process answers there: the probes would ask that one.
        (Disconnect::Reset, SILENCE_MS, 0),
        // Peers close connections for many reasons, and lose them for more.
        (Disconnect::ClosedByPeer, SILENCE_MS + PROBES_MS, 0),
        (Disconnect::TimedOut, SILENCE_MS + PROBES_MS, 0),
        (Disconnect::Local, SILENCE_MS + PROBES_MS, 0),
    ];
    for (how, after, hints) in cases {
        let mut subject = Subject::settled();
        let took = reported_after(&mut subject, how);
        assert!((after..=after + 20).contains(&took), "{how:?}: {took} ms");
        assert_eq!(subject.mesh.counters().hints, hints, "{how:?}");
    }
}

/// Nothing more comes of the word of one observer.
#[test]
fn none_is_a_verdict_alone() {
    for how in [Disconnect::GoneAway, Disconnect::Reset] {
        let mut subject = Subject::settled();
        reported_after(&mut subject, how);
        for ms in (SETTLED_MS + 2000..SETTLED_MS + 10_000).step_by(20) {
            subject.pass(ms, |other| other != 1);
        }
        assert!(!said(&subject, |it| matches!(it, Event::Verdict { .. })));
        assert!(!said(&subject, |it| matches!(it, Event::Cleared { .. })));
    }
}

/// It comes back on a new connection, and beats. Nine beats are not enough.
#[test]
fn beats_that_come_again_clear_it() {
    for how in [Disconnect::GoneAway, Disconnect::Reset] {
        let mut subject = Subject::settled();
        reported_after(&mut subject, how);
        let (back, since) = (ConnectionId(100), SETTLED_MS + 1000);
        subject.give(at(since), connected(back, agent(1)));
        let mut beats = 0;
        for ms in (since..since + 5000).step_by(20) {
            subject.pass(ms, |other| other != 1);
            if ms.is_multiple_of(BEAT_MS) {
                hear_beat(&mut subject, ms, back);
                beats += 1;
            }
            let cleared = said(&subject, |it| matches!(it, Event::Cleared { .. }));
            assert_eq!(cleared, beats >= limits::CLEAR_BEATS, "{how:?}, {beats}");
        }
    }
}

fn hear_beat(subject: &mut Subject, ms: u64, connection: ConnectionId) {
    let beat = Beat {
        flags: 0,
        epoch: 100,
        incarnation: 100,
        sequence: beats_until(ms),
        digest: subject.mesh.evidence_digest(),
        timer_lag_ms: 0,
        send_drops: 0,
    };
    let bytes = Datagram::Beat(beat).encode();
    subject.give(at(ms), Input::Datagram { connection, bytes });
}

/// A process may close its older connection when it has a newer one.
#[test]
fn only_the_end_of_the_connection_in_use_counts() {
    for how in [Disconnect::GoneAway, Disconnect::Reset] {
        let mut subject = Subject::settled();
        subject.give(at(SETTLED_MS), connected(ConnectionId(100), agent(1)));
        end(&mut subject, SETTLED_MS, connection(1), how);
        assert!(!subject.accuses(), "{how:?}");
        end(
            &mut subject,
            SETTLED_MS,
            ConnectionId(100),
            Disconnect::GoneAway,
        );
        assert!(subject.accuses());
    }
}

/// What it would hold against the peer may be its own fault.
#[test]
fn whoever_is_in_doubt_of_itself_does_not_use_them() {
    let mut subject = Subject::settled();
    for other in 1..=4 {
        let connection = connection(other);
        subject.give(at(SETTLED_MS), Input::SendDropped { connection });
    }
    end(
        &mut subject,
        SETTLED_MS,
        connection(1),
        Disconnect::GoneAway,
    );
    assert!(subject.doubts() && !subject.accuses());
}
