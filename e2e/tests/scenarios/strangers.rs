//! Whoever does not belong to a cluster tries to get in: with wrong certificates at an agent's mesh
//! port, with wrong tokens at the operator's join port, and as a whole agent with another cluster's
//! trust. Each is refused with a reason of its own; the cluster does not notice.

mod agents;
mod certificates;
mod tokens;

use anyhow::Result;
use serde_json::json;
use slotmesh_e2e::lookups::LookUps;
use slotmesh_e2e::stage::Stage;
use slotmesh_e2e::strangers::Cluster;

use crate::Scene;
use crate::calm::Calm;
use crate::scene::delete_cluster;

const MEMBERS: u8 = 4;
const OTHER: &str = "elsewhere";
pub async fn play(stage: &mut Stage) -> Result<()> {
    let scene = Scene::set(stage, "honest", MEMBERS).await?;
    // Its agents run on the same nodes.
    stage.apply_cluster(OTHER, &json!({})).await?;
    stage.wait_ready(OTHER, MEMBERS.into()).await?;
    let honest = Cluster::load(stage, scene.name).await?;
    let other = Cluster::load(stage, OTHER).await?;

    let before = Calm::look(stage, &scene).await?;
    let look_ups = LookUps::start(&scene.agents);
    certificates::try_all(&honest, &other).await?;
    tokens::try_all(stage, &honest, &other).await?;
    agents::try_all(stage, &honest, &other).await?;
    let tally = look_ups.stop().await?;
    println!("  {tally}");
    tally.ensure_served()?;
    Calm::look(stage, &scene).await?.ensure_same_as(&before)?;
    println!("  meanwhile: the same epoch, members and incarnations, 0 verdicts");

    tokens::the_honest_one_is_admitted(stage, &other).await?;
    delete_cluster(stage, OTHER).await?;
    scene.strike(stage).await
}
