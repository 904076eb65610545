//! Lifeguard's grid: members that are blocked again and again, and what the others make of each other meanwhile.
//!
//! After the evaluation of Dadgar, Phillips and Currey, "Lifeguard: Local Health Awareness for More Accurate Failure
//! Detection" (DSN 2018, arXiv 1707.00788): of 128 members C are blocked for D, all at once, then run for I, again and
//! again for two minutes. The values of C, D and I are ours. The paper blocks what a member sends and receives; here the
//! whole process stands still, as by SIGSTOP, and its timers with it.
//!
//! Counted are members that were never blocked and that somebody came to hold for dead: pairs of both. "FP" is about
//! anybody who does so, "FP-" about those who were never blocked themselves. Of ours, who is removed by a map is held for
//! dead by all.
//!
//! A member that goes on finds what waited at its socket first, or its timers first: runtimes differ, so every point is
//! played in both orders, the same on both sides.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use slotmesh_mesh::machine::Event;
use slotmesh_mesh::sim::scenario::{self, Outcome};
use slotmesh_mesh::sim::{Fault, NodeId, OPERATOR, Simulation};
use slotmesh_report::series::{Line, Series};

use super::{Bench, NETWORK, scenario};
use crate::peers::memberlist::Memberlist;
use crate::peers::world::World;

const MEMBERS: u16 = 128;
/// Members that are blocked.
const BLOCKED: [u16; 4] = [4, 8, 16, 32];
/// Milliseconds for which they are.
const BLOCKED_MS: [u64; 5] = [128, 512, 2048, 8192, 32768];
/// Milliseconds for which they run between.
const BETWEEN_MS: [u64; 4] = [16, 256, 1024, 16384];
const RUN: Duration = Duration::from_secs(120);
/// Before the first block.
const SETTLE: Duration = Duration::from_secs(15);
/// Below it ours must be none.
const FEW: usize = 10;

/// A point of the grid.
#[derive(Clone, Copy, Debug)]
struct Point {
    blocked: u16,
    blocked_ms: u64,
    between_ms: u64,
    timers_first: bool,
}

/// Healthy members that are held for dead: pairs of (who, of whom).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Pairs {
    by_anybody: usize,
    by_healthy: usize,
}

/// False positives on both sides.
#[derive(Clone, Copy, Debug)]
struct Counted {
    point: Point,
    ours: Pairs,
    theirs: Pairs,
}

/// P2g: on every point, both sides with the same seed and the same members blocked.
pub(super) fn grid(bench: &mut Bench) -> Result<()> {
    let all = points();
    let points: Vec<Point> = if bench.quick {
        all.into_iter().step_by(13).collect()
    } else {
        all
    };
    let run = |number: usize| {
        let point = points.get(number).copied().context("no such point")?;
        measure(point, number as u64 + 1)
    };
    let worse = |counted: &Counted| counted.ours.by_anybody * 10 > counted.theirs.by_anybody;
    let counted = crate::sweep::on_all_cores("P2g", "points", points.len(), None, run, worse)?;
    rows(bench, &counted);
    if bench.quick {
        println!("  no file for the plot: shortened");
        return Ok(());
    }
    let folder = slotmesh_report::folder().join("series");
    series(&counted).write(&folder, "lifeguard-grid")?;
    Ok(())
}

fn points() -> Vec<Point> {
    let mut points = Vec::new();
    for timers_first in [false, true] {
        for blocked in BLOCKED {
            for blocked_ms in BLOCKED_MS {
                points.extend(BETWEEN_MS.map(|between_ms| Point {
                    blocked,
                    blocked_ms,
                    between_ms,
                    timers_first,
                }));
            }
        }
    }
    points
}

fn rows(bench: &mut Bench, counted: &[Counted]) {
    let note = format!(
        "{} points: C of {BLOCKED:?}, D of {BLOCKED_MS:?} ms, I of {BETWEEN_MS:?} ms, both orders; one seed each",
        counted.len()
    );
    let table = &mut bench.table;
    for (order, timers_first) in [("inbox first", false), ("timers first", true)] {
        for (what, side) in SIDES {
            let at = counted
                .iter()
                .filter(|it| it.point.timers_first == timers_first);
            let sum: usize = at.map(side).sum();
            let case = format!("P2g healthy members held for dead, {order}, {what}");
            table.plain(case, sum as f64, "pairs");
            table.note(&note);
        }
    }
    let sum = |side: fn(&Counted) -> usize| counted.iter().map(side).sum::<usize>();
    let (ours, theirs) = (sum(|it| it.ours.by_anybody), sum(|it| it.theirs.by_anybody));
    let case = "P2g FP, ours over memberlist's, summed over the grid";
    if theirs < FEW {
        // A share of next to nothing says nothing; then ours must be none, as at single points.
        table.plain(case, ours as f64 / theirs.max(1) as f64, "");
        table.note(format!(
            "{theirs} of memberlist's are too few to compare with"
        ));
    } else {
        table.at_most(case, ours as f64 / theirs as f64, "", 0.1);
        table.note(&note);
    }
    let few = counted.iter().filter(|it| it.theirs.by_anybody < FEW);
    let wrong = few.clone().filter(|it| it.ours.by_anybody > 0).count();
    table.at_most(
        format!("P2g points with any FP of ours, where memberlist has fewer than {FEW}"),
        wrong as f64,
        "",
        0.0,
    );
    table.note(format!("{} such points", few.count()));
}

