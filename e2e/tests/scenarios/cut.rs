//! Two of five nodes are cut off from the other three and from the operator. The three come to a verdict
//! over the two and move their slots; the two, who see as much silence, claim nothing. When the cut
//! heals, all five are members again.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use slotmesh_e2e::measure;
use slotmesh_e2e::network::OPERATORS;
use slotmesh_e2e::stage::{Agent, Stage};
use slotmesh_e2e::wait;

use crate::silence::verdicts_over_none_but;
use crate::{DEADLINE, Scene};

const VERDICTS: &str = "slotmesh_agent_verdicts_total";
/// Several times what a verdict takes.
const OBSERVATION: Duration = Duration::from_secs(6);

pub async fn play(stage: &mut Stage) -> Result<()> {
    let scene = Scene::set_apart(stage, "cut", 5).await?;
    let (two, three) = scene.agents.split_at(2);
    let nodes_of = |agents: &[Agent]| -> Vec<String> {
        agents.iter().map(|agent| agent.node.clone()).collect()
    };
    let (off, mut rest) = (nodes_of(two), nodes_of(three));
    rest.push(OPERATORS.into());
    let off: Vec<&str> = off.iter().map(String::as_str).collect();
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();

    let before = scene.metrics(&scene.agents, VERDICTS).await?;
    let cut = Instant::now();
    let measured =
        measure::fail_by(stage, scene.name, two, || scene.nodes.cut(&off, &rest)).await?;
    stage.wait_ready(scene.name, 3).await?;
    println!("  the three: {measured}");
    measured.ensure_minimal()?;
    // Once at least, however long the three have taken.
    loop {
        let now = scene.metrics(two, VERDICTS).await?;
        ensure!(now == before[..2], "the minority claims: {now:?}");
        if cut.elapsed() > OBSERVATION {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    println!(
        "  the two: nothing claimed in {:.1} s",
        cut.elapsed().as_secs_f64()
    );

    scene.nodes.heal()?;
    let healed = Instant::now();
    stage.wait_ready(scene.name, 5).await?;
    wait::until("all five to be members", DEADLINE, async || {
        let epochs = scene.metrics(&scene.agents, measure::EPOCH).await?;
        let joined = scene
            .metrics(&scene.agents, "slotmesh_agent_joined")
            .await?;
        let same = epochs.iter().all(|epoch| *epoch == epochs[0]);
        Ok((same && joined.iter().all(|is| *is > 0.0)).then_some(()))
    })
    .await?;
    println!(
        "  all five are members again {:.2} s after the cut has healed",
        healed.elapsed().as_secs_f64()
    );
    let verdicts = verdicts_over_none_but(stage, &scene.agents, two).await?;
    println!("  {verdicts} verdicts in all, none over one of the three");
    scene.strike(stage).await
}
