#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use slotmesh_map::fixture::{keypair, map, uid};

use super::*;
use crate::identity::Keypair;
use crate::machine::{CloseReason, ConnectionId, Input, Machine, Output, PeerIdentity};
use crate::watch::WatchConfig;

const REPORTER: ConnectionId = ConnectionId(7);

const fn at(ms: u64) -> Instant {
    Instant::from_micros(ms * 1000)
}

fn operator() -> Keypair {
    keypair(500)
}

/// Over a cell of three, with a connection to one of them.
fn watch() -> Watch {
    let config = WatchConfig {
        keypair: operator(),
        first_sequence: 1,
        take_census: false,
    };
    let mut watch = Watch::new(config, signed(0, &operator()), at(0));
    let peer = PeerIdentity::Agent {
        uid: uid(0),
        key: keypair(0).public(),
    };
    let connected = Input::Connected {
        connection: REPORTER,
        peer,
        remote: "127.0.0.1:1".parse().unwrap(),
        dialed: true,
    };
    watch.handle(at(0), connected);
    said(&mut watch);
    watch
}

/// The map so many epochs later.
fn signed(later: Epoch, key: &Keypair) -> SignedMap {
    let mut map = map(3);
    map.epoch += later;
    SignedMap::sign(map, key).unwrap()
}

/// Another map of that epoch.
fn other(later: Epoch) -> SignedMap {
    let mut map = map(3);
    map.epoch += later;
    map.members[2].zone = "elsewhere".to_owned();
    SignedMap::sign(map, &operator()).unwrap()
}

fn hear(watch: &mut Watch, ms: u64, frame: &Frame) {
    let (connection, bytes) = (REPORTER, frame.encode());
    watch.handle(at(ms), Input::Frame { connection, bytes });
}

fn hello(map: &SignedMap) -> Frame {
    let (era, epoch) = map.map().version();
    let mut sha256 = [0; 8];
    sha256.copy_from_slice(&map.sha256()[..8]);
    Frame::Hello { era, epoch, sha256 }
}

fn whole(map: &SignedMap) -> Frame {
    let bytes = map.encode();
    Frame::Map { age_us: 0, bytes }
}

/// Times that it asked for the map, and alarms.
fn said(watch: &mut Watch) -> (usize, Vec<Event>) {
    let (mut asked, mut alarms) = (0, Vec::new());
    while let Some(output) = watch.poll_output() {
        match output {
            Output::Frame { bytes, .. } if Frame::decode(&bytes) == Ok(Frame::MapRequest) => {
                asked += 1;
            }
            Output::Event(event @ (Event::NewerMapSeen { .. } | Event::MapConflict { .. })) => {
                alarms.push(event);
            }
            _ => {}
        }
    }
    (asked, alarms)
}

#[test]
fn a_newer_map_is_an_alarm_once_it_is_seen_with_a_signature() {
    let (mut watch, newer) = (watch(), signed(5, &operator()));
    hear(&mut watch, 1, &hello(&newer));
    assert_eq!(said(&mut watch), (1, vec![]));
    hear(&mut watch, 2, &whole(&newer));
    let version = newer.map().version();
    assert_eq!(said(&mut watch), (0, vec![Event::NewerMapSeen { version }]));
}

#[test]
fn so_is_another_map_of_the_same_epoch_and_it_is_told_once() {
    let (mut watch, other) = (watch(), other(0));
    let epoch = other.map().epoch;
    for (ms, alarms) in [(1, vec![Event::MapConflict { epoch }]), (3, vec![])] {
        hear(&mut watch, ms, &hello(&other));
        hear(&mut watch, ms + 1, &whole(&other));
        assert_eq!(said(&mut watch), (1, alarms));
    }
}

/// A greeting costs nothing, and an operator that believed it would make no map again.
#[test]
fn a_claim_alone_is_no_alarm_however_often_it_is_made() {
    let mut watch = watch();
    let far = Frame::Hello {
        era: u32::MAX,
        epoch: Epoch::MAX,
        sha256: [7; 8],
    };
    let pause = limits::REPAIR_INTERVAL.as_millis() as u64;
    for ms in 1..pause {
        hear(&mut watch, ms, &far);
    }
    assert_eq!(said(&mut watch), (1, vec![]));
    // It is asked again, because the answer may have been lost.
    for ms in (pause..=2 * pause).step_by(50) {
        watch.handle(at(ms), Input::Timer);
    }
    assert_eq!(said(&mut watch), (1, vec![]));
    // An older map in the place of the proof proves nothing.
    hear(&mut watch, 2 * pause + 1, &whole(&signed(0, &operator())));
    assert_eq!(said(&mut watch), (0, vec![]));
}

#[test]
fn whoever_has_the_published_map_is_asked_no_more() {
    let (mut watch, newer) = (watch(), signed(5, &operator()));
    hear(&mut watch, 1, &hello(&newer));
    watch.publish(at(2), newer.clone());
    hear(&mut watch, 3, &hello(&newer));
    for ms in (10..5000).step_by(100) {
        watch.handle(at(ms), Input::Timer);
    }
    assert_eq!(said(&mut watch), (1, vec![]));
}

#[test]
fn forged_proofs_are_no_alarm_and_end_the_connection() {
    let (mut watch, forged) = (watch(), signed(5, &keypair(9)));
    let mut closed = false;
    for ms in 0..u64::from(limits::FORGED_MAX) {
        assert!(!closed, "after {ms} of them");
        hear(&mut watch, ms, &hello(&forged));
        hear(&mut watch, ms, &whole(&forged));
        while let Some(output) = watch.poll_output() {
            assert!(!matches!(output, Output::Event(Event::NewerMapSeen { .. })));
            closed |= output
                == Output::Close {
                    connection: REPORTER,
                    reason: CloseReason::ProtocolError,
                };
        }
    }
    assert!(closed);
}

/// Whoever sends maps by itself has not even one decoded.
#[test]
fn a_map_that_nobody_asked_for_is_refused() {
    let (mut watch, newer) = (watch(), signed(5, &operator()));
    hear(&mut watch, 1, &whole(&newer));
    assert_eq!(said(&mut watch), (0, vec![]));
    hear(&mut watch, 2, &hello(&newer));
    hear(&mut watch, 3, &whole(&newer));
    hear(&mut watch, 4, &whole(&newer));
    assert_eq!(said(&mut watch).1.len(), 1);
    assert_eq!(watch.counters().refused["MapForTheOperator"], 2);
}
