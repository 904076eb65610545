//! Four of ten agents are killed at once: one change.

use anyhow::{Result, ensure};
use slotmesh_e2e::measure::{self, Failure};
use slotmesh_e2e::record::Record;
use slotmesh_e2e::stage::Stage;

use crate::Scene;

pub async fn play(stage: &mut Stage) -> Result<()> {
    let scene = Scene::set(stage, "ten", 10).await?;
    Record::in_force(stage, scene.name, &scene.agents).await?;
    let epoch = scene.agents[0].metric(measure::EPOCH).await?;
    let victims = scene.agents[6..].to_vec();
    let measured = measure::fail(stage, &scene.nodes, scene.name, &victims, Failure::Kill).await?;
    stage.wait_ready(scene.name, 6).await?;
    for agent in &scene.agents[..6] {
        let changes = agent.metric(measure::EPOCH).await? - epoch;
        let one = (changes - 1.0).abs() < 0.5;
        ensure!(one, "{}: {changes} changes", agent.name);
    }
    println!("  {measured}, one change on all six");
    measured.ensure_minimal()?;
    scene.strike(stage).await
}
