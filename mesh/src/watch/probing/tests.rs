#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use slotmesh_map::fixture::{keypair, map};

use super::*;
use crate::machine::{Event, Input, Machine, PeerIdentity};
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

/// An earlier operator reported a member. The next one lets that stand until it knows better: when the member answers.
#[test]
fn what_an_earlier_operator_said_stands_until_the_member_answers() {
    let (map, operator) = (map(3), keypair(500));
    let id = map.members[1].id();
    let config = WatchConfig {
        keypair: keypair(500),
        first_sequence: 1000,
        take_census: false,
    };
    let signed = SignedMap::sign(map.clone(), &operator).unwrap();
    let mut watch = Watch::new(config, signed, at(0));
    let said = Evidence::sign(&map, MemberId::OPERATOR, &[id], false, 7, &operator);
    watch.on_evidence(at(0), vec![said]);
    for ms in (0..1000).step_by(100) {
        watch.handle(at(ms), Input::Timer);
    }
    assert_eq!(watch.evidence.reported_by(MemberId::OPERATOR), [id]);
    assert_eq!(cleared(&mut watch), []);

    let connection = ConnectionId(1);
    let peer = PeerIdentity::Agent {
        uid: id.uid,
        key: map.members[1].key,
    };
    let connected = Input::Connected {
        connection,
        peer,
        remote: map.members[1].address,
        dialed: true,
    };
    watch.handle(at(1000), connected);
    let bytes = Datagram::Answer { nonce: watch.tick }.encode();
    watch.handle(at(1001), Input::Datagram { connection, bytes });
    assert_eq!(cleared(&mut watch), [id]);
    let stated = watch.evidence.get(MemberId::OPERATOR).unwrap();
    assert!(stated.sequence > 1000 && stated.reported.is_empty());
}
