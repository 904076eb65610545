//! One of two agents is killed. With the operator, whose own probe is the second witness, there is a
//! verdict; without it nothing is claimed, because the survivor cannot tell the other's death from its
//! own isolation.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use slotmesh_e2e::measure::{self, Failure};
use slotmesh_e2e::stage::{OPERATOR_NAMESPACE, Stage};

use crate::Scene;

/// Several times what a verdict takes.
const OBSERVATION: Duration = Duration::from_secs(6);

pub async fn play(stage: &mut Stage) -> Result<()> {
    let scene = Scene::set(stage, "two", 2).await?;
    let (victim, survivor) = (&scene.agents[0], &scene.agents[1]);
    let victims = std::slice::from_ref(victim);
    let measured = measure::fail(stage, &scene.nodes, scene.name, victims, Failure::Kill).await?;
    println!(
        "  with the operator: verdict after {:.2} s, {} slots moved",
        measured.spread.verdict, measured.moves
    );
    measure::back(stage, &scene.nodes, scene.name, victim).await?;
    stage.wait_ready(scene.name, 2).await?;

    let operators = stage.operator_pods().await?;
    for pod in &operators {
        stage.operators.hold(OPERATOR_NAMESPACE, pod)?;
    }
    let verdicts = survivor.metric("slotmesh_agent_verdicts_total").await?;
    measure::bring_down(&scene.nodes, victim, Failure::Kill)?;
    let begun = Instant::now();
    while begun.elapsed() < OBSERVATION {
        let now = survivor.metric("slotmesh_agent_verdicts_total").await?;
        ensure!(
            (now - verdicts).abs() < 0.5,
            "a verdict without the operator"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    println!(
        "  without the operator: nothing claimed in {} s",
        OBSERVATION.as_secs()
    );
    for pod in &operators {
        stage.operators.return_pod(OPERATOR_NAMESPACE, pod)?;
    }
    stage.wait_ready(scene.name, 1).await?;
    println!("  the operator is back: the survivor owns every slot");
    measure::back(stage, &scene.nodes, scene.name, victim).await?;
    scene.strike(stage).await
}
