#![allow(clippy::unwrap_used)]

use slotmesh_mesh::sim::NetworkSettings;

use super::*;

fn wire(latency: Duration) -> Wire {
    let settings = NetworkSettings {
        latency,
        jitter: Duration::ZERO,
        loss_per_mille: 0,
        ..NetworkSettings::default()
    };
    Wire::new(settings, 1, 2)
}

/// Each millisecond of latency is paid as often as a packet waits for another one.
#[test]
fn a_fetch_of_87_packets_waits_eight_latencies() {
    let fetch = Fetch {
        request: 1000,
        answer: 100_000,
        members: 1000,
    };
    let takes = |latency| {
        let mut wire = wire(latency);
        let done = fetch.ask(&mut wire, Instant::ZERO).unwrap();
        done.saturating_since(Instant::ZERO)
    };
    let (near, far) = (takes(Duration::ZERO), takes(Duration::from_millis(10)));
    let travelled = far.saturating_sub(near).as_millis();
    // The request 1; flights of 10, 20, 40 with their acknowledgements 6; the last one 1.
    assert!((79..=81).contains(&travelled), "{travelled} ms");
    assert!(near > Duration::from_millis(5), "work costs time: {near:?}");
}

#[test]
fn all_sizes_are_measured() {
    let mut bench = Bench::new(true, None);
    sizes(&mut bench).unwrap();
    let rows = bench.table.rows;
    assert_eq!(rows.len(), 3 * SIZES.len() + 2);
    assert!(
        rows.iter()
            .all(|row| row.case.starts_with("P4b ") && row.value > 0.0)
    );
    assert_eq!(rows.iter().filter(|row| row.aim_met.is_some()).count(), 5);
}
