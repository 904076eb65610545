//! A cell of twelve grows too large for `cells.maxMembers`: it becomes two while an application looks
//! keys up a hundred times a second on every agent. No slot moves, every agent finds every slot within
//! one hop, and a death is the business of one of the two cells only.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;
use slotmesh_e2e::lookups::LookUps;
use slotmesh_e2e::measure::{self, Failure};
use slotmesh_e2e::stage::{NAMESPACE, Stage};
use slotmesh_e2e::wait;

use crate::{DEADLINE, Scene};

const NODES: u8 = 12;
const VERDICTS: &str = "slotmesh_agent_verdicts_total";
/// Every 64th slot: several of each owner.
const STEP: usize = 64;

pub async fn play(stage: &mut Stage) -> Result<()> {
    let scene = Scene::set(stage, "split", NODES).await?;
    let slots: Vec<u16> = (0..16384).step_by(STEP).collect();
    let before = scene.agents[0].owners_of(&slots).await?;
    let restarts = stage.restarts(scene.name).await?;
    let look_ups = LookUps::start_at(100, &scene.agents);

    let begun = Instant::now();
    stage
        .apply_cluster(scene.name, &json!({"cells": {"maxMembers": 10}}))
        .await?;
    let cells = stage.wait_cells(scene.name, &scene.agents, 2).await?;
    let cells: Vec<&str> = cells.keys().map(String::as_str).collect();
    println!(
        "  {} members become {} after {:.2} s",
        NODES,
        cells.join(" and "),
        begun.elapsed().as_secs_f64()
    );
    stage.wait_ready(scene.name, NODES.into()).await?;
    // Some more look-ups after it.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let tally = look_ups.stop().await?;
    println!("  {tally}");
    tally.ensure_served()?;

    for agent in &scene.agents {
        let now = agent.owners_of(&slots).await?;
        let moved = now.iter().zip(&before).filter(|(a, b)| a != b).count();
        ensure!(moved == 0, "{} sees {moved} slots elsewhere", agent.name);
    }
    println!(
        "  every agent finds each of {} slots with its old owner, within one hop",
        slots.len()
    );
    ensure!(
        stage.restarts(scene.name).await? == restarts,
        "an agent restarted"
    );
    let verdicts = scene.metrics(&scene.agents, VERDICTS).await?;
    ensure!(
        verdicts.iter().all(|count| *count == 0.0),
        "somebody was accused: {verdicts:?}"
    );
    one_cells_business(stage, &scene).await?;
    scene.strike(stage).await
}

/// A member of one cell dies: its cell agrees and moves its slots, the other hears nothing of it.
async fn one_cells_business(stage: &Stage, scene: &Scene) -> Result<()> {
    let victim = &scene.agents[0];
    let cell = victim.cell().await?;
    let (mut inside, mut outside) = (Vec::new(), Vec::new());
    for agent in scene.others(victim) {
        match agent.cell().await? == cell {
            true => inside.push(agent),
            false => outside.push(agent),
        }
    }
    let victims = std::slice::from_ref(victim);
    let spread = measure::spread(&scene.nodes, &inside, victims, Failure::Kill).await?;
    println!(
        "  one of the {} members of {cell} is killed: verdict on the last of the others after {:.2} s, new map {:.2} s later",
        inside.len() + 1,
        spread.verdict,
        spread.epoch_after
    );
    for agent in outside {
        ensure!(
            agent.metric(VERDICTS).await? == 0.0,
            "{} is of the other cell and came to a verdict",
            agent.name
        );
    }
    scene.nodes.return_pod(NAMESPACE, &victim.name)?;
    // The status may not have said yet that it was gone.
    wait::until(
        "the killed agent to be a member again",
        DEADLINE,
        async || {
            let joined = victim.metric("slotmesh_agent_joined").await?;
            Ok((joined > 0.0).then_some(()))
        },
    )
    .await?;
    ensure!(victim.cell().await? == cell, "it came back to another cell");
    stage.wait_ready(scene.name, NODES.into()).await?;
    Ok(())
}
