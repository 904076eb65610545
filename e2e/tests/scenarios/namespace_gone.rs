//! SlotMesh is uninstalled, and then a namespace is deleted in which a cluster runs: it goes, for
//! nothing in it waits for an operator.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;
use slotmesh_api::names;
use slotmesh_e2e::stage::{CHART, OPERATOR_NAMESPACE, Stage};
use slotmesh_e2e::wait;

use crate::DEADLINE;

const NODES: u8 = 3;
const TENANT: &str = "tenant";
const CLUSTER: &str = "rented";
const LONGEST: Duration = Duration::from_secs(60);

pub async fn play(stage: &mut Stage) -> Result<()> {
    let nodes = stage.add_nodes("rented", NODES).await?;
    stage
        .plane
        .kubectl(&["create", "namespace", TENANT])
        .await?;
    let cluster = json!({
        "apiVersion": "slotmesh.dev/v1alpha1",
        "kind": "GossipCluster",
        "metadata": {"name": CLUSTER, "namespace": TENANT},
        "spec": {},
    });
    let create = ["create", "-f", "-"];
    stage
        .plane
        .kubectl_with_input(&create, &cluster.to_string())
        .await?;
    let mut ready = vec!["wait", "gossip", CLUSTER, "-n", TENANT];
    ready.extend(["--for=condition=Ready", "--timeout=60s"]);
    stage.plane.kubectl(&ready).await?;

    stage.uninstall().await?;
    let begun = Instant::now();
    let delete = ["delete", "namespace", TENANT, "--timeout=90s"];
    stage.plane.kubectl(&delete).await?;
    let took = begun.elapsed();
    println!(
        "  no operator: a namespace with a cluster of {NODES} agents is gone after {:.1} s",
        took.as_secs_f64()
    );
    ensure!(took < LONGEST, "it took {took:?}");
    keys_are_swept(stage).await?;
    nodes.remove().await;
    Ok(())
}

/// The keys lie in the operator's namespace: an operator that comes later sweeps them, after two looks.
async fn keys_are_swept(stage: &Stage) -> Result<()> {
    let mine = format!("{}={CLUSTER}", names::LABEL_CLUSTER);
    let mut get = vec!["get", "secrets", "-n", OPERATOR_NAMESPACE, "-l", &mine];
    get.extend(["-o", "name"]);
    let keys = stage.plane.kubectl(&get).await?;
    ensure!(keys.lines().count() == 2, "keys: {keys}");
    let often = "extraArgs={--key-sweep-interval=10s}";
    let install = ["install", "--create-namespace", "--set", often];
    stage.release(&install, CHART).await?;
    let begun = Instant::now();
    wait::until("the keys to be swept", DEADLINE, async || {
        Ok(stage.plane.kubectl(&get).await?.is_empty().then_some(()))
    })
    .await?;
    println!(
        "  an operator that looks every 10 s has swept its keys after {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    stage.release(&["upgrade"], CHART).await
}
