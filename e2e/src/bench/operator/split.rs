//! A cell of twelve becomes two under look-ups; then a member of one of the two dies.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::json;

use crate::bench::figures::count;
use crate::bench::scene::{CLUSTER, Scene, with_cluster};
use crate::control_plane::Options;
use crate::lookups::{LookUps, Tally};
use crate::measure::{self, Failure};
use crate::record::Record;
use crate::stage::Agent;
use slotmesh_report::Report;

const NODES: u8 = 12;
const MEMBERS_MAX: u8 = 10;
const PER_SECOND: u32 = 100;
/// How long look-ups go on when everything is done.
const AFTERWARDS: Duration = Duration::from_secs(3);
/// Every 64th slot: several of each owner.
const STEP: usize = 64;

struct Played {
    seconds: f64,
    cells: Vec<usize>,
    before: Record,
    after: Record,
    /// Answers of an agent that differ from those before the split, over all agents.
    elsewhere: usize,
    during: Tally,
    death: Death,
}

struct Death {
    tally: Tally,
    verdict: f64,
    recorded: f64,
}

pub(super) async fn measure(report: &mut Report) -> Result<()> {
    let played = with_cluster(NODES, Options::default(), play).await?;
    let sizes: Vec<String> = played.cells.iter().map(ToString::to_string).collect();
    report.at_most(
        "split of 12: apply -> two cells, every agent in its own",
        played.seconds,
        "s",
        10.0,
    );
    report.note(format!("cells of {} members", sizes.join(" and ")));
    let moved = played.after.since(&played.before).moved;
    report.exactly("split of 12: slots moved", count(moved), "slots", 0.0);
    report.exactly(
        "split of 12: sampled slots that an agent finds elsewhere",
        count(played.elsewhere),
        "slots",
        0.0,
    );
    report.note("256 slots asked for on each of 12 agents, each answered within one hop");
    let Tally { errors, .. } = played.during;
    report.exactly("split of 12: look-up errors", count(errors), "", 0.0);
    report.note(played.during.to_string());
    let Death {
        tally,
        verdict,
        recorded,
    } = &played.death;
    report.exactly(
        "split of 12, then a death: answers naming one dead for > 2 s",
        count(tally.late),
        "",
        0.0,
    );
    report.note(format!(
        "last named {:.3} s after its death; verdict in its cell after {verdict:.3} s, new map {recorded:.3} s later",
        tally.longest_dead.as_secs_f64()
    ));
    report.plain(
        "split of 12, then a death: look-up errors on the 11 others",
        count(tally.errors),
        "",
    );
    report.note(tally.to_string());
    Ok(())
}

async fn play(scene: &mut Scene<'_>) -> Result<Played> {
    let before = scene.settled().await?;
    let slots: Vec<u16> = (0..16384).step_by(STEP).collect();
    let first = scene.agents.first().context("there are no agents")?;
    let owners = first.owners_of(&slots).await?;
    let look_ups = LookUps::start_at(PER_SECOND, &scene.agents);
    let begun = Instant::now();
    let spec = json!({"cells": {"maxMembers": MEMBERS_MAX}});
    scene.stage.apply_cluster(CLUSTER, &spec).await?;
    let cells = scene.stage.wait_cells(CLUSTER, &scene.agents, 2).await?;
    let seconds = begun.elapsed().as_secs_f64();
    println!("  two cells after {seconds:.2} s");
    // The time that is measured, no wait for something to happen.
    tokio::time::sleep(AFTERWARDS).await;
    let during = look_ups.stop().await?;
    println!("  {during}");
    let after = scene.record().await?;
    let mut elsewhere = 0;
    for agent in &scene.agents {
        let now = agent.owners_of(&slots).await?;
        elsewhere += now.iter().zip(&owners).filter(|(a, b)| a != b).count();
    }
    let sizes = cells.values().map(Vec::len).collect();
    let mut cells = cells.values();
    let cell = cells.next().context("there are no cells")?;
    let death = die(scene, cell).await?;
    Ok(Played {
        seconds,
        cells: sizes,
        before,
        after,
        elsewhere,
        during,
        death,
    })
}

/// One of the cell dies and stays dead while the others are asked.
async fn die(scene: &Scene<'_>, cell: &[&Agent]) -> Result<Death> {
    let (victim, survivors) = cell.split_first().context("an empty cell")?;
    let others = scene.agents.iter().filter(|agent| agent != victim);
    let look_ups = LookUps::start_at(PER_SECOND, others);
    look_ups.died(victim);
    let victims = [(*victim).clone()];
    let spread = measure::spread(&scene.nodes, survivors, &victims, Failure::Kill).await?;
    // The time that is measured, no wait for something to happen.
    tokio::time::sleep(AFTERWARDS).await;
    let tally = look_ups.stop().await?;
    println!("  {} is killed and held: {tally}", victim.name);
    Ok(Death {
        tally,
        verdict: spread.verdict,
        recorded: spread.epoch_after,
    })
}
