//! A node falls silent: what it sends and what is sent to it is lost, and nobody gets an error. The
//! others come to one verdict over its agent and over nobody else; it claims nothing. When packets get
//! through again, it becomes a member by joining again.

use anyhow::{Context, Result, ensure};
use slotmesh_e2e::measure::{self, Failure};
use slotmesh_e2e::stage::{Agent, NAMESPACE, Stage};

use crate::Scene;

const VERDICTS: &str = "slotmesh_agent_verdicts_total";
const ADMITTED: &str = "slotmesh_agent_join_attempts_total{outcome=\"admitted\"}";

pub async fn play(stage: &mut Stage) -> Result<()> {
    let scene = Scene::set_apart(stage, "silence", 5).await?;
    let (victims, others) = scene.agents.split_at(1);
    let victim = &victims[0];
    // kubectl logs reaches these nodes through their network.
    let logs = stage
        .plane
        .kubectl(&["logs", "-n", NAMESPACE, &victim.name])
        .await?;
    ensure!(logs.contains("map applied"), "its log is {logs:?}");

    let before = scene.metrics(&scene.agents, VERDICTS).await?;
    let admitted = scene.metrics(victims, ADMITTED).await?;
    let measured =
        measure::fail(stage, &scene.nodes, scene.name, victims, Failure::Silence).await?;
    println!("  {} survivors: {measured}", others.len());
    measured.ensure_minimal()?;
    ensure!(
        victim.metric(VERDICTS).await.is_err(),
        "the silent node answers from outside"
    );

    let claimed = scene.metrics(victims, VERDICTS).await?;
    ensure!(claimed == before[..1], "the silent one claims: {claimed:?}");

    measure::back(stage, &scene.nodes, scene.name, victim).await?;
    stage.wait_ready(scene.name, 5).await?;
    let after = scene.metrics(others, VERDICTS).await?;
    let since: Vec<f64> = after.iter().zip(&before[1..]).map(|(a, b)| a - b).collect();
    ensure!(since == [1.0; 4], "not one verdict each: {since:?}");
    let verdicts = verdicts_over_none_but(stage, &scene.agents, victims).await?;
    println!("  it joined again; {verdicts} verdicts in all, none over a healthy agent");
    ensure!(
        scene.metrics(victims, ADMITTED).await? > admitted,
        "it became a member without joining"
    );
    scene.strike(stage).await
}

/// How many verdicts the agents' logs tell of; an error when one is over anybody but the victims. (A
/// victim that is back may learn from the others' statements that it was found failed itself.)
pub async fn verdicts_over_none_but(
    stage: &Stage,
    agents: &[Agent],
    victims: &[Agent],
) -> Result<usize> {
    let mut verdicts = 0;
    for agent in agents {
        let arguments = ["logs", "-n", NAMESPACE, agent.name.as_str()];
        let logs = stage.plane.kubectl(&arguments).await?;
        for line in logs.lines().filter(|line| line.contains("verdict: failed")) {
            let named = line.split("failed=\"").nth(1).context(line.to_owned())?;
            for member in named.trim_end_matches('"').split(',') {
                let known = |victim: &Agent| member.starts_with(&format!("{}@", victim.uid));
                ensure!(victims.iter().any(known), "{}: {line}", agent.name);
            }
            verdicts += 1;
        }
    }
    Ok(verdicts)
}
