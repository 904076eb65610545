//! No node is left for a cluster, and then there are nodes again. After that every node is replaced by
//! another one: whoever asks an agent that stays is answered all the while.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use slotmesh_e2e::lookups::LookUps;
use slotmesh_e2e::node::Nodes;
use slotmesh_e2e::record::Record;
use slotmesh_e2e::stage::{Agent, NAMESPACE, Stage};
use slotmesh_e2e::wait;

use crate::scene::delete_cluster;
use crate::{DEADLINE, told};

const CLUSTER: &str = "sized";
const NODES: u8 = 3;

pub async fn play(stage: &mut Stage) -> Result<()> {
    let mut nodes = Vec::new();
    for number in 1..=NODES {
        nodes.push(stage.add_nodes(&format!("old{number}"), 1).await?);
    }
    stage.apply_cluster(CLUSTER, &json!({})).await?;
    stage.wait_ready(CLUSTER, NODES.into()).await?;
    to_zero_and_back(stage).await?;
    for (number, old) in (1..).zip(std::mem::take(&mut nodes)) {
        nodes.push(stage.add_nodes(&format!("new{number}"), 1).await?);
        is_replaced(stage, old).await?;
    }
    told::ensure_never_frozen(stage, CLUSTER).await?;
    delete_cluster(stage, CLUSTER).await?;
    for node in nodes {
        node.remove().await;
    }
    Ok(())
}

async fn to_zero_and_back(stage: &Stage) -> Result<()> {
    let nowhere = json!({"agent": {"nodeSelector": {"slotmesh.dev/nowhere": "true"}}});
    let begun = Instant::now();
    stage.apply_cluster(CLUSTER, &nowhere).await?;
    let message = told::condition(stage, CLUSTER, "Ready", "NoOwners").await?;
    println!(
        "  no node is left: {:.1} s later: {message}",
        begun.elapsed().as_secs_f64()
    );
    wait::until("the last agent to be gone", DEADLINE, async || {
        Ok(stage.agents(CLUSTER).await?.is_empty().then_some(()))
    })
    .await?;
    let begun = Instant::now();
    stage.apply_cluster(CLUSTER, &json!({})).await?;
    stage.wait_ready(CLUSTER, NODES.into()).await?;
    let record = Record::read(stage, CLUSTER).await?;
    ensure!(
        record.unserved() == 0,
        "{} slots unserved",
        record.unserved()
    );
    println!(
        "  nodes again: Ready after {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    Ok(())
}

/// A new node is there: the old one is drained and taken out, as its machine would be.
async fn is_replaced(stage: &Stage, old: Nodes) -> Result<()> {
    let begun = Instant::now();
    let node = old
        .names()
        .first()
        .context("a group without nodes")?
        .clone();
    stage.wait_ready(CLUSTER, i32::from(NODES) + 1).await?;
    let (leaving, staying): (Vec<Agent>, Vec<Agent>) = stage
        .agents(CLUSTER)
        .await?
        .into_iter()
        .partition(|agent| agent.node == node);
    let agent = leaving.first().context("no agent there")?;
    let look_ups = LookUps::start(&staying);
    let drain = ["drain", &node, "--ignore-daemonsets", "--timeout=60s"];
    stage.plane.kubectl(&drain).await?;
    told::event(stage, CLUSTER, "OwnerDrained", &agent.name).await?;
    let drained = Record::read(stage, CLUSTER).await?;
    old.remove().await;
    // As the controllers of pods and nodes do after a minute.
    let mut force = vec!["delete", "pod", &agent.name, "-n", NAMESPACE];
    force.extend(["--force", "--grace-period=0"]);
    stage.plane.kubectl(&force).await?;
    stage.wait_ready(CLUSTER, NODES.into()).await?;
    let moved = Record::read(stage, CLUSTER).await?.since(&drained).moved;
    println!(
        "  {node} is replaced in {:.1} s; {moved} slots moved after it was drained",
        begun.elapsed().as_secs_f64()
    );
    let tally = look_ups.stop().await?;
    println!("  {tally}");
    tally.ensure_served()?;
    ensure!(moved == 0, "{moved} slots moved, though it held none");
    Ok(())
}
