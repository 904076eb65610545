//! The lead is handed over while an agent joins, by a leader that is told to end (for one that is killed see
//! `operator_restarted`). Then certificates live for 20 s only, and all operators are away for twice as long: the mesh
//! goes on with expired ones, finds a death, and gets new ones when somebody leads again. Nobody drops
//! a connection for it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use slotmesh_e2e::lookups::LookUps;
use slotmesh_e2e::measure;
use slotmesh_e2e::node::Nodes;
use slotmesh_e2e::stage::{Agent, CHART, NAMESPACE, OPERATOR_NAMESPACE, Stage};
use slotmesh_e2e::wait;

use crate::calm::Calm;
use crate::{DEADLINE, Scene};

const NODES: u8 = 4;
const LIFETIME: Duration = Duration::from_secs(20);
const AWAY: Duration = Duration::from_secs(40);
const EXPIRES: &str = "slotmesh_agent_certificate_expires_timestamp_seconds";
const CONNECTIONS: &str = "slotmesh_agent_connections";

pub async fn play(stage: &mut Stage) -> Result<()> {
    let flag = format!(
        "extraArgs={{--certificate-lifetime={}s}}",
        LIFETIME.as_secs()
    );
    stage.release(&["upgrade", "--set", &flag], CHART).await?;
    let mut scene = Scene::set(stage, "led", NODES).await?;
    let guest = handed_over(stage, &scene).await?;
    scene.agents = stage.agents(scene.name).await?;
    certificates_are_renewed(&scene).await?;
    operators_are_away(stage, &scene).await?;
    stage.release(&["upgrade"], CHART).await?;
    scene.strike(stage).await?;
    guest.remove().await;
    Ok(())
}

/// The leader goes while a new node's agent joins.
async fn handed_over(stage: &mut Stage, scene: &Scene) -> Result<Nodes> {
    let before = Calm::look(stage, scene).await?;
    let look_ups = LookUps::start(&scene.agents);
    let leader = stage.leader().await?;
    let begun = Instant::now();
    let mut delete = vec!["delete", "pod", &leader.name, "-n", OPERATOR_NAMESPACE];
    delete.push("--wait=false");
    stage.plane.kubectl(&delete).await?;
    let nodes = stage.add_nodes("led-guest", 1).await?;
    wait::until("another operator to lead", DEADLINE, async || {
        Ok((stage.leader().await? != leader).then_some(()))
    })
    .await?;
    let leads = begun.elapsed().as_secs_f64();
    stage.wait_ready(scene.name, i32::from(NODES) + 1).await?;
    println!(
        "  the leader is told to end: another leads after {leads:.1} s, an agent that joined meanwhile is a member after {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    let agents = stage.agents(scene.name).await?.into_iter();
    let new: Vec<Agent> = agents
        .filter(|agent| nodes.names().contains(&agent.node))
        .collect();
    everybody_lists(scene, &new[0]).await?;
    let tally = look_ups.stop().await?;
    println!("  {tally}");
    tally.ensure_served()?;
    let after = Calm::look(stage, scene).await?;
    after.ensure_one_join_since(&before, &new[0])?;
    Ok(nodes)
}

async fn everybody_lists(scene: &Scene, new: &Agent) -> Result<()> {
    wait::until("everybody to have the new map", DEADLINE, async || {
        for agent in &scene.agents {
            if !agent.incarnations().await?.contains_key(&new.uid) {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
    .await
}

/// Every certificate is replaced by one that lives longer.
async fn certificates_are_renewed(scene: &Scene) -> Result<()> {
    let mut before = Vec::new();
    for agent in &scene.agents {
        before.push(agent.metric(EXPIRES).await?);
    }
    let begun = Instant::now();
    wait::until("every certificate to be renewed", DEADLINE, async || {
        for (agent, before) in scene.agents.iter().zip(&before) {
            if agent.metric(EXPIRES).await? <= *before {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
    .await?;
    println!(
        "  certificates of {} s: all {} are renewed after {:.1} s",
        LIFETIME.as_secs(),
        scene.agents.len(),
        begun.elapsed().as_secs_f64()
    );
    Ok(())
}

async fn operators_are_away(stage: &Stage, scene: &Scene) -> Result<()> {
    let before = Calm::look(stage, scene).await?;
    let look_ups = LookUps::start(&scene.agents);
    let pods = stage.operator_pods().await?;
    let members = f64::from(u32::try_from(scene.agents.len())?);
    let begun = Instant::now();
    for pod in &pods {
        stage.operators.hold(OPERATOR_NAMESPACE, pod)?;
    }
    wait::until("every certificate to be expired", DEADLINE, async || {
        for agent in &scene.agents {
            ensure!(agent.metric(EXPIRES).await? < measure::unix_seconds());
            let connections = agent.metric(CONNECTIONS).await?;
            ensure!(connections + 1.5 > members, "{connections} connections");
        }
        Ok(Some(()))
    })
    .await?;
    println!(
        "  no operator: every certificate is expired after {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    tokio::time::sleep(AWAY.saturating_sub(begun.elapsed())).await;
    let tally = look_ups.stop().await?;
    println!("  {tally}");
    tally.ensure_served()?;
    Calm::look(stage, scene).await?.ensure_same_as(&before)?;
    println!(
        "  away for {} s: the mesh is as it was, 0 verdicts",
        AWAY.as_secs()
    );

    // The guest's node is not one of the scene's.
    let at_home = |agent: &&Agent| scene.nodes.names().contains(&agent.node);
    let victim = scene.agents.iter().find(at_home);
    let victim = victim.context("no agent on the scene's nodes")?;
    let survivors = scene.others(victim);
    let at = measure::unix_seconds();
    scene.nodes.hold(NAMESPACE, &victim.name)?;
    let verdict = measure::verdict_over(&survivors, victim, at).await?;
    println!(
        "  with expired certificates: an agent is killed, verdict on the last survivor after {:.2} s",
        verdict - at
    );
    for pod in &pods {
        stage.operators.return_pod(OPERATOR_NAMESPACE, pod)?;
    }
    scene.nodes.return_pod(NAMESPACE, &victim.name)?;
    let begun = Instant::now();
    wait::until("valid certificates everywhere", DEADLINE, async || {
        for agent in &scene.agents {
            ensure!(
                agent.metric(EXPIRES).await? > measure::unix_seconds(),
                "{}",
                agent.name
            );
        }
        Ok(Some(()))
    })
    .await?;
    let members = i32::try_from(scene.agents.len())?;
    stage.wait_ready(scene.name, members).await?;
    println!(
        "  the operators return: every agent has a valid certificate, and the killed one is a member after {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    Ok(())
}
