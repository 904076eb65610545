//! An agent is killed and started again at once: one epoch later it is a new incarnation, and no slot
//! has moved.

use anyhow::{Result, ensure};
use slotmesh_e2e::stage::{NAMESPACE, Stage};
use slotmesh_e2e::wait;
use slotmesh_e2e::{http, measure};

use crate::{DEADLINE, Scene};

pub async fn play(stage: &mut Stage) -> Result<()> {
    let scene = Scene::set(stage, "restart", 4).await?;
    let (victim, other) = (&scene.agents[0], &scene.agents[1]);
    let before = http::json(&other.api("/v1/map")).await?;
    let epoch = other.metric(measure::EPOCH).await?;
    scene.nodes.kill(NAMESPACE, &victim.name)?;
    wait::until("the new incarnation on every agent", DEADLINE, async || {
        for agent in &scene.agents {
            if agent.metric(measure::EPOCH).await? <= epoch {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
    .await?;
    let after = http::json(&other.api("/v1/map")).await?;
    let epochs = after["epoch"].as_u64().unwrap() - before["epoch"].as_u64().unwrap();
    println!("  {epochs} epoch later every agent has the new incarnation");
    ensure!(
        before["owners"] == after["owners"],
        "owners changed: {before} -> {after}"
    );
    ensure!(epochs == 1, "{epochs} epochs");
    println!("  0 slots moved");
    scene.strike(stage).await
}
