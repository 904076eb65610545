//! An agent is killed and held down. The survivors agree, the slots find new owners with the fewest
//! moves, and it comes back.

use anyhow::Result;
use slotmesh_e2e::measure::{self, Failure};
use slotmesh_e2e::stage::Stage;

use crate::Scene;

pub async fn play(stage: &mut Stage) -> Result<()> {
    let scene = Scene::set(stage, "kill", 5).await?;
    let victim = &scene.agents[1];
    let victims = std::slice::from_ref(victim);
    let measured = measure::fail(stage, &scene.nodes, scene.name, victims, Failure::Kill).await?;
    println!("  {measured}");
    measured.ensure_minimal()?;
    measure::back(stage, &scene.nodes, scene.name, victim).await?;
    stage.wait_ready(scene.name, 5).await?;
    scene.strike(stage).await
}
