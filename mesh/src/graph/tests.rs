#![allow(clippy::indexing_slicing)]

use std::collections::BTreeSet;

use super::*;
use slotmesh_map::fixture::{map, uid};

#[test]
fn everybody_has_its_number_of_distinct_observers() {
    for count in [1_u16, 2, 3, 5, 10, 11, 12, 30, 100, 300] {
        let graph = Graph::of(&map(count));
        let expected = 10.min(usize::from(count) - 1);
        for member in graph.members() {
            let observers: BTreeSet<_> = graph.observers(member).iter().collect();
            assert_eq!(observers.len(), expected, "n = {count}");
            assert!(!observers.contains(&member));
            for observer in graph.observers(member) {
                assert!(graph.subjects(*observer).contains(&member));
            }
        }
    }
}

/// As `docs/protocol.md` shows it: another hash is another graph.
#[test]
fn a_ring_is_sorted_by_this_hash() {
    let uid = Uid::from_bytes(1_u128.to_be_bytes());
    assert_eq!(hash(0, uid), 0x1189_20b1_709e_361f);
}

#[test]
fn connections_stay_within_the_limit() {
    for count in [30_u16, 100, 300, 1000] {
        let graph = Graph::of(&map(count));
        for member in graph.members() {
            let mut peers: BTreeSet<Uid> = graph.observers(member).iter().copied().collect();
            peers.extend(graph.subjects(member));
            assert!(
                peers.len() <= limits::CONNECTIONS_MAX,
                "n = {count}: {}",
                peers.len()
            );
        }
    }
}

#[test]
fn the_graph_does_not_depend_on_slots_epoch_or_failed_members() {
    let mut changed = map(30);
    changed.epoch = 777;
    changed.members[3].owners.clear();
    let observers = |graph: &Graph| -> Vec<Vec<Uid>> {
        let all = graph.members().map(|uid| graph.observers(uid).to_vec());
        all.collect()
    };
    assert_eq!(
        observers(&Graph::of(&map(30))),
        observers(&Graph::of(&changed))
    );
    changed.members[4].failed = true;
    let graph = Graph::of(&changed);
    assert_eq!(graph.len(), 29);
    assert!(
        graph
            .members()
            .all(|member| !graph.observers(member).contains(&uid(4)))
    );
}

#[test]
fn voters_are_odd_and_at_most_seven() {
    for (count, voters) in [
        (1, 1),
        (2, 1),
        (3, 3),
        (4, 3),
        (5, 5),
        (6, 5),
        (7, 7),
        (100, 7),
    ] {
        assert_eq!(Graph::of(&map(count)).voters().len(), voters, "n = {count}");
    }
}

#[test]
fn a_ring_is_walked_from_the_successor_round_to_the_predecessor() {
    let graph = Graph::of(&map(8));
    for ring in 0..limits::RINGS {
        let order = graph.ring(ring);
        for (position, uid) in order.iter().enumerate() {
            let walked: Vec<Uid> = graph.after(*uid, ring).collect();
            let expected = [&order[position + 1..], &order[..position]].concat();
            assert_eq!(walked, expected);
        }
    }
    assert_eq!(graph.after(uid(99), 0).count(), 0);
}

/// All members of a cell must compute the same graph, also those of another release.
#[test]
fn golden_rings() {
    let graph = Graph::of(&map(8));
    let position = |uid: &Uid| map(8).members.iter().position(|m| m.uid == *uid);
    let ring =
        |ring: usize| -> Vec<usize> { graph.ring(ring).iter().filter_map(position).collect() };
    assert_eq!(ring(0), [4, 1, 7, 0, 6, 3, 5, 2]);
    assert_eq!(ring(9), [0, 4, 1, 7, 2, 5, 3, 6]);
}

/// On each ring in turn the nearest predecessor that does not observe yet.
#[test]
fn observers_are_predecessors_walking_on_past_duplicates() {
    for count in [2_u16, 11, 12, 30, 100] {
        let graph = Graph::of(&map(count));
        for member in graph.members() {
            let mut expected: Vec<Uid> = Vec::new();
            for ring in (0..10)
                .take(usize::from(count) - 1)
                .map(|ring| graph.ring(ring))
            {
                let own = ring.iter().position(|uid| *uid == member).unwrap_or(0);
                let steps =
                    (1..ring.len()).map(|step| ring[(own + ring.len() - step) % ring.len()]);
                expected.extend(
                    steps
                        .filter(|uid| !expected.contains(uid))
                        .take(1)
                        .collect::<Vec<_>>(),
                );
            }
            assert_eq!(graph.observers(member), expected, "n = {count}");
        }
    }
}

#[test]
fn the_operator_observes_who_takes_part_in_a_small_cell() {
    let mut small = map(3);
    small.members[1].failed = true;
    let graph = Graph::of(&small);
    assert!(graph.operator_observes(uid(0)));
    assert!(!graph.operator_observes(uid(1)), "failed already");
    assert!(!graph.operator_observes(uid(7)), "not listed");
    assert!(!Graph::of(&map(4)).operator_observes(uid(0)));
}
