//! Four of ten agents are killed at once: one verdict, one change.

use anyhow::{Result, ensure};
use slotmesh_e2e::measure::{self, Failure};
use slotmesh_e2e::stage::Stage;

use crate::Scene;

pub async fn play(stage: &mut Stage) -> Result<()> {
    let scene = Scene::set(stage, "ten", 10).await?;
    let survivor = &scene.agents[0];
    let epoch = survivor.metric(measure::EPOCH).await?;
    let victims = scene.agents[6..].to_vec();
    let measured = measure::fail(stage, &scene.nodes, scene.name, &victims, Failure::Kill).await?;
    stage.wait_ready(scene.name, 6).await?;
    let changes = survivor.metric(measure::EPOCH).await? - epoch;
    println!(
        "  verdict on the last survivor after {:.2} s, new map {:.2} s later, {} slots moved, {changes} change",
        measured.verdict, measured.epoch_after, measured.moves
    );
    ensure!(
        (measured.moves - measured.minimum).abs() < 0.5,
        "{} moves, {} would do",
        measured.moves,
        measured.minimum
    );
    ensure!((changes - 1.0).abs() < 0.5, "{changes} changes");
    scene.strike(stage).await
}
