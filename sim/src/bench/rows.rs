//! The rows, one function each.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::Result;
use slotmesh_mesh::graph::Graph;
use slotmesh_mesh::identity::Uid;
use slotmesh_mesh::limits;
use slotmesh_mesh::machine::Event;
use slotmesh_mesh::map::Map;
use slotmesh_mesh::sim::OPERATOR;
use slotmesh_mesh::sim::scenario::{self, Outcome};

use super::{Bench, NETWORK, NEVER, edge_model, percentile, scenario, seconds};

/// P1: a silent crash, known to all.
pub(super) fn crash(bench: &mut Bench) -> Result<()> {
    let mut at_100 = None;
    for n in bench.sizes(&[10, 100, 1000, 5000]) {
        let seeds = match n {
            10 | 100 => bench.seeds(100, 10),
            1000 => bench.seeds(20, 2),
            _ => bench.seeds(3, 1),
        };
        let text = format!("title P1, n = {n}\nnodes {n}\n{NETWORK}run 3s\nat 0s crash some 1\n");
        let outcomes = bench.outcomes(&text, seeds)?;
        let (times, never) = agreement(&outcomes);
        let note =
            format!("{seeds} seeds, the last survivor of each; {never} runs without agreement");
        let (half, most) = (percentile(&times, 50), percentile(&times, 99));
        let table = &mut bench.table;
        table.at_most(
            format!("P1 silent crash, verdict on all, n = {n}, p50"),
            half,
            "s",
            0.8,
        );
        table.note(note.clone());
        table.at_most(
            format!("P1 silent crash, verdict on all, n = {n}, p99"),
            most,
            "s",
            1.2,
        );
        table.note(note);
        if n == 100 {
            at_100 = Some(half);
        }
        if let (5000, Some(small)) = (n, at_100) {
            table.at_most(
                "P1 p50 at n = 5000 over that at 100",
                half / small,
                "times",
                1.2,
            );
        }
    }
    Ok(())
}

/// When the last survivor of each run agreed, sorted, and how many runs never got there.
pub(super) fn agreement(outcomes: &[Outcome]) -> (Vec<Duration>, usize) {
    let last = |outcome: &Outcome| {
        let last = outcome.agreed_after.last();
        let all = outcome.agreed_after.len() == outcome.survivors;
        last.copied().filter(|_| all).unwrap_or(NEVER)
    };
    let mut times: Vec<Duration> = outcomes.iter().map(last).collect();
    times.sort();
    let never = times.iter().filter(|time| **time == NEVER).count();
    (times, never)
}

fn healthy_removed(outcomes: &[Outcome]) -> usize {
    outcomes.iter().map(|outcome| outcome.healthy_removed).sum()
}

/// Members of P2's cell, and minutes of each of its runs.
const LOSSY_CELL: (u32, u32) = (30, 30);
const BEATS_A_DAY: f64 = 24.0 * 3600.0 * 5.0;

/// Runs at that loss in per cent: how many members are removed, and in how many node-days.
fn lossy(bench: &Bench, share: u32, seeds: u64) -> Result<(usize, f64)> {
    let (n, minutes) = LOSSY_CELL;
    let text = format!(
        "title P2, {share} % loss\nnodes {n}\nnetwork latency 200us jitter 100us loss {share}%\nrun {minutes}m\n"
    );
    let outcomes = bench.outcomes(&text, seeds)?;
    let removed = outcomes.iter().map(|outcome| outcome.removals.len()).sum();
    let days = seeds as f64 * f64::from(n * minutes) / (24.0 * 60.0);
    Ok((removed, days))
}

/// P2: nobody is removed because packets are lost.
pub(super) fn loss(bench: &mut Bench) -> Result<()> {
    // 1,000 node-days are 1,600 such runs.
    let seeds = bench.seeds(1600, 8);
    let (removed, days) = lossy(bench, 10, seeds)?;
    let table = &mut bench.table;
    let case = "P2 false removals, 10 % loss each way";
    table.at_most(case, removed as f64, "", 0.0);
    table.note(format!("{days:.0} node-days, {seeds} seeds"));
    let computed = edge_model::removals_per_beat_at_most(0.1) * BEATS_A_DAY * 1e5;
    let case = "P2 false removals in 1e5 node-days at 10 % loss, computed";
    table.at_most(case, computed, "", 0.01);
    table.note("edge model: 7 of 10 edges failed at once");
    Ok(())
}

