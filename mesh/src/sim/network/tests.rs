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

/// A join that is lost is sent again: one in a hundred is late, and none in a few thousand is gone.
#[test]
fn what_is_lost_of_a_join_is_sent_again() {
    let mut network = Network::new(NetworkSettings::default(), 1, 2);
    let pause = Duration::from_millis(90);
    let joins = (0..2000).map(|_| network.carry_of_join(A, B, pause));
    let after: Vec<Duration> = joins.flatten().collect();
    assert_eq!(after.len(), 2000);
    let late = after.iter().filter(|after| **after >= pause).count();
    assert!((10..=40).contains(&late), "{late}");
    network.cut(A, B);
    assert_eq!(network.carry_of_join(A, B, pause), None);
}
