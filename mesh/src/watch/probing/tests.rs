#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use slotmesh_map::fixture::{keypair, map};

use super::*;
use crate::machine::{Event, Input, Machine, PeerIdentity};
use crate::map::Map;
use crate::signed::SignedMap;
use crate::time::Instant;
use crate::watch::WatchConfig;

const fn at(ms: u64) -> Instant {
    Instant::from_micros(ms * 1000)
}

fn cleared(watch: &mut Watch) -> Vec<MemberId> {
    let outputs = std::iter::from_fn(|| watch.poll_output());
    let cleared = outputs.filter_map(|output| match output {
        Output::Event(Event::Cleared { subject, .. }) => Some(subject),
        _ => None,
    });
    cleared.collect()
}

/// Over a cell of three; its statements are numbered from 1000.
fn watch_over(map: &Map) -> Watch {
    let config = WatchConfig {
        keypair: keypair(500),
        first_sequence: 1000,
        take_census: false,
    };
    let signed = SignedMap::sign(map.clone(), &keypair(500)).unwrap();
    Watch::new(config, signed, at(0))
}

/// The second member.
const CONNECTION: ConnectionId = ConnectionId(1);

fn connect(watch: &mut Watch, ms: u64, member: &Member) {
    let connected = Input::Connected {
        connection: CONNECTION,
        peer: PeerIdentity::Agent {
            uid: member.uid,
            key: member.key,
        },
        remote: member.address,
        dialed: true,
    };
    watch.handle(at(ms), connected);
}

/// It answers the last probe.
fn answer(watch: &mut Watch, ms: u64) {
    let bytes = Datagram::Answer { nonce: watch.tick }.encode();
    let connection = CONNECTION;
    watch.handle(at(ms), Input::Datagram { connection, bytes });
}

/// An earlier operator reported a member. The next one lets that stand until it knows better: when the member answers.
#[test]
fn what_an_earlier_operator_said_stands_until_the_member_answers() {
    let (map, operator) = (map(3), keypair(500));
    let id = map.members[1].id();
    let mut watch = watch_over(&map);
    let said = Evidence::sign(&map, MemberId::OPERATOR, &[id], false, 7, &operator);
    watch.on_evidence(at(0), vec![said]);
    for ms in (0..1000).step_by(100) {
        watch.handle(at(ms), Input::Timer);
    }
    assert_eq!(watch.evidence.reported_by(MemberId::OPERATOR), [id]);
    assert_eq!(cleared(&mut watch), []);

    connect(&mut watch, 1000, &map.members[1]);
    answer(&mut watch, 1001);
    assert_eq!(cleared(&mut watch), [id]);
    let stated = watch.evidence.get(MemberId::OPERATOR).unwrap();
    assert!(stated.sequence > 1000 && stated.reported.is_empty());
}

/// The clock of the operator before was ahead, so what it said has the larger sequence: members would take in nothing else.
#[test]
fn what_is_stated_goes_above_an_earlier_operator_whose_clock_was_ahead() {
    let (map, operator) = (map(3), keypair(500));
    let ids: Vec<MemberId> = map.members.iter().map(Member::id).collect();
    let mut watch = watch_over(&map);
    let ahead = 30_000_000;
    let said = Evidence::sign(&map, MemberId::OPERATOR, &[ids[1]], false, ahead, &operator);
    watch.on_evidence(at(0), vec![said]);
    connect(&mut watch, 10, &map.members[1]);
    // That one answers: it lives, against what was said. The others never do.
    let mut signed = Vec::new();
    for ms in (10..6000).step_by(10) {
        answer(&mut watch, ms);
        let stated = watch.evidence.get(MemberId::OPERATOR).unwrap();
        if signed.last() != Some(&stated.sequence) {
            signed.push(stated.sequence);
        }
    }
    let stated = watch.evidence.get(MemberId::OPERATOR).unwrap();
    let reported = watch.evidence.reported_by(MemberId::OPERATOR);
    assert_eq!(reported, [ids[0], ids[2]]);
    assert!(stated.sequence > ahead);
    // It says each thing once, not the same at each input.
    assert_eq!(watch.counters().evidence_signed as usize, signed.len() - 1);
    assert!(signed.len() <= 4, "{signed:?}");
}

/// Another operator that still lives may see things otherwise: the two do not answer each other at the network's pace.
#[test]
fn another_operators_word_is_answered_with_the_next_tick() {
    let (map, operator) = (map(3), keypair(500));
    let id = map.members[1].id();
    let mut watch = watch_over(&map);
    connect(&mut watch, 0, &map.members[1]);
    let mut ticks = 0;
    for ms in 1..2000 {
        let before = watch.tick;
        let held = watch.evidence.get(MemberId::OPERATOR);
        let sequence = held.map_or(5000, |held| held.sequence + 1);
        let said = Evidence::sign(&map, MemberId::OPERATOR, &[id], false, sequence, &operator);
        answer(&mut watch, ms);
        let (connection, bytes) = (CONNECTION, Frame::Evidence(vec![said]).encode());
        watch.handle(at(ms), Input::Frame { connection, bytes });
        ticks += u64::from(watch.tick != before);
    }
    let signed = watch.counters().evidence_signed;
    assert!(signed > 0 && signed <= ticks, "{signed} in {ticks} ticks");
}
