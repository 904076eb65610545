//! A node loses its power. Its agent's fellows know long before Kubernetes does; when the power returns,
//! the node starts its pod anew, and the agent is a member again.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use slotmesh_e2e::measure::{self, Failure};
use slotmesh_e2e::stage::{NAMESPACE, Stage};
use slotmesh_e2e::wait;

use crate::{DEADLINE, Scene};

/// Kubernetes needs about 50 s; nothing sooner counts as "long before".
const LEAD: Duration = Duration::from_secs(20);

pub async fn play(stage: &mut Stage) -> Result<()> {
    let scene = Scene::set(stage, "power", 5).await?;
    let victim = &scene.agents[2];
    let victims = std::slice::from_ref(victim);
    let restarts = container_of(stage, &victim.name).await?.restart_count;

    let off = Instant::now();
    let measured =
        measure::fail(stage, &scene.nodes, scene.name, victims, Failure::PowerOff).await?;
    ensure!(
        ready(stage, &victim.node).await? == "True",
        "Kubernetes knew first"
    );
    println!("  {measured}");
    wait::until("Kubernetes to notice", DEADLINE, async || {
        Ok((ready(stage, &victim.node).await? == "Unknown").then_some(()))
    })
    .await?;
    println!(
        "  Kubernetes notices after {:.1} s",
        off.elapsed().as_secs_f64()
    );
    ensure!(
        off.elapsed() > LEAD,
        "the node said that it was going: that is no loss of power"
    );

    let on = Instant::now();
    measure::back(stage, &scene.nodes, scene.name, victim).await?;
    println!(
        "  a member again {:.2} s after the power is back",
        on.elapsed().as_secs_f64()
    );
    stage.wait_ready(scene.name, 5).await?;
    let container = container_of(stage, &victim.name).await?;
    ensure!(
        container.restart_count == restarts + 1,
        "{restarts} restarts became {}",
        container.restart_count
    );
    let last = container.last_state.and_then(|state| state.terminated);
    let code = last.context("no last state")?.exit_code;
    ensure!(code == 255, "the lost container ended with {code}");
    wait::until("the node to be Ready", DEADLINE, async || {
        Ok((ready(stage, &victim.node).await? == "True").then_some(()))
    })
    .await?;
    scene.strike(stage).await
}

/// The Ready condition of a node.
async fn ready(stage: &Stage, node: &str) -> Result<String> {
    let nodes: Api<Node> = Api::all(stage.plane.client());
    let status = nodes.get(node).await?.status.unwrap_or_default();
    let mut conditions = status.conditions.unwrap_or_default().into_iter();
    let ready = conditions.find(|condition| condition.type_ == "Ready");
    Ok(ready.context("no Ready condition")?.status)
}

async fn container_of(
    stage: &Stage,
    pod: &str,
) -> Result<k8s_openapi::api::core::v1::ContainerStatus> {
    let pods: Api<Pod> = Api::namespaced(stage.plane.client(), NAMESPACE);
    let status = pods.get(pod).await?.status.unwrap_or_default();
    let mut containers = status.container_statuses.unwrap_or_default().into_iter();
    containers.next().context("no container status")
}