/// P2: simulator and edge model remove as many, where that is often enough to be counted.
pub(super) fn loss_model(bench: &mut Bench) -> Result<()> {
    let (n, minutes) = LOSSY_CELL;
    let cell = format!("title a cell\nnodes {n}\n{NETWORK}settle 0s\nrun 0s\n");
    let (_, cell) = scenario::run(&scenario(&cell)?, 1)?;
    // Runs of the simulator, and of the model. Some ninety are removed in one at 30 %, at 40 % one or so: half of those in
    // its first minute, before so many edges have failed that no majority is left to claim anything. So both begin anew
    // each half hour.
    for (share, seeds, model_seeds) in [(30, 2, 20), (35, 2, 20), (40, 32, 240)] {
        let seeds = bench.seeds(seeds, 1);
        let (removed, days) = lossy(bench, share, seeds)?;
        let loss = f64::from(share) / 100.0;
        let beats = BEATS_A_DAY / (24.0 * 60.0) * f64::from(minutes);
        let model = |seed| edge_model::removals(cell.record().map(), loss, beats as u64, seed);
        let modelled: usize = (1..=model_seeds).map(model).sum();
        let counted = removed as f64 / days;
        let modelled = modelled as f64 / (days / seeds as f64 * model_seeds as f64);
        let table = &mut bench.table;
        table.plain(
            format!("P2 false removals, {share} % loss each way"),
            removed as f64,
            "",
        );
        table.note(format!(
            "{days:.1} node-days, {seeds} seeds: {counted:.2} a node-day, the edge model {modelled:.2}"
        ));
        let apart = (counted / modelled).max(modelled / counted);
        table.at_most(
            format!("P2 simulator and edge model apart, {share} % loss"),
            // Too few to compare is no agreement.
            if removed < 30 { 999.0 } else { apart },
            "times",
            2.0,
        );
    }
    Ok(())
}

/// P2s: members that stand still.
pub(super) fn stalls(bench: &mut Bench) -> Result<()> {
    let seeds = bench.seeds(2, 1);
    let minutes = if bench.quick { 5 } else { 60 };
    let times = minutes * 30 - 1;
    let text = format!(
        "title P2s, short\nnodes 100\n{NETWORK}run {minutes}m\n\
         at 0s for 500ms every 2s times {times} pause any 30%\n"
    );
    let outcomes = bench.outcomes(&text, seeds)?;
    let removed: usize = outcomes.iter().map(|outcome| outcome.removals.len()).sum();
    let note = format!("{seeds} seeds of {minutes} min, n = 100, every 2 s others");
    bench.table.at_most(
        "P2s removals, 30 % stalled 0.5 s again and again",
        removed as f64,
        "",
        0.0,
    );
    bench.table.note(note);

    let seeds = bench.seeds(100, 5);
    let text =
        format!("title P2s, long\nnodes 100\n{NETWORK}run 20s\nat 0s for 3s pause some 10%\n");
    let outcomes = bench.outcomes(&text, seeds)?;
    let note = format!("{seeds} seeds, n = 100");
    bench.table.at_most(
        "P2s others removed, 10 % stalled 3 s",
        healthy_removed(&outcomes) as f64,
        "",
        0.0,
    );
    bench.table.note(note);
    Ok(())
}

/// P3: Rapid's three faults, each a row of its own: one takes half an hour of two cores.
pub(super) fn rapid_in(bench: &mut Bench) -> Result<()> {
    let fault = "at 0s lose-in 80% some 1%";
    rapid(bench, "80 % of what arrives lost", fault)
}

