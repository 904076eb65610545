//! Stories that a cell lives through.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used
)]

mod crashes;
mod cuts;
mod departures;
mod detection;
mod figures;
mod pauses;
mod quiet;
mod random;
mod spreading;

use std::time::Duration;

use super::*;

/// A cell that has settled.
fn settled(seed: u64, members: u16) -> Simulation {
    let mut simulation = Simulation::new(Settings::new(seed, members)).unwrap();
    simulation.run_for(Duration::from_secs(3));
    simulation
}

fn assert_sound(simulation: &Simulation) {
    let seed = simulation.settings.seed;
    let violations = simulation.violations();
    assert!(violations.is_empty(), "seed {seed}: {violations:#?}");
}

/// A number that whoever runs the tests may give.
#[allow(clippy::disallowed_methods)] // how much a test does is its caller's to say
fn variable(name: &str) -> Option<u64> {
    let number = std::env::var(name).ok()?;
    Some(number.parse().unwrap())
}

/// How many seeds a test tries.
fn seeds(usual: u64) -> u64 {
    variable("SLOTMESH_SIM_SEEDS").unwrap_or(usual)
}

/// Kills processes at one moment; says who they were, sorted.
fn kill(simulation: &mut Simulation, victims: &[NodeId]) -> Vec<MemberId> {
    let ids = victims.iter().map(|victim| simulation.member_id(*victim));
    let mut killed: Vec<MemberId> = ids.map(Option::unwrap).collect();
    killed.sort();
    for victim in victims {
        simulation.inflict(&Fault::Crash(*victim));
    }
    killed
}

fn survivors(simulation: &Simulation, victims: &[NodeId]) -> Vec<NodeId> {
    let nodes = simulation.node_ids();
    nodes.filter(|node| !victims.contains(node)).collect()
}

/// Time from `since` until each of these nodes found exactly those members failed.
fn verdict_times(
    simulation: &Simulation,
    since: Instant,
    on: &[NodeId],
    dead: &[MemberId],
) -> Vec<Option<Duration>> {
    let found = |record: &&Record| match &record.event {
        Event::Verdict { failed, .. } => record.at >= since && failed == dead,
        _ => false,
    };
    let first = |node: &NodeId| {
        let mut own = simulation.events().iter().filter(|r| r.node == *node);
        own.find(found)
            .map(|record| record.at.saturating_since(since))
    };
    on.iter().map(first).collect()
}

/// Who came to a verdict, the operator included.
fn verdicts(simulation: &Simulation) -> Vec<NodeId> {
    let verdicts = simulation
        .events()
        .iter()
        .filter(|record| matches!(record.event, Event::Verdict { .. }));
    verdicts.map(|record| record.node).collect()
}
