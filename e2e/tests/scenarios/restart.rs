//! An agent is killed and its node starts it again at once: one epoch later it is a new incarnation,
//! nobody came to a verdict, and no slot has moved.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use slotmesh_e2e::http;
use slotmesh_e2e::record::Record;
use slotmesh_e2e::stage::{Agent, NAMESPACE, Stage};
use slotmesh_e2e::wait;

use crate::{DEADLINE, Scene};

/// What the story promises: far less than the four heartbeats that detection takes.
const RESTART: Duration = Duration::from_millis(100);
/// Longest time until the new process answers. One that takes longer, because the machine does other
/// things, may rightly be found failed before: that is another story, and this one is tried again.
const ANSWER: Duration = Duration::from_millis(200);
const TRIES: u32 = 5;
const VERDICTS: &str = "slotmesh_agent_verdicts_total";

pub async fn play(stage: &mut Stage) -> Result<()> {
    let scene = Scene::set(stage, "restart", 4).await?;
    let victim = &scene.agents[0];
    for _ in 0..TRIES {
        // Whatever the last try came to is over.
        stage.wait_ready(scene.name, 4).await?;
        Record::in_force(stage, scene.name, &scene.agents).await?;
        if restart(&scene, victim).await? {
            return scene.strike(stage).await;
        }
    }
    bail!(
        "in none of {TRIES} tries was there a new process within {RESTART:?} that answered within {ANSWER:?}: is this machine overloaded?"
    )
}

/// Kills it and sees what comes of it; false when it was not back in time.
async fn restart(scene: &Scene, victim: &Agent) -> Result<bool> {
    let others = scene.others(victim);
    let before = http::json(&others[0].api("/v1/map")).await?;
    let verdicts = verdicts(&others).await?;
    let incarnation = incarnation(others[0], victim).await?;
    let at = Instant::now();
    let down = kill_and_wait_for_start(scene, victim, at).await?;
    wait::until("the new process to answer", DEADLINE, async || {
        http::get(&victim.api("/livez")).await.map(Some)
    })
    .await?;
    let answers = at.elapsed();
    println!(
        "  kill -9: a new process {:.0} ms later, which answers after {:.0} ms",
        down.as_secs_f64() * 1e3,
        answers.as_secs_f64() * 1e3
    );
    if down > RESTART || answers > ANSWER {
        println!("  too late for this story: tried again");
        return Ok(false);
    }
    wait::until("the new incarnation on every agent", DEADLINE, async || {
        for agent in &scene.agents {
            if self::incarnation(agent, victim).await? <= incarnation {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
    .await?;
    println!(
        "  every agent lists the new incarnation after {:.2} s",
        at.elapsed().as_secs_f64()
    );
    let after = http::json(&others[0].api("/v1/map")).await?;
    let epoch = |map: &serde_json::Value| map["epoch"].as_u64().context("a map without epoch");
    let epochs = epoch(&after)? - epoch(&before)?;
    ensure!(before["owners"].is_array(), "a map without owners");
    ensure!(
        before["owners"] == after["owners"],
        "owners changed: {before} -> {after}"
    );
    ensure!(epochs == 1, "{epochs} epochs");
    let now = self::verdicts(&others).await?;
    ensure!(now == verdicts, "verdicts: {verdicts:?} -> {now:?}");
    println!("  1 epoch, 0 slots moved, 0 verdicts");
    Ok(true)
}

async fn verdicts(agents: &[&Agent]) -> Result<Vec<f64>> {
    let mut counts = Vec::new();
    for agent in agents {
        counts.push(agent.metric(VERDICTS).await?);
    }
    Ok(counts)
}

/// From the kill to the start of the next process.
async fn kill_and_wait_for_start(scene: &Scene, victim: &Agent, at: Instant) -> Result<Duration> {
    let starts = || scene.nodes.starts(NAMESPACE, &victim.name);
    let count = starts()?.count;
    scene
        .nodes
        .change(NAMESPACE, &victim.name, |verbs| verbs.kills += 1)?;
    let started = wait::until("the process to be started again", DEADLINE, async || {
        let starts = starts()?;
        Ok(starts.last.filter(|_| starts.count > count))
    })
    .await?;
    Ok(started.saturating_duration_since(at))
}

async fn incarnation(seen_by: &Agent, of: &Agent) -> Result<u64> {
    let incarnations = seen_by.incarnations().await?;
    let found = incarnations.get(&of.uid).copied();
    found.with_context(|| format!("{} does not list {}", seen_by.name, of.name))
}
