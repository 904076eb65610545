//! Many die at once.

use std::time::Duration;

use anyhow::Result;
use slotmesh_mesh::sim::Simulation;
use slotmesh_mesh::sim::scenario::{self, Outcome};

use super::{Bench, NETWORK, NEVER, scenario, seconds};

/// Runs of each size that the aim of P3m is for.
const RUNS: u64 = 1000;
/// Parts of those runs at 1000 members, where all of them are hours of two cores.
const PARTS: u64 = 4;

/// P3m: many die at once, while some edges are reported falsely.
pub(super) fn mass_death(bench: &mut Bench) -> Result<()> {
    for n in bench.sizes(&[10, 30, 100]) {
        for percent in [33, 49] {
            let allowed = if n == 100 { 5.0 } else { 0.0 };
            some_die(bench, n, percent, (1, RUNS), allowed)?;
        }
    }
    Ok(())
}

/// P3m at 1000 members, a part of the seeds: 20 to 30 minutes of two cores. What is allowed in all runs is shared out among
/// the parts.
pub(super) fn part_of_large(bench: &mut Bench, percent: u32, part: u64) -> Result<()> {
    for n in bench.sizes(&[1000]) {
        let runs = RUNS / PARTS;
        let first = (part - 1) * runs + 1;
        some_die(bench, n, percent, (first, runs), 10.0 / PARTS as f64)?;
    }
    Ok(())
}

/// With so many seeds from the first one on; of their runs a few may remove a healthy member.
fn some_die(
    bench: &mut Bench,
    n: u16,
    percent: u32,
    (first, runs): (u64, u64),
    allowed: f64,
) -> Result<()> {
    let dead = u32::from(n) * percent / 100;
    let text = format!(
        "title P3m, {dead} of {n}\nnodes {n}\n{NETWORK}run 5s\nat 0s false-reports 2%\n\
         at 0s crash some {dead}\nhold changes at-most 2\n"
    );
    let seeds = bench.seeds(runs, 20);
    let outcomes = bench.outcomes_from(&text, first, seeds)?;
    let is_hurt = |outcome: &&Outcome| outcome.healthy_removed > 0;
    let is_late = |outcome: &&Outcome| {
        let found = outcome
            .removals
            .iter()
            .filter(|(node, _)| outcome.faulty.contains(node));
        found.count() < outcome.faulty.len() || outcome.changes > 2
    };
    let count = |what: &dyn Fn(&&Outcome) -> bool| outcomes.iter().filter(what).count();
    // A member may find a healthy one failed for a moment, and no map comes of it.
    let is_broken =
        |outcome: &&Outcome| !outcome.broken.is_empty() && !is_hurt(outcome) && !is_late(outcome);
    let part = match runs {
        RUNS => String::new(),
        _ => format!(", seeds from {first}"),
    };
    let table = &mut bench.table;
    for (what, value, aim) in [
        ("with dead left, or over two maps", count(&is_late), 0.0),
        (
            "in which a healthy one is removed",
            count(&is_hurt),
            allowed,
        ),
    ] {
        let case = format!("P3m {dead} of {n} die{part}: runs {what}");
        table.at_most(case, value as f64, "", aim);
        table.note(format!(
            "{seeds} seeds, {first} to {}; {} more broke a rule, and no map shows it",
            first + seeds - 1,
            count(&is_broken)
        ));
    }
    Ok(())
}

/// Traffic of a member at rest that counts as steady, in KB/s: the aim of P5.
const STEADY: f64 = 9.0;

/// What half a cell's death came to.
struct Half {
    outcome: Outcome,
    /// KB/s that a member that lives sends from 10 to 15 s after it: the mean.
    later: f64,
}

/// P6: half of a large cell dies.
pub(super) fn half_dies(bench: &mut Bench) -> Result<()> {
    for n in bench.sizes(&[100, 1000, 2000]) {
        if n == 100 && !bench.quick {
            continue;
        }
        let text = format!(
            "title P6, n = {n}\nnodes {n}\n{NETWORK}freeze-above 33%\nrun 5s\nat 0s crash some 49%\n"
        );
        let scenario = scenario(&text)?;
        let name = format!("P6, n = {n}");
        // A run of 2000 takes ten minutes of a core.
        let seeds = if n > 1000 { 1 } else { bench.seeds(2, 1) };
        let seeds = usize::try_from(seeds)?;
        let run = |number: usize| -> Result<Half> {
            let (outcome, mut simulation) = scenario::run(&scenario, number as u64 + 1)?;
            simulation.run_for(Duration::from_secs(5));
            let before = sent(&simulation, &outcome);
            simulation.run_for(Duration::from_secs(5));
            let later = (sent(&simulation, &outcome) - before) / 5.0 / outcome.survivors as f64;
            Ok(Half { outcome, later })
        };
        let halves = crate::sweep::on_all_cores(&name, "seeds", seeds, Some(1), run, |half| {
            !half.outcome.broken.is_empty()
        })?;
        half_rows(bench, n, &halves);
    }
    Ok(())
}

/// KB that all who live have sent.
fn sent(simulation: &Simulation, outcome: &Outcome) -> f64 {
    let living = simulation.node_ids();
    let living = living.filter(|node| !outcome.faulty.contains(node));
    living
        .map(|node| simulation.traffic(node).bytes as f64 / 1024.0)
        .sum()
}

fn half_rows(bench: &mut Bench, n: u16, halves: &[Half]) {
    let worst = |value: &dyn Fn(&Outcome) -> f64| {
        let values = halves.iter().map(|half| value(&half.outcome));
        values.fold(0.0, f64::max)
    };
    let first = worst(&|o| seconds(o.removals.first().map_or(NEVER, |(_, after)| *after)));
    let gone = worst(&|o| {
        let last = o.removals.last().map(|(_, after)| *after);
        let all = o
            .faulty
            .iter()
            .all(|node| o.removals.iter().any(|(gone, _)| gone == node));
        seconds(last.filter(|_| all).unwrap_or(NEVER))
    });
    let changes = worst(&|o| o.changes as f64);
    let kb = |bytes: u64| bytes as f64 * 5.0 / 1024.0;
    // The dead send nothing, and the mean is over all.
    let of_the_living = |o: &Outcome| (o.faulty.len() + o.survivors) as f64 / o.survivors as f64;
    let mean = worst(&|o| kb(o.traffic_mean) * of_the_living(o));
    let most = worst(&|o| kb(o.traffic_most));
    let later = halves.iter().map(|half| half.later).fold(0.0, f64::max);
    let healthy: usize = halves.iter().map(|half| half.outcome.healthy_removed).sum();
    let note = format!(
        "the worst of {} seeds; {healthy} healthy removed",
        halves.len()
    );
    for (what, value, unit, aim) in [
        ("first change", first, "s", Some(3.0)),
        ("all gone", gone, "s", Some(5.0)),
        ("changes", changes, "", Some(2.0)),
        ("sent in 5 s by a member, mean", mean, "KB", None),
        ("sent in 5 s by the busiest", most, "KB", Some(256.0)),
        (
            "sent a second from 10 to 15 s, mean",
            later,
            "KB/s",
            Some(STEADY),
        ),
    ] {
        let case = format!("P6 49 % of {n} die: {what}");
        match aim {
            Some(aim) => bench.table.at_most(case, value, unit, aim),
            None => bench.table.plain(case, value, unit),
        }
        bench.table.note(note.clone());
    }
}
