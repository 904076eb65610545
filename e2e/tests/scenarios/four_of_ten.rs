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
    println!("  {measured}, {changes} change");
    measured.ensure_minimal()?;
    ensure!((changes - 1.0).abs() < 0.5, "{changes} changes");
    scene.strike(stage).await
}
