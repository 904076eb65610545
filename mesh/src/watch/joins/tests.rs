#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use slotmesh_map::fixture::{keypair, map, uid};

use super::*;
use crate::identity::Keypair;
use crate::limits;
use crate::machine::{CloseReason, Input, Machine, Output, PeerIdentity};
use crate::signed::SignedMap;
use crate::watch::WatchConfig;

const MEMBER: ConnectionId = ConnectionId(7);

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last], 7401))
}

fn other(number: u64, key: &Keypair) -> JoinAddress {
    JoinAddress::sign(map(3).cluster, number, address(2), key)
}

fn hear(watch: &mut Watch, told: JoinAddress) {
    let (connection, bytes) = (MEMBER, Frame::JoinAddress(told).encode());
    watch.handle(Instant::ZERO, Input::Frame { connection, bytes });
}

/// Numbers of the addresses that it told.
fn told(watch: &mut Watch) -> Vec<u64> {
    let mut numbers = Vec::new();
    while let Some(output) = watch.poll_output() {
        let Output::Frame { bytes, .. } = output else {
            continue;
        };
        if let Ok(Frame::JoinAddress(told)) = Frame::decode(&bytes) {
            assert_eq!(told.address(), address(1));
            assert!(told.is_signed(map(3).cluster, &[keypair(500).public()]));
            numbers.push(told.number());
        }
    }
    numbers
}

/// It told one member address 1, numbered 100.
fn watch() -> Watch {
    let key = keypair(500);
    let config = WatchConfig {
        keypair: key.clone(),
        first_sequence: 100,
        take_census: false,
    };
    let first = SignedMap::sign(map(3), &key).unwrap();
    let mut watch = Watch::new(config, first, Instant::ZERO);
    watch.handle(Instant::ZERO, Input::Timer);
    watch.answer_joins_at(address(1));
    let connected = Input::Connected {
        connection: MEMBER,
        peer: PeerIdentity::Agent {
            uid: uid(0),
            key: keypair(0).public(),
        },
        remote: "127.0.0.1:1".parse().unwrap(),
        dialed: true,
    };
    watch.handle(Instant::ZERO, connected);
    assert_eq!(told(&mut watch), [100]);
    watch
}

/// The clock of the operator before was ahead.
#[test]
fn an_earlier_operators_higher_number_is_outbid_with_the_next_tick() {
    let (mut watch, key) = (watch(), keypair(500));
    // Lower ones and forged ones change nothing.
    hear(&mut watch, other(99, &key));
    hear(&mut watch, other(7000, &keypair(9)));
    assert_eq!(watch.counters().refused["BadJoinAddress"], 1);
    hear(&mut watch, other(5000, &key));
    hear(&mut watch, other(4000, &key));
    assert_eq!(told(&mut watch), [0; 0]);
    let tick = watch.next_deadline().unwrap();
    watch.handle(tick, Input::Timer);
    assert_eq!(told(&mut watch), [5001]);
    let tick = watch.next_deadline().unwrap();
    watch.handle(tick, Input::Timer);
    assert_eq!(told(&mut watch), [0; 0]);
}

#[test]
fn whoever_tells_forged_addresses_is_hung_up_on() {
    let mut watch = watch();
    let closed = Output::Close {
        connection: MEMBER,
        reason: CloseReason::ProtocolError,
    };
    for number in 1..=limits::FORGED_MAX {
        hear(&mut watch, other(7000, &keypair(9)));
        let said: Vec<Output> = std::iter::from_fn(|| watch.poll_output()).collect();
        assert_eq!(said.contains(&closed), number == limits::FORGED_MAX);
    }
}
