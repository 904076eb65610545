//! One run.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Result;
use slotmesh_mesh::counters::Counters;
use slotmesh_mesh::sim::Simulation;
use slotmesh_mesh::sim::scenario::{self, Outcome, Scenario};

/// Runs a scenario once and prints what it came to.
pub fn run(name: &str, seed: u64) -> Result<bool> {
    let scenario = crate::scenarios::load(name)?;
    let begin = Instant::now();
    let (outcome, simulation) = scenario::run(&scenario, seed)?;
    let took = begin.elapsed();
    println!("{}: {}", name, scenario.title);
    print(&scenario, &outcome, &simulation);
    let simulated = scenario.settle + scenario.run;
    println!(
        "time            {simulated:?} simulated in {:.2} s: {:.1} x real time, {:.2} M inputs/s",
        took.as_secs_f64(),
        times_real(simulated, took),
        outcome.inputs as f64 / took.as_secs_f64() / 1e6
    );
    Ok(verdict(&outcome))
}

/// How many times faster than real time.
pub fn times_real(simulated: Duration, took: Duration) -> f64 {
    simulated.as_secs_f64() / took.as_secs_f64().max(1e-9)
}

/// Prints what a run came to.
pub fn print(scenario: &Scenario, outcome: &Outcome, simulation: &Simulation) {
    println!(
        "seed            {} (digest {:016x})",
        outcome.seed, outcome.digest
    );
    println!(
        "faulty          {} of {}",
        outcome.faulty.len(),
        scenario.settings.members
    );
    if let (Some(first), Some(last)) = (outcome.agreed_after.first(), outcome.agreed_after.last()) {
        let half = outcome.agreed_after.get(outcome.agreed_after.len() / 2);
        println!(
            "agreement       {} of {}: first {first:?}, median {:?}, last {last:?}",
            outcome.agreed_after.len(),
            outcome.survivors,
            half.copied().unwrap_or_default(),
        );
    }
    println!(
        "maps            {} changes, {} removals, {} of them of others than the faulty",
        outcome.changes,
        outcome.removals.len(),
        outcome.healthy_removed
    );
    for change in simulation.map_changes().iter().take(10) {
        println!(
            "  at {:>9.3} s  epoch {}: {} admitted, {} removed, {} slots moved",
            change.at.as_micros() as f64 / 1e6,
            change.epoch,
            change.admitted.len(),
            change.removed.len(),
            change.slots_moved
        );
    }
    println!(
        "traffic         {} B/s a member, {} B/s the busiest",
        outcome.traffic_mean, outcome.traffic_most
    );
    print_counters(simulation);
    let names: Vec<String> = outcome.reached.0.iter().map(|state| state.name()).collect();
    println!("came by         {}", names.join(", "));
}

/// What a member that lives at the end did since it started: the mean over all.
fn print_counters(simulation: &Simulation) {
    let meshes = || {
        simulation
            .node_ids()
            .filter_map(|node| simulation.mesh(node))
    };
    let members = meshes().count().max(1) as f64;
    let mean = |what: fn(&Counters) -> u64| {
        meshes().map(|mesh| what(mesh.counters())).sum::<u64>() as f64 / members
    };
    println!(
        "each member     {:.1} statements signed, {:.0} received ({:.0} with copies), {:.1} summaries, {:.1} verdicts, \
         {:.1} messages dropped",
        mean(|counted| counted.evidence_signed),
        mean(|counted| counted.evidence_received),
        mean(|counted| counted.evidence_copies),
        mean(|counted| counted.summaries_sent),
        mean(|counted| counted.verdicts),
        mean(|counted| counted.send_drops),
    );
    let mut refused: BTreeMap<&str, u64> = BTreeMap::new();
    for mesh in meshes() {
        for (cause, count) in &mesh.counters().refused {
            *refused.entry(cause).or_default() += count;
        }
    }
    if !refused.is_empty() {
        println!("refused by all  {refused:?}");
    }
}

/// Prints what was broken; says whether nothing was.
pub fn verdict(outcome: &Outcome) -> bool {
    for broken in &outcome.broken {
        println!("BROKEN          {broken}");
    }
    if outcome.broken.is_empty() {
        println!("all held");
    }
    outcome.broken.is_empty()
}
