//! Both operators are killed (kill -9) at each step of a split: once the parent's record names its
//! parts, once the first part is on record, once both are. Whoever leads next goes on from there. No
//! slot moves, nobody is accused, and every look-up is answered.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};
use slotmesh_api::{GossipCell, names};
use slotmesh_e2e::lookups::LookUps;
use slotmesh_e2e::record::Record;
use slotmesh_e2e::stage::{NAMESPACE, Stage};
use slotmesh_e2e::wait;

use crate::{DEADLINE, Scene, policy, told};

/// Just above the lowest limit of a cell.
const NODES: u8 = 9;
const VERDICTS: &str = "slotmesh_agent_verdicts_total";

/// How far a split is, by what is on record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Whole,
    Delegated,
    FirstPart,
    BothParts,
    Done,
}

pub async fn play(stage: &mut Stage) -> Result<()> {
    let scene = Scene::set(stage, "torn", NODES).await?;
    let before = Record::read(stage, scene.name).await?;
    let restarts = stage.restarts(scene.name).await?;
    let look_ups = LookUps::start(&scene.agents);
    let begun = Instant::now();
    let killed_at = split_under_kills(stage, &scene).await?;
    println!(
        "  operators killed at {killed_at:?}; split after {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    stage.wait_ready(scene.name, NODES.into()).await?;
    wait::until(
        "every agent to be in one of the parts",
        DEADLINE,
        async || {
            let cells = Record::read(stage, scene.name).await?.cells;
            for agent in &scene.agents {
                let map = slotmesh_e2e::http::json(&agent.api("/v1/map")).await?;
                let cell = map["cell"].as_str().context("a map without a cell")?;
                ensure!(
                    cells.iter().any(|name| name == cell),
                    "{} is in {cell}",
                    agent.name
                );
            }
            Ok((cells.len() == 2).then_some(()))
        },
    )
    .await?;
    let tally = look_ups.stop().await?;
    println!("  {tally}");
    tally.ensure_served()?;
    let after = Record::read(stage, scene.name).await?;
    let moved = after.since(&before).moved;
    println!(
        "  {} on record, {moved} slots moved",
        after.cells.join(" and ")
    );
    ensure!(moved == 0, "{moved} slots moved");
    ensure!(after.cells.len() == 2, "{:?}", after.cells);
    let same = stage.restarts(scene.name).await?;
    ensure!(same == restarts, "an agent restarted");
    for agent in &scene.agents {
        let verdicts = agent.metric(VERDICTS).await?;
        ensure!(verdicts < 0.5, "{}: {verdicts} verdicts", agent.name);
    }
    told::ensure_never_frozen(stage, scene.name).await?;
    scene.strike(stage).await
}

/// Asks for a split and kills the operators at each step of it; where the split was when they were
/// dead. Between two writes lie milliseconds, so a policy holds the operators up where they are awaited.
async fn split_under_kills(stage: &Stage, scene: &Scene) -> Result<Vec<Step>> {
    let record = Record::read(stage, scene.name).await?;
    let parent = record.cells.first().context("no record")?;
    let pods = stage.operator_pods().await?;
    let mut killed_at = Vec::new();
    let no_part = format!("!object.metadata.name.startsWith('{}-')", scene.name);
    forbid(stage, parent, &no_part, &format!("{}-probe", scene.name)).await?;
    let limit = json!({"cells": {"maxMembers": NODES - 1}});
    stage.apply_cluster(scene.name, &limit).await?;
    killed_at.push(kill_at(stage, scene, &pods, Step::Delegated).await?);

    let path = "jsonpath={.spec.delegation[1].cell}";
    let second = ["get", "gcell", parent, "-n", NAMESPACE, "-o", path];
    let second = stage.plane.kubectl(&second).await?;
    let no_second = format!("object.metadata.name != '{second}'");
    forbid(stage, parent, &no_second, &second).await?;
    stage.return_operators(&pods)?;
    killed_at.push(kill_at(stage, scene, &pods, Step::FirstPart).await?);

    policy::lift(stage).await?;
    stage.return_operators(&pods)?;
    killed_at.push(kill_at(stage, scene, &pods, Step::BothParts).await?);
    stage.return_operators(&pods)?;
    wait::until("the split to be done", DEADLINE, async || {
        Ok((step(stage, scene).await? == Step::Done).then_some(()))
    })
    .await?;
    Ok(killed_at)
}

/// Lets nobody create records but those of which the expression holds, and waits until one of that name
/// is refused.
async fn forbid(stage: &Stage, parent: &str, expression: &str, refused: &str) -> Result<()> {
    policy::set(stage, &[("slotmesh.dev", &["gossipcells"])], expression).await?;
    let get = ["get", "gcell", parent, "-n", NAMESPACE, "-o", "json"];
    let mut probe: Value = serde_json::from_str(&stage.plane.kubectl(&get).await?)?;
    probe["metadata"] = json!({"name": refused, "namespace": NAMESPACE});
    policy::wait_for(stage, &probe).await
}

/// Waits for a step and kills the operators; where the split was when all were dead.
async fn kill_at(stage: &Stage, scene: &Scene, pods: &[String], wanted: Step) -> Result<Step> {
    wait::until(
        &format!("the split to be {wanted:?}"),
        DEADLINE,
        async || Ok((step(stage, scene).await? >= wanted).then_some(())),
    )
    .await?;
    stage.hold_operators(pods).await?;
    let step = step(stage, scene).await?;
    ensure!(step == wanted, "killed at {step:?} instead of {wanted:?}");
    Ok(step)
}

async fn step(stage: &Stage, scene: &Scene) -> Result<Step> {
    let all: Api<GossipCell> = Api::namespaced(stage.plane.client(), NAMESPACE);
    let mine = format!("{}={}", names::LABEL_CLUSTER, scene.name);
    let listed = all.list(&ListParams::default().labels(&mine)).await?;
    let (parents, others): (Vec<_>, Vec<_>) = listed
        .iter()
        .partition(|cell| !cell.spec.delegation.is_empty());
    Ok(match (parents.len(), others.len()) {
        (0, 2) => Step::Done,
        (0, _) => Step::Whole,
        (_, 0) => Step::Delegated,
        (_, 1) => Step::FirstPart,
        (_, _) => Step::BothParts,
    })
}
