#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use slotmesh_mesh::sim::Fault;

use super::*;
use crate::peers::crash::LOOPBACK;
use crate::peers::world::World;

fn world(seed: u64, members: u16) -> World<Foca> {
    World::new(LOOPBACK, seed, members, |own, rng| {
        Foca::new(own, members, rng)
    })
}

#[test]
fn nobody_is_declared_dead_where_all_is_well_and_no_input_is_refused() {
    let mut world = world(1, 30);
    world.run_for(Duration::from_secs(70));
    assert_eq!(world.events(), []);
    for node in 1..=30 {
        assert_eq!(world.protocol(NodeId(node)).unwrap().refused(), 0);
    }
}

#[test]
fn one_seed_is_one_run_and_all_learn_of_a_death() {
    let run = |seed| {
        let mut world = world(seed, 10);
        world.run_for(Duration::from_secs(5));
        world.inflict(&Fault::Crash(NodeId(3)));
        world.run_for(Duration::from_secs(30));
        assert_eq!(world.dropped(), 0);
        (world.digest(), world.events().to_vec())
    };
    let one = run(7);
    assert_eq!(one.1.len(), 9);
    assert!(one.1.iter().all(|e| e.dead && e.of == NodeId(3)));
    // A probe of 1 s that fails, and a suspicion of 4 s: not before 5 s.
    let first = one.1[0]
        .at
        .saturating_since(Instant::ZERO + Duration::from_secs(5));
    let seconds = first.as_secs_f64();
    assert!((5.0..8.0).contains(&seconds), "after {seconds} s");
    assert_eq!(one, run(7));
    assert_ne!(one.0, run(8).0);
}
