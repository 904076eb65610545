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
