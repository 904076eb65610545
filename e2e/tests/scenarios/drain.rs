//! Nodes are drained, by `kubectl drain` and by an annotation: the slots there move away, no others do,
//! and it is told when the node can go. Afterwards the node takes its share again.

use std::time::Instant;

use anyhow::{Result, ensure};
use slotmesh_e2e::lookups::LookUps;
use slotmesh_e2e::record::{Moves, Record};
use slotmesh_e2e::stage::{Agent, Stage};
use slotmesh_e2e::wait;

use crate::{DEADLINE, Scene, told};

const NODES: u8 = 4;
const CAPACITY: &str = "slotmesh.dev/capacity";

pub async fn play(stage: &mut Stage) -> Result<()> {
    let scene = Scene::set(stage, "drained", NODES).await?;
    let look_ups = LookUps::start(&scene.agents);
    let (one, other) = (&scene.agents[1], &scene.agents[2]);

    let drain = ["drain", &one.node, "--ignore-daemonsets", "--timeout=60s"];
    goes(stage, &scene, one, "kubectl drain", &drain).await?;
    let uncordon = ["uncordon", &one.node];
    comes_back(stage, &scene, one, "kubectl uncordon", &uncordon).await?;

    let (none, some) = (format!("{CAPACITY}=0"), format!("{CAPACITY}-"));
    let annotate = ["annotate", "node", &other.node, &none];
    goes(stage, &scene, other, "capacity=0", &annotate).await?;
    let clear = ["annotate", "node", &other.node, &some];
    comes_back(stage, &scene, other, "the annotation is removed", &clear).await?;

    let tally = look_ups.stop().await?;
    println!("  {tally}");
    tally.ensure_served()?;
    told::ensure_never_frozen(stage, scene.name).await?;
    scene.strike(stage).await
}

/// Its node is drained: told as an event; it is a member still, and holds nothing.
async fn goes(
    stage: &Stage,
    scene: &Scene,
    agent: &Agent,
    what: &str,
    command: &[&str],
) -> Result<()> {
    let before = Record::read(stage, scene.name).await?;
    let held = before.held_by(&agent.uid);
    ensure!(held > 0, "{} holds nothing anyway", agent.name);
    let moves = after(stage, scene, &before, command, |record| {
        record.held_by(&agent.uid) == 0
    })
    .await?;
    println!("  {what}: {}", told_moves(&moves));
    ensure!(moves.0.moved == held as u64, "{held} slots were there");
    ensure!(moves.0.beyond() == 0.0, "{:?}", moves.0);
    let note = told::event(stage, scene.name, "OwnerDrained", &agent.name).await?;
    println!("  {note}");
    stage.wait_ready(scene.name, NODES.into()).await.map(drop)
}

async fn comes_back(
    stage: &Stage,
    scene: &Scene,
    agent: &Agent,
    what: &str,
    command: &[&str],
) -> Result<()> {
    let before = Record::read(stage, scene.name).await?;
    let moves = after(stage, scene, &before, command, |record| {
        record.held_by(&agent.uid) > 0
    })
    .await?;
    println!("  {what}: {}", told_moves(&moves));
    ensure!(moves.0.beyond() == 0.0, "{:?}", moves.0);
    stage.wait_ready(scene.name, NODES.into()).await.map(drop)
}

/// Runs a command and waits for what it is to bring about: what moved, and the seconds it took.
async fn after(
    stage: &Stage,
    scene: &Scene,
    before: &Record,
    command: &[&str],
    done: impl Fn(&Record) -> bool,
) -> Result<(Moves, f64)> {
    let begun = Instant::now();
    stage.plane.kubectl(command).await?;
    let record = wait::until("the slots to move", DEADLINE, async || {
        let record = Record::read(stage, scene.name).await?;
        Ok(done(&record).then_some(record))
    })
    .await?;
    ensure!(
        record.unserved() == 0,
        "{} slots unserved",
        record.unserved()
    );
    Ok((record.since(before), begun.elapsed().as_secs_f64()))
}

fn told_moves((moves, seconds): &(Moves, f64)) -> String {
    format!(
        "{} slots moved after {seconds:.2} s, {} is the fewest possible; {} epoch",
        moves.moved, moves.minimum, moves.epochs
    )
}
