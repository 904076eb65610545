//! Half of the agents vanish at once, more than `balancing.maxUnhealthyPercent`: no slot moves, and it
//! is said why and what to do. They come back and own what they owned. Then whoever owns one key is
//! killed, again and again: the third is not replaced, for that key may be what kills them.

use std::time::Instant;

use anyhow::{Result, ensure};
use slotmesh_e2e::record::Record;
use slotmesh_e2e::stage::{Agent, NAMESPACE, Stage};
use slotmesh_e2e::wait;

use crate::{DEADLINE, Scene, told};

const NODES: u8 = 10;
const KEY: &str = "user:42";

pub async fn play(stage: &mut Stage) -> Result<()> {
    let scene = Scene::set(stage, "storm", NODES).await?;
    half_of_them_vanish(stage, &scene).await?;
    owners_die_in_sequence(stage, &scene).await?;
    scene.strike(stage).await
}

async fn half_of_them_vanish(stage: &Stage, scene: &Scene) -> Result<()> {
    let before = Record::read(stage, scene.name).await?;
    let victims = &scene.agents[usize::from(NODES) / 2..];
    let begun = Instant::now();
    for victim in victims {
        scene.nodes.hold(NAMESPACE, &victim.name)?;
    }
    let message = told::condition(stage, scene.name, "Frozen", "MassFailure").await?;
    println!(
        "  {} of {NODES} are killed: {:.1} s later: {message}",
        victims.len(),
        seconds(begun)
    );
    ensure!(
        message.contains("kubectl delete pod"),
        "no next step: {message}"
    );
    told::event(stage, scene.name, "MassFailure", "no slot moves").await?;
    wait::until(
        "all of them to be recorded as failed",
        DEADLINE,
        async || {
            let status = stage.cluster(scene.name).await?.status.unwrap_or_default();
            Ok((status.failed_members == Some(victims.len().try_into()?)).then_some(()))
        },
    )
    .await?;
    let frozen = Record::read(stage, scene.name).await?;
    ensure!(frozen.since(&before).moved == 0, "slots moved while frozen");

    let begun = Instant::now();
    return_all(scene, victims)?;
    told::event(stage, scene.name, "Unfrozen", "MassFailure").await?;
    stage.wait_ready(scene.name, NODES.into()).await?;
    told::condition(stage, scene.name, "Frozen", "AsExpected").await?;
    let after = Record::read(stage, scene.name).await?;
    let moved = after.since(&before).moved;
    println!(
        "  they return: planning goes on after {:.1} s, {} epochs in all, {moved} slots moved",
        seconds(begun),
        after.epoch - before.epoch
    );
    ensure!(moved == 0, "{moved} slots moved");
    Ok(())
}

async fn owners_die_in_sequence(stage: &Stage, scene: &Scene) -> Result<()> {
    let mut dead = Vec::new();
    for _ in 0..2 {
        let owner = scene.owner_of(KEY, &dead).await?;
        scene.nodes.hold(NAMESPACE, &owner.name)?;
        dead.push(owner.clone());
        wait::until("the key to have another owner", DEADLINE, async || {
            let next = scene.owner_of(KEY, &dead).await?;
            Ok((next != owner).then_some(()))
        })
        .await?;
    }
    let third = scene.owner_of(KEY, &dead).await?;
    let before = Record::read(stage, scene.name).await?;
    let begun = Instant::now();
    scene.nodes.hold(NAMESPACE, &third.name)?;
    dead.push(third.clone());
    let message = told::condition(stage, scene.name, "Frozen", "OwnersDyingInSequence").await?;
    println!(
        "  the third owner of one key is killed: {:.1} s later: {message}",
        seconds(begun)
    );
    for owner in &dead {
        ensure!(message.contains(&owner.name), "{} is not named", owner.name);
    }
    let frozen = Record::read(stage, scene.name).await?;
    ensure!(frozen.since(&before).moved == 0, "slots moved while frozen");
    ensure!(
        frozen.held_by(&third.uid) > 0,
        "the third owner holds nothing"
    );
    return_all(scene, &dead)
}

fn return_all(scene: &Scene, agents: &[Agent]) -> Result<()> {
    agents
        .iter()
        .try_for_each(|agent| scene.nodes.return_pod(NAMESPACE, &agent.name))
}

fn seconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64()
}
