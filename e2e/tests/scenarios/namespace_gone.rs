//! SlotMesh is uninstalled, and then a namespace is deleted in which a cluster runs: it goes, for
//! nothing in it waits for an operator.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;
use slotmesh_api::names;
use slotmesh_e2e::stage::{OPERATOR_NAMESPACE, Stage};

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
    // An operator that comes later sweeps them, after two looks an hour apart.
    let keys = format!("{}={CLUSTER}", names::LABEL_CLUSTER);
    let keys = ["delete", "secrets", "-n", OPERATOR_NAMESPACE, "-l", &keys];
    stage.plane.kubectl(&keys).await?;
    stage.install().await?;
    nodes.remove().await;
    Ok(())
}
