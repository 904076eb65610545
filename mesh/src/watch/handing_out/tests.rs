#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use slotmesh_map::fixture::{keypair, map, uid};

use super::*;
use crate::evidence::Evidence;
use crate::machine::{CloseReason, ConnectionId, Input, Machine, Output, PeerIdentity};
use crate::signed::SignedMap;
use crate::watch::WatchConfig;

/// Over a cell of 24 whose members are dealt out to so many zones.
fn watch(zones: usize) -> Watch {
    let mut map = map(24);
    for (number, member) in map.members.iter_mut().enumerate() {
        member.zone = format!("zone-{}", number % zones);
    }
    let config = WatchConfig {
        keypair: keypair(500),
        first_sequence: 1,
        take_census: false,
    };
    let signed = SignedMap::sign(map, &keypair(500)).unwrap();
    Watch::new(config, signed, at(0))
}

fn zones_of(watch: &Watch, reporters: &[Uid]) -> BTreeSet<String> {
    let zone = |uid: &Uid| watch.listed(*uid).unwrap().zone.clone();
    reporters.iter().map(zone).collect()
}

#[test]
fn there_is_a_reporter_in_each_zone() {
    for (zones, reporters) in [(1, 3), (2, 3), (3, 3), (5, 5), (8, 8), (12, 8)] {
        let watch = watch(zones);
        let chosen = watch.reporters(at(0));
        assert_eq!(chosen.len(), reporters, "{zones} zones");
        assert_eq!(zones_of(&watch, &chosen).len(), zones.min(reporters));
    }
}

#[test]
fn another_of_its_zone_stands_in_for_a_reporter_that_does_not_answer() {
    let mut watch = watch(5);
    let silent = watch.reporters(at(0))[2];
    watch.wait_before_dial(at(0), silent);
    let chosen = watch.reporters(at(1));
    assert!(!chosen.contains(&silent));
    assert_eq!(chosen.len(), 5);
    assert_eq!(zones_of(&watch, &chosen).len(), 5);
}

/// All reporters may have died: others are dialed long before the dials to them have failed.
#[test]
fn others_are_dialed_beside_those_that_do_not_answer_at_once() {
    let mut watch = watch(1);
    let first = watch.reporters(at(0));
    assert!(first.iter().all(|uid| !watch.dials.may_begin(at(0), *uid)));
    let patience = limits::DIAL_PATIENCE.as_millis() as u64;
    assert_eq!(watch.reporters(at(patience - 1)), first);
    watch.handle(at(patience), Input::Timer);
    let others = watch.reporters(at(patience));
    assert!(others.iter().all(|uid| !first.contains(uid)));
    assert!(others.iter().all(|uid| !watch.dials.may_begin(at(0), *uid)));
    assert_eq!(others.len(), 2 * limits::REPORTERS);
    // Those who did not answer are nine by then.
    let more = watch.reporters(at(2 * patience));
    assert_eq!(more.len(), limits::REPORTERS_MAX);
    // One is enough, to go on with as many as ever.
    let one = (0..24).find(|n| others.contains(&uid(*n))).unwrap();
    connect(&mut watch, 7, one);
    let chosen = watch.reporters(at(2 * patience));
    assert_eq!(chosen.len(), limits::REPORTERS);
}

fn connect(watch: &mut Watch, connection: u64, number: u16) {
    let connected = Input::Connected {
        connection: ConnectionId(connection),
        peer: PeerIdentity::Agent {
            uid: uid(number),
            key: keypair(number).public(),
        },
        remote: "127.0.0.1:1".parse().unwrap(),
        dialed: true,
    };
    watch.handle(at(0), connected);
}

fn outputs(watch: &mut Watch) -> Vec<Output> {
    std::iter::from_fn(|| watch.poll_output()).collect()
}

/// The container of a member restarts, and is listed with its new key before its old connection has timed out.
#[test]
fn a_connection_to_a_process_that_was_replaced_is_let_go_of() {
    let mut watch = watch(1);
    let reporter = (0..24).find(|n| watch.reporters(at(0)).contains(&uid(*n)));
    let (one, other) = (reporter.unwrap(), 24);
    connect(&mut watch, 7, one);
    outputs(&mut watch);
    let mut map = watch.map().clone();
    map.epoch += 1;
    let member = map.members.iter_mut().find(|it| it.uid == uid(one));
    let member = member.unwrap();
    (member.key, member.incarnation) = (keypair(other).public(), map.epoch);
    watch.publish(at(1), SignedMap::sign(map, &keypair(500)).unwrap());
    let said = outputs(&mut watch);
    let closed = Output::Close {
        connection: ConnectionId(7),
        reason: CloseReason::Replaced,
    };
    assert!(said.contains(&closed));
    let dials =
        |output: &Output| matches!(output, Output::Dial { uid: whom, .. } if *whom == uid(one));
    assert!(said.iter().any(dials));
}

