#![allow(clippy::unwrap_used)]

use super::*;

fn network(settings: NetworkSettings) -> Network {
    Network::new(settings, 1, 4)
}

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);

#[test]
fn a_full_line_takes_its_time_and_then_drops() {
    let mut network = network(NetworkSettings {
        latency: Duration::ZERO,
        jitter: Duration::ZERO,
        loss_per_mille: 0,
        line_mbit: 8,
        line_queue_bytes: 10_000,
        ..NetworkSettings::default()
    });
    let bytes = 1000 - PACKET_OVERHEAD;
    // A megabyte a second: a packet takes a millisecond on each line.
    let arrivals: Vec<_> = (0..20)
        .map(|_| network.carry(Instant::ZERO, A, B, bytes).0)
        .collect();
    assert_eq!(arrivals.first().unwrap().unwrap().as_micros(), 2000);
    assert_eq!(arrivals.iter().flatten().count(), 11);
    assert_eq!(network.traffic(A).dropped, 9);
    assert_eq!(network.traffic(A).bytes, 20_000);
}

#[test]
fn loss_of_one_line_is_one_way() {
    let mut network = network(NetworkSettings {
        loss_per_mille: 0,
        ..NetworkSettings::default()
    });
    network.set_line_loss(B, 800, 0);
    let passed = (0..1000).filter(|_| network.passes(A, B)).count();
    assert!((150..250).contains(&passed), "{passed}");
    assert!((0..1000).all(|_| network.passes(B, A)));
    assert!(!network.is_whole());
    network.heal_all();
    assert!(network.is_whole() && (0..1000).all(|_| network.passes(A, B)));
}

#[test]
fn groups_are_cut_off_from_all_others() {
    let mut network = network(NetworkSettings::default());
    network.cut_off(&BTreeSet::from([A, B]));
    network.cut_off(&BTreeSet::from([B, NodeId(3)]));
    let open = |network: &Network, a, b| !network.is_cut(a, b);
    assert!(!open(&network, A, B) && !open(&network, B, NodeId(3)));
    assert!(!open(&network, A, NodeId(0)) && open(&network, NodeId(0), NodeId(4)));
    network.heal_all();
    assert!(open(&network, A, B));
}
