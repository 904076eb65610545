//! Two clusters on the same nodes. One is deleted: nothing of it is left, its keys included, and the
//! other sees nothing of that.

use anyhow::{Result, ensure};
use serde_json::json;
use slotmesh_e2e::lookups::LookUps;
use slotmesh_e2e::stage::{Agent, Stage};

use crate::Scene;
use crate::calm::Calm;
use crate::install_uninstall::nothing_is_left;

const NODES: u8 = 3;
const OTHER: &str = "passing";

pub async fn play(stage: &mut Stage) -> Result<()> {
    let scene = Scene::set(stage, "staying", NODES).await?;
    stage.apply_cluster(OTHER, &json!({})).await?;
    stage.wait_ready(OTHER, NODES.into()).await?;
    let guests = stage.agents(OTHER).await?;
    let nodes = |agents: &[Agent]| {
        let mut nodes: Vec<String> = agents.iter().map(|agent| agent.node.clone()).collect();
        nodes.sort();
        nodes
    };
    ensure!(
        nodes(&guests) == nodes(&scene.agents),
        "on other nodes: {guests:?}"
    );

    let before = Calm::look(stage, &scene).await?;
    let look_ups = LookUps::start(&scene.agents);
    nothing_is_left(stage, OTHER).await?;
    let tally = look_ups.stop().await?;
    println!("  the other cluster on the same nodes: {tally}");
    tally.ensure_served()?;
    Calm::look(stage, &scene).await?.ensure_same_as(&before)?;
    println!("  it is as it was: same agents, same epoch, 0 verdicts");
    scene.strike(stage).await
}
