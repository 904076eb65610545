//! Both operators are killed (kill -9) at each step of a split: once the parent's record names its
//! parts, once the first part is on record, once both are. Whoever leads next goes on from there. No
//! slot moves, nobody is accused, and every look-up is answered.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use futures::TryStreamExt;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use serde_json::json;
use slotmesh_api::{GossipCell, names};
use slotmesh_e2e::lookups::LookUps;
use slotmesh_e2e::record::Record;
use slotmesh_e2e::stage::{NAMESPACE, OPERATOR_NAMESPACE, Stage};
use slotmesh_e2e::wait;

use crate::{DEADLINE, Scene, told};

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

/// Whether each cell on record names parts, by name of the cell.
type Cells = BTreeMap<String, bool>;

pub async fn play(stage: &mut Stage) -> Result<()> {
    let scene = Scene::set(stage, "torn", NODES).await?;
    let before = Record::read(stage, scene.name).await?;
    let restarts = stage.restarts(scene.name).await?;
    let look_ups = LookUps::start(&scene.agents);
    let begun = Instant::now();
    let killed_at = tokio::time::timeout(DEADLINE, split_under_kills(stage, &scene));
    let killed_at = killed_at.await.context("the split never ends")??;
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

/// Asks for a split and kills the operators at each step of it; where the split was when they were dead.
async fn split_under_kills(stage: &Stage, scene: &Scene) -> Result<Vec<Step>> {
    let all: Api<GossipCell> = Api::namespaced(stage.plane.client(), NAMESPACE);
    let mine = format!("{}={}", names::LABEL_CLUSTER, scene.name);
    let config = watcher::Config::default().labels(&mine);
    let mut changes = pin!(watcher(all, config).default_backoff());
    let limit = json!({"cells": {"maxMembers": NODES - 1}});
    stage.apply_cluster(scene.name, &limit).await?;
    let mut cells = Cells::new();
    let mut reached = Step::Whole;
    let mut killed_at = Vec::new();
    while let Some(change) = changes.try_next().await? {
        match change {
            watcher::Event::Apply(cell) | watcher::Event::InitApply(cell) => {
                cells.insert(cell.name_any(), !cell.spec.delegation.is_empty());
            }
            watcher::Event::Delete(cell) => drop(cells.remove(&cell.name_any())),
            watcher::Event::Init | watcher::Event::InitDone => continue,
        }
        let now = step_of(&cells);
        if now <= reached {
            continue;
        }
        reached = now;
        if now == Step::Done {
            return Ok(killed_at);
        }
        killed_at.push(kill_all(stage, scene).await?);
    }
    anyhow::bail!("the watch ended")
}

/// Kills the operators, whose nodes start them again; where the split was when all were dead.
async fn kill_all(stage: &Stage, scene: &Scene) -> Result<Step> {
    let pods = stage.operator_pods().await?;
    for pod in &pods {
        stage.operators.hold(OPERATOR_NAMESPACE, pod)?;
    }
    wait::until("the operators to be dead", DEADLINE, async || {
        for operator in stage.operators().await? {
            if operator.metric("slotmesh_operator_leader").await.is_ok() {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
    .await?;
    let all: Api<GossipCell> = Api::namespaced(stage.plane.client(), NAMESPACE);
    let mine = format!("{}={}", names::LABEL_CLUSTER, scene.name);
    let listed = all
        .list(&kube::api::ListParams::default().labels(&mine))
        .await?;
    let cells: Cells = listed
        .iter()
        .map(|cell| (cell.name_any(), !cell.spec.delegation.is_empty()))
        .collect();
    let step = step_of(&cells);
    ensure!(
        step != Step::Done,
        "the split was over before the operators were dead"
    );
    for pod in &pods {
        stage.operators.return_pod(OPERATOR_NAMESPACE, pod)?;
    }
    Ok(step)
}

fn step_of(cells: &Cells) -> Step {
    let parents = cells.values().filter(|names_parts| **names_parts).count();
    match (parents, cells.len() - parents) {
        (0, 2) => Step::Done,
        (0, _) => Step::Whole,
        (_, 0) => Step::Delegated,
        (_, 1) => Step::FirstPart,
        (_, _) => Step::BothParts,
    }
}