type Side = fn(&Counted) -> usize;

/// What is summed.
const SIDES: [(&str, Side); 4] = [
    ("by anybody (FP), ours", |it| it.ours.by_anybody),
    ("by anybody (FP), memberlist's model", |it| {
        it.theirs.by_anybody
    }),
    ("by healthy ones (FP-), ours", |it| it.ours.by_healthy),
    ("by healthy ones (FP-), memberlist's model", |it| {
        it.theirs.by_healthy
    }),
];

/// Sums by the time for which members are blocked.
fn series(counted: &[Counted]) -> Series {
    let line = |label: &str, side: fn(&Counted) -> usize| Line {
        label: label.to_owned(),
        points: BLOCKED_MS
            .iter()
            .map(|ms| {
                let at = counted.iter().filter(|it| it.point.blocked_ms == *ms);
                (*ms as f64 / 1000.0, at.map(side).sum::<usize>() as f64)
            })
            .collect(),
    };
    Series {
        title: "Lifeguard's grid: healthy members held for dead, of 128".to_owned(),
        unit_x: "s for which 4 to 32 members are blocked, again and again".to_owned(),
        unit_y: "pairs, summed over the grid".to_owned(),
        command: super::again("P2g", None),
        seeds: "one for each point".to_owned(),
        lines: vec![
            line("SlotMesh", |it| it.ours.by_anybody),
            line("memberlist's model", |it| it.theirs.by_anybody),
        ],
    }
}

fn measure(point: Point, seed: u64) -> Result<Counted> {
    let (blocked, ours, theirs) = deaths(point, seed)?;
    Ok(Counted {
        point,
        ours: count(&ours, &blocked),
        theirs: count(&theirs, &blocked),
    })
}

/// Who held whom for dead.
type Deaths = BTreeSet<(NodeId, NodeId)>;

/// Who was blocked, and the deaths of ours and of memberlist's model.
fn deaths(point: Point, seed: u64) -> Result<(BTreeSet<NodeId>, Deaths, Deaths)> {
    let scenario = scenario(&text(point))?;
    let (outcome, simulation) = scenario::run(&scenario, seed)?;
    let ours = of_ours(&outcome, &simulation);
    let theirs = of_memberlist(scenario.settings.network, seed, point, &outcome.faulty)?;
    Ok((outcome.faulty, ours, theirs))
}

fn text(point: Point) -> String {
    let Point {
        blocked,
        blocked_ms,
        between_ms,
        timers_first,
    } = point;
    let order = if timers_first { "on" } else { "off" };
    format!(
        "title P2g\nnodes {MEMBERS}\n{NETWORK}timers-first {order}\nsettle {}s\nrun {}s\n\
         at 0s for {blocked_ms}ms every {}ms times {} pause some {blocked}\n",
        SETTLE.as_secs(),
        RUN.as_secs(),
        blocked_ms + between_ms,
        times(point)
    )
}

/// How often members are blocked: the last time ends before the run does.
fn times(point: Point) -> u64 {
    let run = u64::try_from(RUN.as_millis()).unwrap_or(u64::MAX);
    (run + point.between_ms) / (point.blocked_ms + point.between_ms)
}

fn of_ours(outcome: &Outcome, simulation: &Simulation) -> Deaths {
    let mut pairs = BTreeSet::new();
    for record in simulation.events() {
        if let Event::Verdict { failed, .. } = &record.event
            && record.node != OPERATOR
        {
            let of = failed.iter().filter_map(|id| simulation.node_of(id.uid));
            pairs.extend(of.map(|of| (record.node, of)));
        }
    }
    for (removed, _) in &outcome.removals {
        let others = simulation.node_ids().filter(|other| other != removed);
        pairs.extend(others.map(|other| (other, *removed)));
    }
    pairs
}

fn count(pairs: &Deaths, blocked: &BTreeSet<NodeId>) -> Pairs {
    let healthy = pairs.iter().filter(|(_, of)| !blocked.contains(of));
    Pairs {
        by_anybody: healthy.clone().count(),
        by_healthy: healthy.filter(|(who, _)| !blocked.contains(who)).count(),
    }
}

fn of_memberlist(
    network: slotmesh_mesh::sim::NetworkSettings,
    seed: u64,
    point: Point,
    blocked: &BTreeSet<NodeId>,
) -> Result<Deaths> {
    let mut world = World::new(network, seed, MEMBERS, |own, rng| {
        Memberlist::new(own, MEMBERS, rng)
    });
    if point.timers_first {
        world.timers_first();
    }
    world.run_for(SETTLE);
    let mut left = RUN;
    for _ in 0..times(point) {
        for (fault, ms) in [
            (Fault::Pause as fn(NodeId) -> Fault, point.blocked_ms),
            (Fault::Resume, point.between_ms),
        ] {
            for node in blocked {
                world.inflict(&fault(*node));
            }
            let time = Duration::from_millis(ms).min(left);
            world.run_for(time);
            left -= time;
        }
    }
    world.run_for(left);
    ensure!(
        world.dropped() == 0,
        "seed {seed}: a queue of the world was full"
    );
    let dead = world.events().iter().filter(|event| event.dead);
    Ok(dead.map(|event| (event.node, event.of)).collect())
}

#[cfg(test)]
mod tests;
