//! Two of three agents are killed at once: the one that is left can prove nothing. It is said so, and
//! the operator records them as failed once its own probes have been unanswered for 5 s and their pods
//! are not ready. Two of three are more than 40 %, so it is Frozen, and no slot moves until a person
//! says that so many may fail.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use slotmesh_e2e::measure::{self, Failure};
use slotmesh_e2e::stage::{NAMESPACE, Stage};
use slotmesh_e2e::wait;

use crate::{DEADLINE, Scene};

/// The operator's probes must be unanswered that long before it may remove anybody.
const NOT_BEFORE: Duration = Duration::from_secs(5);

pub async fn play(stage: &mut Stage) -> Result<()> {
    let scene = Scene::set(stage, "majority", 3).await?;
    let (survivor, victims) = scene.agents.split_first().context("no agents")?;
    let verdicts = survivor.metric(VERDICTS).await?;
    let begun = Instant::now();
    for victim in victims {
        measure::bring_down(&scene.nodes, victim, Failure::Kill)?;
    }
    let reason = wait::until("Degraded/NoFailover", DEADLINE, async || {
        let cluster = stage.cluster(scene.name).await?;
        let status = cluster.status.unwrap_or_default();
        let degraded = status
            .conditions
            .into_iter()
            .find(|c| c.type_ == "Degraded");
        Ok(degraded.filter(|c| c.status == "True" && c.reason == "NoFailover"))
    })
    .await?;
    println!(
        "  after {:.1} s: {}",
        begun.elapsed().as_secs_f64(),
        reason.message
    );
    let reason = wait::until("Frozen/MassFailure", DEADLINE, async || {
        let cluster = stage.cluster(scene.name).await?;
        let status = cluster.status.unwrap_or_default();
        let mut conditions = status.conditions.into_iter();
        let frozen = conditions.find(|c| c.type_ == "Frozen");
        Ok(frozen.filter(|c| c.status == "True" && c.reason == "MassFailure"))
    })
    .await?;
    println!(
        "  after {:.1} s: {}",
        begun.elapsed().as_secs_f64(),
        reason.message
    );
    let raised = json!({"balancing": {"maxUnhealthyPercent": 100}});
    stage.apply_cluster(scene.name, &raised).await?;
    stage.wait_ready(scene.name, 1).await?;
    let took = begun.elapsed();
    ensure!(took >= NOT_BEFORE, "removed after {took:?}, without proof");
    ensure!(
        survivor.metric(VERDICTS).await? <= verdicts,
        "one of three claimed a verdict over the other two"
    );
    println!(
        "  with the limit raised, after {:.1} s, all slots are on the survivor",
        took.as_secs_f64()
    );
    for victim in victims {
        scene
            .nodes
            .change(NAMESPACE, &victim.name, |verbs| verbs.held = false)?;
    }
    stage.wait_ready(scene.name, 3).await?;
    scene.strike(stage).await
}

const VERDICTS: &str = "slotmesh_agent_verdicts_total";
