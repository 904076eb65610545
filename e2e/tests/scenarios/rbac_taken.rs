//! Rights are taken from the operator: it is said which one is missing. Given back, the work is done,
//! and children are kept again as before.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use slotmesh_e2e::stage::{NAMESPACE, Stage};
use slotmesh_e2e::wait;

use crate::{DEADLINE, Scene, told};

const ROLE: &str = "slotmesh-operator";

pub async fn play(stage: &mut Stage) -> Result<()> {
    let scene = Scene::set(stage, "bereft", 2).await?;
    let role = rules(stage).await?;
    write(stage, without(&role, "configmaps")?).await?;
    let begun = Instant::now();
    delete_trust(stage).await?;
    let message = told::condition(stage, scene.name, "Stalled", "ForbiddenByRBAC").await?;
    println!(
        "  no right to ConfigMaps: {:.1} s later: {message}",
        begun.elapsed().as_secs_f64()
    );
    ensure!(message.contains("ConfigMap bereft-trust"), "{message}");
    told::event(stage, scene.name, "ForbiddenByRBAC", "bereft-trust").await?;

    write(stage, role).await?;
    let begun = Instant::now();
    told::condition(stage, scene.name, "Stalled", "AsExpected").await?;
    trust(stage).await?;
    println!(
        "  given back: mended after {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    delete_trust(stage).await?;
    wait::until("the ConfigMap to be kept again", DEADLINE, async || {
        trust(stage).await.map(Some)
    })
    .await?;
    let restarts = stage.restarts(scene.name).await?;
    ensure!(restarts.values().all(|count| *count == 0), "{restarts:?}");
    scene.strike(stage).await
}

async fn rules(stage: &Stage) -> Result<Value> {
    let get = ["get", "clusterrole", ROLE, "-o", "json"];
    Ok(serde_json::from_str(&stage.plane.kubectl(&get).await?)?)
}

fn without(role: &Value, resource: &str) -> Result<Value> {
    let mut role = role.clone();
    for rule in role["rules"]
        .as_array_mut()
        .context("a role without rules")?
    {
        if let Some(resources) = rule["resources"].as_array_mut() {
            resources.retain(|found| found != resource);
        }
    }
    Ok(role)
}

/// Only the rules, so that whatever else was written in the meantime stays.
async fn write(stage: &Stage, role: Value) -> Result<()> {
    let patch = json!({"rules": role["rules"]}).to_string();
    let patch = ["patch", "clusterrole", ROLE, "--type=merge", "-p", &patch];
    stage.plane.kubectl(&patch).await.map(drop)
}

async fn trust(stage: &Stage) -> Result<String> {
    let get = [
        "get",
        "configmap",
        "bereft-trust",
        "-n",
        NAMESPACE,
        "-o",
        "name",
    ];
    stage.plane.kubectl(&get).await
}

async fn delete_trust(stage: &Stage) -> Result<()> {
    let delete = ["delete", "configmap", "bereft-trust", "-n", NAMESPACE];
    stage.plane.kubectl(&delete).await.map(drop)
}
