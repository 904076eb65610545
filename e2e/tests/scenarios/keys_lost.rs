//! The keys of a cluster are gone from the operator's namespace. An operator that starts then makes no
//! new ones by itself, and says how to get on; the mesh goes on meanwhile. With the keys put back from a
//! backup nothing has happened. Without one a person accepts the loss, and every agent joins anew under
//! new keys, in a higher era, with the slots that it had.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use slotmesh_api::names;
use slotmesh_e2e::lookups::LookUps;
use slotmesh_e2e::record::Record;
use slotmesh_e2e::stage::{NAMESPACE, OPERATOR_NAMESPACE, RELEASE, Stage};
use slotmesh_e2e::wait;

use crate::calm::Calm;
use crate::{DEADLINE, Scene, told};

const NODES: u8 = 3;

pub async fn play(stage: &mut Stage) -> Result<()> {
    let scene = Scene::set(stage, "keyless", NODES).await?;
    let record = Record::read(stage, scene.name).await?;
    let backup = backup(stage, scene.name).await?;
    let look_ups = LookUps::start(&scene.agents);

    let before = Calm::look(stage, &scene).await?;
    keys_are_lost(stage, scene.name).await?;
    let begun = Instant::now();
    let create = ["create", "-n", OPERATOR_NAMESPACE, "-f", "-"];
    stage.plane.kubectl_with_input(&create, &backup).await?;
    told::condition(stage, scene.name, "Stalled", "AsExpected").await?;
    stage.wait_ready(scene.name, NODES.into()).await?;
    Calm::look(stage, &scene).await?.ensure_same_as(&before)?;
    println!(
        "  put back from a backup: mended after {:.1} s; nothing has changed",
        begun.elapsed().as_secs_f64()
    );

    let message = keys_are_lost(stage, scene.name).await?;
    let begun = Instant::now();
    let command = message.split("kubectl ").nth(1).context("no way out")?;
    let command: Vec<&str> = command.split_whitespace().collect();
    stage.plane.kubectl(&command).await?;
    told::condition(stage, scene.name, "Stalled", "AsExpected").await?;
    all_join_anew(stage, &scene, &record).await?;
    println!(
        "  the loss is accepted: every agent has joined anew after {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    stage.wait_ready(scene.name, NODES.into()).await?;
    let tally = look_ups.stop().await?;
    println!("  {tally}");
    tally.ensure_served()?;
    let after = Record::read(stage, scene.name).await?;
    let moved = after.since(&record).moved;
    ensure!(moved == 0, "{moved} slots moved");
    let restarts = stage.restarts(scene.name).await?;
    ensure!(restarts.values().all(|count| *count == 0), "{restarts:?}");
    println!("  0 slots moved, no agent was started again");
    told::ensure_never_frozen(stage, scene.name).await?;
    scene.strike(stage).await
}

/// Deletes the cluster's keys and starts other operators; what they say.
async fn keys_are_lost(stage: &Stage, cluster: &str) -> Result<String> {
    let mine = format!("{}={cluster}", names::LABEL_CLUSTER);
    let delete = ["delete", "secrets", "-n", OPERATOR_NAMESPACE, "-l", &mine];
    stage.plane.kubectl(&delete).await?;
    let deployment = format!("deployment/{RELEASE}-operator");
    let restart = ["rollout", "restart", &deployment, "-n", OPERATOR_NAMESPACE];
    stage.plane.kubectl(&restart).await?;
    let begun = Instant::now();
    let message = told::condition(stage, cluster, "Stalled", "KeysLost").await?;
    println!(
        "  keys lost: {:.1} s after a new operator: {message}",
        begun.elapsed().as_secs_f64()
    );
    told::event(stage, cluster, "KeysLost", "accept-key-loss").await?;
    let mut status = vec!["rollout", "status", &deployment, "-n", OPERATOR_NAMESPACE];
    status.extend(["--timeout", "120s"]);
    stage.plane.kubectl(&status).await?;
    Ok(message)
}

/// The cluster's Secrets, as somebody would keep them.
async fn backup(stage: &Stage, cluster: &str) -> Result<String> {
    let mine = format!("{}={cluster}", names::LABEL_CLUSTER);
    let mut get = vec!["get", "secrets", "-n", OPERATOR_NAMESPACE, "-l", &mine];
    get.extend(["-o", "json"]);
    let mut list: Value = serde_json::from_str(&stage.plane.kubectl(&get).await?)?;
    let items = list["items"].as_array_mut().context("no list")?;
    ensure!(items.len() == 2, "{} Secrets", items.len());
    for item in items {
        let metadata = item["metadata"].as_object_mut().context("no metadata")?;
        for of_the_server in [
            "uid",
            "resourceVersion",
            "creationTimestamp",
            "managedFields",
        ] {
            metadata.remove(of_the_server);
        }
    }
    Ok(list.to_string())
}

/// Waits until every agent has a map in which all are new incarnations.
async fn all_join_anew(stage: &Stage, scene: &Scene, before: &Record) -> Result<()> {
    wait::until("every agent to join anew", DEADLINE, async || {
        for agent in &scene.agents {
            let incarnations = agent.incarnations().await?;
            ensure!(
                incarnations.len() == usize::from(NODES)
                    && incarnations
                        .values()
                        .all(|it| *it > before.epoch.unsigned_abs()),
                "{} lists {incarnations:?}",
                agent.name
            );
        }
        let path = "jsonpath={.items[*].spec.era}";
        let mine = format!("{}={}", names::LABEL_CLUSTER, scene.name);
        let get = ["get", "gcell", "-n", NAMESPACE, "-l", &mine, "-o", path];
        let era = stage.plane.kubectl(&get).await?;
        ensure!(era == "1", "the era is {era}");
        Ok(Some(()))
    })
    .await
}
