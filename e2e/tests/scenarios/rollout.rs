//! The pod template changes: new agents are Ready before the old ones leave, so whoever asks his node's
//! agent is always answered; and each takes over exactly what the old one on its node owned.

use std::time::Instant;

use anyhow::{Result, ensure};
use serde_json::json;
use slotmesh_e2e::lookups::LookUps;
use slotmesh_e2e::record::Record;
use slotmesh_e2e::stage::{NAMESPACE, Stage};
use slotmesh_e2e::wait;

use crate::{DEADLINE, Scene, told};

const NODES: u8 = 4;
/// Look-ups on each node.
const PER_SECOND: u32 = 50;

pub async fn play(stage: &mut Stage) -> Result<()> {
    let mut scene = Scene::set(stage, "rolled", NODES).await?;
    // Agents that are not available yet are replaced all at once.
    let mut available = vec![
        "rollout",
        "status",
        "daemonset/rolled-agent",
        "-n",
        NAMESPACE,
    ];
    available.extend(["--timeout", "60s"]);
    stage.plane.kubectl(&available).await?;
    let before = Record::read(stage, scene.name).await?;
    let nodes = scene.nodes.names();
    let look_ups = LookUps::start_on(PER_SECOND, stage, scene.name, nodes);

    let begun = Instant::now();
    let agent = json!({
        "update": {"maxSurge": 2},
        "podOverrides": {"metadata": {"annotations": {"team": "x"}}},
    });
    stage
        .apply_cluster(scene.name, &json!({"agent": agent}))
        .await?;
    let note = told::event(stage, scene.name, "RolloutCompleted", "").await?;
    let agents = wait::until("the last old agent to be gone", DEADLINE, async || {
        let agents = stage.agents(scene.name).await?;
        let new = agents.iter().all(|agent| !scene.agents.contains(agent));
        let record = Record::read(stage, scene.name).await?;
        let complete = agents.len() == usize::from(NODES) && record.members.len() == agents.len();
        Ok((new && complete).then_some(agents))
    })
    .await?;
    println!("  {note}, after {:.1} s", begun.elapsed().as_secs_f64());
    stage.wait_ready(scene.name, NODES.into()).await?;
    told::condition(stage, scene.name, "Reconciling", "AsExpected").await?;
    let tally = look_ups.stop().await?;
    println!("  asked of the agent on each node: {tally}");
    let after = Record::read(stage, scene.name).await?;
    let elsewhere = after.rehomed_since(&before).on_other_node;
    println!(
        "  {} slots have new owners, {elsewhere} of them on another node; {} epochs",
        after.since(&before).moved,
        after.epoch - before.epoch
    );
    tally.ensure_served()?;
    ensure!(elsewhere == 0, "{elsewhere} slots changed their node");
    let handed_over: usize = told::events(stage, scene.name)
        .await?
        .iter()
        .filter(|(reason, _)| reason == "SlotsHandedOver")
        .filter_map(|(_, note)| note.split(' ').next()?.parse::<usize>().ok())
        .sum();
    ensure!(handed_over == 16384, "events tell of {handed_over} slots");
    told::ensure_never_frozen(stage, scene.name).await?;
    scene.agents = agents;
    scene.strike(stage).await
}
