//! How far the operator goes by itself. Preview: what evening out would come to is shown and not done.
//! Disabled: nobody evens out, but slots without an owner find one. Paused: not even those, until the
//! pause is over.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use slotmesh_e2e::measure;
use slotmesh_e2e::record::Record;
use slotmesh_e2e::stage::{Agent, NAMESPACE, Stage};
use slotmesh_e2e::wait;

use crate::{DEADLINE, Scene, told};

const NODES: u8 = 4;
const ALL: i32 = NODES as i32 + 1;
/// Many times what the operator needs to record a change.
const NOTHING_HAPPENS: Duration = Duration::from_secs(2);

pub async fn play(stage: &mut Stage) -> Result<()> {
    let preview = json!({"balancing": {"mode": "Preview"}});
    let mut scene = Scene::set_with(stage, "asked", NODES, &preview).await?;
    let guest = stage.add_nodes("asking", 1).await?;
    let new = a_plan_is_shown(stage, &mut scene).await?;
    only_the_ownerless(stage, &scene, &new).await?;
    nothing_while_paused(stage, &scene, &new).await?;
    scene.strike(stage).await?;
    guest.remove().await;
    Ok(())
}

/// A new agent joins and holds nothing; the plan tells what it would get.
async fn a_plan_is_shown(stage: &Stage, scene: &mut Scene) -> Result<Agent> {
    let before = Record::read(stage, scene.name).await?;
    let message = told::condition(stage, scene.name, "Rebalancing", "PlanAwaitingApproval").await?;
    println!("  Preview: {message}");
    ensure!(
        message.contains("kubectl -n default edit gossip asked"),
        "no next step"
    );
    let status = stage.wait_ready(scene.name, ALL).await?.status;
    let plan = status
        .and_then(|status| status.plan)
        .context("no plan in the status")?;
    let share = 16384 / ALL;
    ensure!(
        (plan.slots - share).abs() <= 1,
        "{plan:?}, though a share is {share}"
    );
    let agents = stage.agents(scene.name).await?;
    let mut newer = agents.iter().filter(|agent| !scene.agents.contains(agent));
    let new = newer.next().context("no new agent")?.clone();
    let after = Record::read(stage, scene.name).await?;
    ensure!(after.lists(&new.uid), "not a member");
    ensure!(after.since(&before).moved == 0, "slots moved all the same");
    println!(
        "  Preview: {} is a member and holds {} slots",
        new.name,
        after.held_by(&new.uid)
    );
    scene.agents = agents;
    Ok(new)
}

async fn only_the_ownerless(stage: &Stage, scene: &Scene, new: &Agent) -> Result<()> {
    let disabled = json!({"balancing": {"mode": "Disabled"}});
    stage.apply_cluster(scene.name, &disabled).await?;
    told::condition(stage, scene.name, "Rebalancing", "AsExpected").await?;
    let before = Record::read(stage, scene.name).await?;
    let victim = first_but(scene, new)?;
    scene.nodes.hold(NAMESPACE, &victim.name)?;
    stage.wait_ready(scene.name, ALL - 1).await?;
    let after = Record::read(stage, scene.name).await?;
    let (moved, held) = (after.since(&before).moved, before.held_by(&victim.uid));
    println!("  Disabled: an agent dies: {moved} slots moved, {held} were its own");
    ensure!(moved == held as u64, "others moved too");
    ensure!(after.unserved() == 0, "{} slots unserved", after.unserved());

    scene.nodes.return_pod(NAMESPACE, &victim.name)?;
    stage.wait_ready(scene.name, ALL).await?;
    let back = Record::read(stage, scene.name).await?;
    ensure!(back.since(&after).moved == 0, "evened out all the same");
    println!("  Disabled: it returns: 0 slots moved");
    Ok(())
}

async fn nothing_while_paused(stage: &Stage, scene: &Scene, new: &Agent) -> Result<()> {
    let spec = |paused| json!({"paused": paused, "balancing": {"mode": "Automatic"}});
    stage.apply_cluster(scene.name, &spec(true)).await?;
    told::condition(stage, scene.name, "Frozen", "AsExpected").await?;
    let before = Record::read(stage, scene.name).await?;
    let victim = scene
        .agents
        .iter()
        .find(|agent| before.held_by(&agent.uid) > 0 && *agent != new)
        .context("nobody holds anything")?;
    let at = measure::unix_seconds();
    scene.nodes.hold(NAMESPACE, &victim.name)?;
    let verdict = measure::verdict_over(&scene.others(victim), victim, at).await?;
    tokio::time::sleep(NOTHING_HAPPENS).await;
    let paused = Record::read(stage, scene.name).await?;
    ensure!(
        paused == before,
        "epoch {} -> {}",
        before.epoch,
        paused.epoch
    );
    println!(
        "  paused: an agent dies: verdict on the last survivor after {:.2} s, no new map",
        verdict - at
    );
    let begun = Instant::now();
    stage.apply_cluster(scene.name, &spec(false)).await?;
    let caught_up = wait::until(
        "the slots to find owners and evenness",
        DEADLINE,
        async || {
            let record = Record::read(stage, scene.name).await?;
            let shares = scene
                .others(victim)
                .into_iter()
                .map(|it| record.held_by(&it.uid));
            let share = 16384 / (ALL - 1) as usize;
            let even = shares.into_iter().all(|held| held.abs_diff(share) <= 1);
            Ok((even && record.unserved() == 0).then_some(record))
        },
    )
    .await?;
    println!(
        "  not paused: evened out among the living after {:.2} s, {} slots moved",
        begun.elapsed().as_secs_f64(),
        caught_up.since(&before).moved
    );
    ensure!(!caught_up.lists(&victim.uid), "the dead is listed");
    scene.nodes.return_pod(NAMESPACE, &victim.name)?;
    stage.wait_ready(scene.name, ALL).await.map(drop)
}

fn first_but<'a>(scene: &'a Scene, new: &Agent) -> Result<&'a Agent> {
    let mut agents = scene.agents.iter().filter(|agent| *agent != new);
    agents.next().context("no agents")
}
