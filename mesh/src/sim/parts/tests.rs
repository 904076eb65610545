#![allow(clippy::unwrap_used)]

use super::*;

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);

fn lossless() -> Wire {
    let settings = NetworkSettings {
        loss_per_mille: 0,
        ..NetworkSettings::default()
    };
    Wire::new(settings, 1, 2)
}

#[test]
fn a_cut_stops_datagrams_packets_and_handshakes_one_way() {
    let mut wire = lossless();
    assert!(wire.inflict(&Fault::CutOneWay(A, B)));
    let now = Instant::ZERO;
    assert_eq!(wire.datagram(now, A, B, 100), (None, None));
    assert_eq!(wire.packets(now, A, B, 3).0, 3);
    assert!(wire.datagram(now, B, A, 100).0.is_some());
    // The answer to an opening packet has to come back.
    assert!(wire.handshake(now, B, A).is_none());
    assert!(wire.inflict(&Fault::HealLinks));
    assert!(wire.handshake(now, B, A).is_some());
    assert!(!wire.inflict(&Fault::OperatorDown));
}

#[test]
fn a_datagram_costs_its_bytes_and_28() {
    let mut wire = lossless();
    wire.datagram(Instant::ZERO, A, B, 100);
    assert_eq!(wire.traffic(A).bytes, 128);
}

#[test]
fn choices_are_distinct_and_repeat() {
    for seed in 0..50 {
        let some = choose(seed, 10, 9);
        assert_eq!(some.len(), 9);
        assert_eq!(some, choose(seed, 10, 9));
        assert!(some.iter().all(|node| (1..=10).contains(&node.0)));
    }
    assert_ne!(choose(1, 100, 3), choose(2, 100, 3));
}

/// 100 KB are 87 packets: 10, 20, 40 and the rest.
#[test]
fn a_new_connection_sends_little_before_it_is_answered() {
    let mut wire = lossless();
    let takes = |wire: &mut Wire, bytes| {
        let there = wire.first_message(Instant::ZERO, A, B, bytes).unwrap();
        there.saturating_since(Instant::ZERO)
    };
    // 0.25 to 1.25 ms each way.
    let (least, most) = (Duration::from_micros(250), Duration::from_micros(1250));
    let slack = Duration::from_millis(1);
    let short = takes(&mut wire, 10 * PACKET_PAYLOAD);
    assert!((least..most + slack).contains(&short), "{short:?}");
    let mut wire = lossless();
    let long = takes(&mut wire, 100_000);
    assert!((least * 7..most * 7 + slack).contains(&long), "{long:?}");
    assert!(long > short * 2, "{long:?} after {short:?}");
}

#[test]
fn what_is_lost_of_a_message_comes_later_and_on_a_cut_line_never() {
    let settings = NetworkSettings {
        loss_per_mille: 500,
        ..NetworkSettings::default()
    };
    let mut wire = Wire::new(settings, 1, 2);
    let there = wire.first_message(Instant::ZERO, A, B, 20_000).unwrap();
    assert!(there.saturating_since(Instant::ZERO) > Duration::from_millis(30));
    assert!(wire.inflict(&Fault::Cut(A, B)));
    assert_eq!(wire.first_message(there, A, B, 20_000), None);
    assert_eq!(wire.dial(there, A, B), None);
    assert!(wire.inflict(&Fault::HealLinks));
    assert!(wire.dial(there, A, B).is_some());
}