/// P3: see [`rapid_in`].
pub(super) fn rapid_out(bench: &mut Bench) -> Result<()> {
    let fault = "at 0s lose-out 80% some 1%";
    rapid(bench, "80 % of what leaves lost", fault)
}

/// P3: see [`rapid_in`].
pub(super) fn rapid_switch(bench: &mut Bench) -> Result<()> {
    let name = "one-way cut of all that arrives, 20 s on and off";
    rapid(bench, name, "at 0s for 20s every 40s times 15 deaf some 1%")
}

fn rapid(bench: &mut Bench, name: &str, fault: &str) -> Result<()> {
    let n = if bench.quick { 100 } else { 1000 };
    let text = format!(
        "title P3, {name}\nnodes {n}\n{NETWORK}admission off\nrun 10m\n{fault}\n\
         hold exactly faulty removed within 5s\n"
    );
    let seeds = bench.seeds(100, 1);
    let outcomes = bench.outcomes(&text, seeds)?;
    let wrong = outcomes.iter().filter(|o| !o.broken.is_empty()).count();
    let healthy = healthy_removed(&outcomes);
    let missing: usize = outcomes
        .iter()
        .map(|o| o.faulty.len().saturating_sub(o.removals.len()))
        .sum();
    let case = format!("P3 runs not as promised, {name}");
    bench.table.at_most(case, wrong as f64, "", 0.0);
    bench.table.note(format!(
        "{seeds} seeds of 10 min, n = {n}; {missing} faulty never removed, {healthy} healthy removed"
    ));
    Ok(())
}

/// P4: a map change on all.
pub(super) fn map_change(bench: &mut Bench) -> Result<()> {
    let n = if bench.quick { 100 } else { 1000 };
    for (share, aim) in [(1, 25.0), (5, 250.0)] {
        let seeds = bench.seeds(10, 2);
        let (times, missing, copies, _) = changes(n, share, seeds)?;
        let note = format!("{seeds} seeds, {missing} never within 3 s");
        let table = &mut bench.table;
        let p99 = percentile(&times, 99) * 1000.0;
        table.at_most(
            format!("P4 map change on {n}, {share} % loss, p99"),
            p99,
            "ms",
            aim,
        );
        table.note(note.clone());
        table.at_most(
            format!("P4 copies of the body a member, {share} % loss"),
            copies,
            "",
            2.0,
        );
        table.note(note);
    }
    Ok(())
}

/// P4z: copies between zones.
pub(super) fn zones(bench: &mut Bench) -> Result<()> {
    let n = if bench.quick { 99 } else { 999 };
    let seeds = bench.seeds(5, 2);
    let (_, _, copies, between) = changes(n, 1, seeds)?;
    let note = format!("{seeds} seeds; {:.0} copies in all", copies * f64::from(n));
    bench.table.at_most(
        format!("P4z copies of a map between three zones of {}", n / 3),
        between,
        "",
        10.0,
    );
    bench.table.note(note);
    let text = format!("title a cell\nnodes {n}\n{NETWORK}settle 0s\nrun 0s\n");
    let (_, cell) = scenario::run(&scenario(&text)?, 1)?;
    bench.table.plain(
        "P4z the same by a zone-blind flood, computed",
        zone_blind_flood(cell.record().map()) as f64,
        "",
    );
    let rings = limits::FANOUT_MANY_DEAD;
    bench
        .table
        .note(format!("each member to its successors on {rings} rings"));
    Ok(())
}

/// Copies that cross a border between zones when each member passes a map to its successors on a few rings.
fn zone_blind_flood(map: &Map) -> usize {
    let graph = Graph::of(map);
    let zone = |uid: Uid| graph.member(map, uid).map(|member| &member.zone);
    let successors = |member: Uid| {
        let rings = 0..limits::FANOUT_MANY_DEAD;
        let next = rings.filter_map(|ring| graph.after(member, ring).next());
        next.collect::<BTreeSet<Uid>>()
    };
    let crossing = |member: Uid| {
        let all = successors(member);
        all.into_iter()
            .filter(|uid| zone(*uid) != zone(member))
            .count()
    };
    graph.members().map(crossing).sum()
}

