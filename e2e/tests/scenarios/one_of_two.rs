//! One of two agents is killed. With the operator, whose own probe is the second witness, there is a
//! verdict; without it nothing is claimed, because the survivor cannot tell the other's death from its
//! own isolation.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use slotmesh_e2e::measure::{self, Failure};
use slotmesh_e2e::stage::{Agent, Location, Stage};

use crate::Scene;

/// Several times what a verdict takes.
const OBSERVATION: Duration = Duration::from_secs(6);
/// Seconds for which the operator's own probes are unanswered before it removes whom nobody found failed.
const SECOND_LOOK: f64 = 5.0;
const VERDICTS: &str = "slotmesh_agent_verdicts_total";

/// What an agent claims of others.
#[derive(Debug, PartialEq)]
struct Claims {
    verdicts: f64,
    failed: Vec<String>,
    /// Epoch and owner of a key.
    place: Location,
}

impl Claims {
    async fn of(agent: &Agent) -> Result<Self> {
        let mut place = agent.locate("user:42").await?;
        // It may say that it is alone: that claims nothing.
        place.stale = false;
        Ok(Self {
            verdicts: agent.metric(VERDICTS).await?,
            failed: agent.failed().await?,
            place,
        })
    }
}

pub async fn play(stage: &mut Stage) -> Result<()> {
    let scene = Scene::set(stage, "two", 2).await?;
    let (victim, survivor) = (&scene.agents[0], &scene.agents[1]);
    let victims = std::slice::from_ref(victim);
    let verdicts = survivor.metric(VERDICTS).await?;
    let measured = measure::fail(stage, &scene.nodes, scene.name, victims, Failure::Kill).await?;
    println!("  with the operator: {measured}");
    measured.ensure_minimal()?;
    // The operator alone removes it too, on a second look: later, and without a verdict.
    ensure!(
        measured.spread.from_map == 0,
        "the survivor came to no verdict"
    );
    let since = survivor.metric(VERDICTS).await? - verdicts;
    ensure!((since - 1.0).abs() < 0.5, "{since} verdicts");
    ensure!(
        measured.spread.verdict < SECOND_LOOK,
        "it took as long as the operator takes alone"
    );
    measure::back(stage, &scene.nodes, scene.name, victim).await?;
    stage.wait_ready(scene.name, 2).await?;

    let operators = stage.operator_pods().await?;
    stage.hold_operators(&operators).await?;
    let before = Claims::of(survivor).await?;
    measure::bring_down(&scene.nodes, victim, Failure::Kill)?;
    let begun = Instant::now();
    while begun.elapsed() < OBSERVATION {
        let now = Claims::of(survivor).await?;
        ensure!(now == before, "without the operator: {now:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    println!(
        "  without the operator: nothing claimed in {} s",
        OBSERVATION.as_secs()
    );
    stage.return_operators(&operators)?;
    stage.wait_ready(scene.name, 1).await?;
    println!("  the operator is back: the survivor owns every slot");
    measure::back(stage, &scene.nodes, scene.name, victim).await?;
    scene.strike(stage).await
}
