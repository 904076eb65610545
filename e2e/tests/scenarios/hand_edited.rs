//! Somebody who may do everything edits a record by hand, past the policy that forbids it: the
//! operator sees at once that it is not its own, plans nothing on it, and says what to do. Done so, all
//! goes on. A record that is deleted by hand is written again.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use slotmesh_e2e::lookups::LookUps;
use slotmesh_e2e::record::Record;
use slotmesh_e2e::stage::{NAMESPACE, OPERATOR_USER, Stage};
use slotmesh_e2e::wait;

use crate::{DEADLINE, Scene, scene, told};

const NODES: u8 = 3;

pub async fn play(stage: &mut Stage) -> Result<()> {
    let scene = Scene::set(stage, "forged", NODES).await?;
    let before = Record::read(stage, scene.name).await?;
    let cell = before.cells.first().context("no record")?.clone();
    let look_ups = LookUps::start(&scene.agents);
    a_record_is_forged(stage, &scene, &cell, &before).await?;
    is_written_again(stage, &scene, &cell, &before, "Unfrozen").await?;
    told::event(stage, scene.name, "Unfrozen", "RecordTampered").await?;
    told::condition(stage, scene.name, "Frozen", "AsExpected").await?;

    let before = Record::read(stage, scene.name).await?;
    is_written_again(stage, &scene, &cell, &before, "as it was").await?;
    let tally = look_ups.stop().await?;
    println!("  {tally}");
    tally.ensure_served()?;
    let restarts = stage.restarts(scene.name).await?;
    ensure!(restarts.values().all(|count| *count == 0), "{restarts:?}");
    scene.strike(stage).await
}

/// All slots are given to one member.
async fn a_record_is_forged(
    stage: &Stage,
    scene: &Scene,
    cell: &str,
    before: &Record,
) -> Result<()> {
    let get = ["get", "gcell", cell, "-n", NAMESPACE, "-o", "json"];
    let mut forged: Value = serde_json::from_str(&stage.plane.kubectl(&get).await?)?;
    forged["spec"]["epoch"] = json!(before.epoch + 1);
    let members = forged["spec"]["members"]
        .as_array_mut()
        .context("no members")?;
    for (number, member) in members.iter_mut().enumerate() {
        let slots = if number == 0 { "0-16383" } else { "" };
        member["owners"][0]["slots"] = json!(slots);
    }
    let replace = ["replace", "-f", "-", "--as", OPERATOR_USER];
    let begun = Instant::now();
    stage
        .plane
        .kubectl_with_input(&replace, &forged.to_string())
        .await?;
    let message = told::frozen(stage, scene.name, "RecordTampered", cell).await?;
    println!(
        "  a record is edited by hand: {:.2} s later: {message}",
        begun.elapsed().as_secs_f64()
    );
    scene::ensure_epoch(&scene.agents, before.epoch).await?;
    println!("  no agent has heard of it");
    Ok(())
}

/// The record is deleted by hand, and is back with what it said, one epoch on and published.
async fn is_written_again(
    stage: &Stage,
    scene: &Scene,
    cell: &str,
    before: &Record,
    how: &str,
) -> Result<()> {
    let mut delete = vec!["delete", "gcell", cell, "-n", NAMESPACE, "--wait=false"];
    delete.extend(["--as", OPERATOR_USER]);
    let begun = Instant::now();
    stage.plane.kubectl(&delete).await?;
    let after = wait::until("the record to be written again", DEADLINE, async || {
        let record = Record::read(stage, scene.name).await?;
        Ok((record.epoch > before.epoch && record.unserved() == 0).then_some(record))
    })
    .await?;
    println!(
        "  the record is deleted by hand: written again after {:.2} s, {how}",
        begun.elapsed().as_secs_f64()
    );
    let moved = after.since(before).moved;
    ensure!(moved == 0, "{moved} slots moved");
    wait::until("every agent to have it", DEADLINE, async || {
        for agent in &scene.agents {
            if agent.locate("user:42").await?.epoch < after.epoch.unsigned_abs() {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
    .await
}