/// A member leaves: when the map without it is in force at each other, bodies a member was sent, and bodies that
/// crossed a border of zones.
fn changes(n: u16, share: u32, seeds: u64) -> Result<(Vec<Duration>, usize, f64, f64)> {
    let text = format!(
        "title map change\nnodes {n}\nnetwork latency 200us jitter 100us loss {share}%\nrun 4s\nat 0s leave some 1\n"
    );
    let scenario = scenario(&text)?;
    let (mut times, mut missing, mut copies, mut between) = (Vec::new(), 0, 0, 0);
    for seed in 1..=seeds {
        let (_, simulation) = scenario::run(&scenario, seed)?;
        let Some(change) = simulation.map_changes().first() else {
            missing += usize::from(n) - 1;
            times.extend(std::iter::repeat_n(NEVER, usize::from(n) - 1));
            continue;
        };
        let applied = simulation.events().iter().filter(|record| {
            record.event
                == Event::MapApplied {
                    epoch: change.epoch,
                }
                && record.node != OPERATOR
        });
        let before = times.len();
        times.extend(applied.map(|record| record.at.saturating_since(change.at)));
        let late = (usize::from(n) - 1).saturating_sub(times.len() - before);
        missing += late;
        times.extend(std::iter::repeat_n(NEVER, late));
        for mesh in simulation
            .node_ids()
            .filter_map(|node| simulation.mesh(node))
        {
            let counters = mesh.counters();
            copies += counters.maps_received;
            between += counters.maps_received_from_other_zones;
        }
    }
    times.sort();
    let runs = seeds as f64;
    Ok((
        times,
        missing,
        copies as f64 / runs / f64::from(n),
        between as f64 / runs,
    ))
}

/// P6b: all start together.
pub(super) fn joins(bench: &mut Bench) -> Result<()> {
    for n in bench.sizes(&[100, 1000]) {
        let text =
            format!("title P6b, n = {n}\nnodes {n}\nfounders 3\n{NETWORK}settle 1s\nrun 9s\n");
        let seeds = bench.seeds(2, 1);
        let outcomes = bench.outcomes(&text, seeds)?;
        let slowest = outcomes
            .iter()
            .map(|outcome| outcome.everybody_member_after);
        // One that never got there is slower than all.
        let slowest = slowest
            .map(|after| seconds(after.unwrap_or(NEVER)))
            .fold(0.0, f64::max);
        let changes = outcomes
            .iter()
            .map(|outcome| outcome.changes)
            .max()
            .unwrap_or(0);
        let note = format!(
            "{} seeds; the model operator admits without reviews of tokens",
            outcomes.len()
        );
        bench.table.at_most(
            format!("P6b {n} start together: all admitted"),
            slowest,
            "s",
            5.0,
        );
        bench.table.note(note.clone());
        bench.table.at_most(
            format!("P6b {n} start together: changes"),
            changes as f64,
            "",
            3.0,
        );
        bench.table.note(note);
    }
    Ok(())
}

/// P10: the simulator itself, on one core.
pub(super) fn speed(bench: &mut Bench) -> Result<()> {
    let n = if bench.quick { 100 } else { 1000 };
    let text = format!("title P10\nnodes {n}\n{NETWORK}settle 3s\nrun 0s\n");
    let begin = Instant::now();
    scenario::run(&scenario(&text)?, 1)?;
    let start = begin.elapsed();
    let time = Duration::from_secs(20);
    let text = format!(
        "title P10\nnodes {n}\n{NETWORK}settle 3s\nrun {}s\n",
        time.as_secs()
    );
    let begin = Instant::now();
    scenario::run(&scenario(&text)?, 1)?;
    let took = begin.elapsed().saturating_sub(start);
    let times = crate::run::times_real(time, took);
    let note = format!("start and settling ({:.1} s) apart", seconds(start));
    bench.table.at_least(
        format!("P10 simulator, {n} members steady"),
        times,
        "x",
        100.0,
    );
    bench.table.note(note);
    Ok(())
}
