//! SlotMesh is installed by kubectl alone, from `deploy/install.yaml`, and runs a sample cluster. Then
//! helm takes the installation over, and the cluster goes on.

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, ensure};
use slotmesh_e2e::deploy::DEPLOY;
use slotmesh_e2e::lookups::LookUps;
use slotmesh_e2e::stage::{CHART, NAMESPACE, OPERATOR_NAMESPACE, Stage};

use crate::scene::delete_cluster;
use crate::upgrade::remove_everything;

const MEMBERS: u8 = 3;
/// As its sample names it.
const CLUSTER: &str = "sessions";

pub async fn play(stage: &mut Stage) -> Result<()> {
    remove_everything(stage).await?;
    let namespace = ["delete", "namespace", OPERATOR_NAMESPACE];
    stage.plane.kubectl(&namespace).await?;

    let begun = Instant::now();
    let manifest = Path::new(DEPLOY).join("install.yaml").display().to_string();
    let apply = ["apply", "--server-side", "-f", &manifest];
    stage.plane.kubectl(&apply).await?;
    stage.tolerate_operators().await?;
    println!(
        "  kubectl apply: operators are ready after {:.1} s",
        seconds(begun)
    );

    let nodes = stage.add_nodes("plain", MEMBERS).await?;
    let begun = Instant::now();
    let sample = Path::new(DEPLOY).join("samples/minimal.yaml");
    let sample = sample.display().to_string();
    let apply = ["apply", "-n", NAMESPACE, "-f", &sample];
    stage.plane.kubectl(&apply).await?;
    stage.wait_ready(CLUSTER, MEMBERS.into()).await?;
    println!(
        "  the minimal sample is Ready after {:.1} s",
        seconds(begun)
    );

    let agents = stage.agents(CLUSTER).await?;
    let look_ups = LookUps::start(&agents);
    let begun = Instant::now();
    // Fields that kubectl wrote and helm would write otherwise are a conflict that only its user can settle.
    let take = ["install", "--take-ownership", "--force-conflicts"];
    stage.release(&take, CHART).await?;
    println!("  helm takes it over: {:.1} s", seconds(begun));
    stage.wait_ready(CLUSTER, MEMBERS.into()).await?;
    let tally = look_ups.stop().await?;
    println!("  {tally}");
    tally.ensure_served()?;
    ensure!(stage.agents(CLUSTER).await? == agents, "other agents");
    let restarts = stage.restarts(CLUSTER).await?;
    ensure!(restarts.values().all(|count| *count == 0), "{restarts:?}");
    delete_cluster(stage, CLUSTER).await?;
    nodes.remove().await;
    Ok(())
}

fn seconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64()
}
