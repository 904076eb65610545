//! etcd is restored from a backup that is older than a death: the record is a map that the agents have long left behind. They
//! show the operator the newer one with its signature, no map is made on the old record, and it is said why. With the newer
//! record back all goes on.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use slotmesh_e2e::lookups::LookUps;
use slotmesh_e2e::record::Record;
use slotmesh_e2e::stage::{Agent, NAMESPACE, OPERATOR_USER, Stage};
use slotmesh_e2e::wait;

use crate::{DEADLINE, Scene, scene, told};

const NODES: u8 = 4;

pub async fn play(stage: &mut Stage) -> Result<()> {
    let scene = Scene::set(stage, "restored", NODES).await?;
    let record = Record::read(stage, scene.name).await?;
    let cell = record.cells.first().context("no record")?.clone();
    let backup = read(stage, &cell).await?;
    let (victim, survivors) = scene.agents.split_first().context("no agents")?;
    after_a_death(stage, &scene, &record, victim).await?;
    let newest = read(stage, &cell).await?;

    let look_ups = LookUps::start(survivors);
    for newer_is_lost in [false, true] {
        let before = Record::read(stage, scene.name).await?;
        restore(stage, &scene, &cell, &backup).await?;
        let restored = Record::read(stage, scene.name).await?;
        ensure!(
            restored.epoch == record.epoch,
            "a map was made on the old record: epoch {}, restored was {}",
            restored.epoch,
            record.epoch
        );
        scene::ensure_epoch(survivors, before.epoch).await?;
        println!("  no map is made on it, and no agent goes back");
        match newer_is_lost {
            false => write(stage, "replace", &newest).await?,
            true => delete(stage, &cell).await?,
        }
        told::condition(stage, scene.name, "Frozen", "AsExpected").await?;
        let after = Record::read(stage, scene.name).await?;
        ensure!(
            after.epoch >= before.epoch,
            "epoch {} after {}",
            after.epoch,
            before.epoch
        );
        let how = match newer_is_lost {
            false => "the newer record is put back",
            true => "the record is deleted, and written again with a newer epoch",
        };
        println!("  {how}: all goes on");
    }
    scene.nodes.return_pod(NAMESPACE, &victim.name)?;
    stage.wait_ready(scene.name, NODES.into()).await?;
    let tally = look_ups.stop().await?;
    println!("  {tally}");
    tally.ensure_served()?;
    scene.strike(stage).await
}

/// While no operator looks.
async fn restore(stage: &Stage, scene: &Scene, cell: &str, backup: &Value) -> Result<()> {
    let pods = stage.operator_pods().await?;
    stage.hold_operators(&pods).await?;
    delete(stage, cell).await?;
    write(stage, "create", backup).await?;
    let begun = Instant::now();
    stage.return_operators(&pods)?;
    let message = told::frozen(stage, scene.name, "EpochRegression", cell).await?;
    println!(
        "  a record from before a death is restored: {:.2} s after the operators are back: {message}",
        begun.elapsed().as_secs_f64()
    );
    Ok(())
}

/// One agent is killed and stays down until its slots have new owners.
async fn after_a_death(
    stage: &Stage,
    scene: &Scene,
    before: &Record,
    victim: &Agent,
) -> Result<()> {
    scene.nodes.hold(NAMESPACE, &victim.name)?;
    wait::until("the slots to have new owners", DEADLINE, async || {
        let record = Record::read(stage, scene.name).await?;
        Ok((record.epoch > before.epoch && record.unserved() == 0).then_some(()))
    })
    .await
}

async fn read(stage: &Stage, cell: &str) -> Result<Value> {
    let get = ["get", "gcell", cell, "-n", NAMESPACE, "-o", "json"];
    let mut record: Value = serde_json::from_str(&stage.plane.kubectl(&get).await?)?;
    let metadata = record["metadata"].as_object_mut().context("no metadata")?;
    for of_one_object in ["resourceVersion", "uid", "creationTimestamp", "generation"] {
        metadata.remove(of_one_object);
    }
    Ok(record)
}

/// The API refuses to lower an epoch: a record is deleted and made again.
async fn delete(stage: &Stage, cell: &str) -> Result<()> {
    let delete = [
        "delete",
        "gcell",
        cell,
        "-n",
        NAMESPACE,
        "--as",
        OPERATOR_USER,
    ];
    stage.plane.kubectl(&delete).await?;
    Ok(())
}

async fn write(stage: &Stage, how: &str, record: &Value) -> Result<()> {
    let write = [how, "-f", "-", "--as", OPERATOR_USER];
    let text = record.to_string();
    stage.plane.kubectl_with_input(&write, &text).await?;
    Ok(())
}