#[test]
fn a_map_that_is_asked_for_again_and_again_is_sent_once_in_a_while() {
    let mut watch = watch(1);
    connect(&mut watch, 7, 0);
    outputs(&mut watch);
    let pause = limits::REPAIR_INTERVAL.as_millis() as u64;
    for (ms, sent) in [(1, true), (2, false), (pause, false), (1 + pause, true)] {
        let (connection, bytes) = (ConnectionId(7), Frame::MapRequest.encode());
        watch.handle(at(ms), Input::Frame { connection, bytes });
        let is_map = |output: &Output| match output {
            Output::Frame { bytes, .. } => matches!(Frame::decode(bytes), Ok(Frame::Map { .. })),
            _ => false,
        };
        assert_eq!(outputs(&mut watch).iter().any(is_map), sent, "at {ms} ms");
    }
    assert_eq!(watch.counters().refused["MapRequestAgain"], 2);
}

/// The operator is one process for many cells.
#[test]
fn whoever_passes_on_forged_statements_is_hung_up_on() {
    let mut watch = watch(1);
    let one = (0..24).find(|n| watch.reporters(at(0)).contains(&uid(*n)));
    connect(&mut watch, 7, one.unwrap());
    outputs(&mut watch);
    let by = map(24).members[4].id();
    let forged = |sequence| Evidence::sign(&map(24), by, &[], false, sequence, &keypair(5));
    let forged: Vec<Evidence> = (1..=100).map(forged).collect();
    let bytes = Frame::Evidence(forged).encode();
    let connection = ConnectionId(7);
    watch.handle(at(1), Input::Frame { connection, bytes });
    let closed = Output::Close {
        connection,
        reason: CloseReason::ProtocolError,
    };
    let said = outputs(&mut watch);
    assert!(said.contains(&closed));
    let dialed = |output: &&Output| matches!(output, Output::Dial { .. });
    // Another in its place, and one more, because nobody is connected any more.
    assert_eq!(said.iter().filter(dialed).count(), 2);
    let refused = watch.counters().refused["EvidenceBadSignature"];
    assert_eq!(refused, u64::from(limits::FORGED_MAX));
}

const fn at(ms: u64) -> Instant {
    Instant::from_micros(ms * 1000)
}

fn of(epoch: Epoch, members: usize) -> Convergence {
    Convergence {
        epoch,
        members,
        published: at(0),
        counts: Counts::default(),
    }
}

fn apply(ways: &mut Ways, epoch: Epoch) {
    if let Some(told) = ways.find((0, epoch)) {
        told.convergence
            .counts
            .add(&Counts::one(Duration::from_millis(3)));
    }
}

#[test]
fn a_map_is_told_once_when_all_applied_it() {
    let mut ways = Ways::default();
    ways.begin(0, 9, of(7, 2));
    apply(&mut ways, 7);
    assert_eq!(ways.take_due(at(5)), None);
    apply(&mut ways, 7);
    assert_eq!(ways.take_due(at(5)).map(|told| told.applied()), Some(2));
    assert_eq!(ways.take_due(at(20_000)), None);
}

#[test]
fn only_the_newest_is_told_though_it_is_incomplete() {
    let mut ways = Ways::default();
    ways.begin(0, 9, of(7, 2));
    ways.begin(0, 9, of(8, 2));
    assert_eq!(ways.take_due(at(14_999)), None);
    assert_eq!(ways.take_due(at(15_000)).map(|told| told.epoch), Some(8));
    assert_eq!(ways.take_due(at(15_000)), None);
    (0..2).for_each(|_| apply(&mut ways, 7));
    assert_eq!(ways.take_due(at(16_000)).map(|told| told.epoch), Some(7));
}

#[test]
fn where_nobody_has_to_apply_it_nothing_is_told() {
    let mut ways = Ways::default();
    ways.begin(0, 9, of(7, 0));
    assert_eq!(ways.take_due(at(20_000)), None);
}

#[test]
fn few_maps_are_remembered() {
    let mut ways = Ways::default();
    (1..100).for_each(|epoch| ways.begin(0, 9, of(epoch, 1)));
    assert_eq!(ways.0.len(), limits::OLDER_MAPS_MAX);
    assert!(ways.find((0, 1)).is_none() && ways.find((0, 99)).is_some());
}

#[test]
fn counts_of_more_members_than_the_map_lists_are_refused() {
    let mut watch = watch(1);
    let mut map = watch.map().clone();
    map.epoch += 1;
    let version = map.version();
    watch.publish(at(1), SignedMap::sign(map, &keypair(500)).unwrap());
    let mut counts = Counts::default();
    (0..25).for_each(|_| counts.add(&Counts::one(Duration::ZERO)));
    watch.on_applied(version, &counts);
    assert_eq!(watch.counters().refused["AppliedBeyondMembers"], 1);
    assert_eq!(watch.convergence().unwrap().applied(), 0);
    watch.on_applied(version, &Counts::one(Duration::ZERO));
    assert_eq!(watch.convergence().unwrap().applied(), 1);
}
