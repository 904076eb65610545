//! An agent is frozen (SIGSTOP) until its slots have new owners, then woken. It believes in a map that
//! is no longer in force: it has to find out, say so, and join again as a higher incarnation under the
//! same pod UID. Nobody else is ever reported.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use slotmesh_e2e::measure::{self, EPOCH, Failure};
use slotmesh_e2e::stage::{Agent, NAMESPACE, Stage};
use slotmesh_e2e::wait;

use crate::{DEADLINE, Scene};

const VERDICTS: &str = "slotmesh_agent_verdicts_total";
/// Longest time for which a woken agent may answer from its old map as if that were in force: without
/// leases it cannot know at once, but its peers tell it as soon as it speaks to them.
const CLAIM_MAX: Duration = Duration::from_secs(3);

/// Longest time until it is a member again. It is told by its peers; one that heard nobody would ask
/// the operator only after more than this.
const MEMBER_MAX: Duration = Duration::from_secs(5);

/// What became of a woken agent; times count from SIGCONT.
struct Woken {
    /// When it last answered from its old map as if that were in force.
    claimed_until: Duration,
    /// When it, and everybody else, had a map that lists its new incarnation.
    member_after: Duration,
    incarnation: u64,
}

pub async fn play(stage: &mut Stage) -> Result<()> {
    let scene = Scene::set(stage, "freeze", 5).await?;
    let victim = &scene.agents[2];
    let others = scene.others(victim);
    let incarnation = victim.incarnations().await?[&victim.uid];
    let victims = std::slice::from_ref(victim);
    let measured = measure::fail(stage, &scene.nodes, scene.name, victims, Failure::Freeze).await?;
    println!("  SIGSTOP: {measured}");
    measured.ensure_minimal()?;
    stage.wait_ready(scene.name, 4).await?;
    ensure!(
        !others[0].incarnations().await?.contains_key(&victim.uid),
        "the frozen agent is still listed"
    );

    let woken = wake(&scene, victim, incarnation).await?;
    println!(
        "  SIGCONT: claims nothing by its old map after {:.2} s, a member again after {:.2} s (incarnation {} -> {}, same pod)",
        woken.claimed_until.as_secs_f64(),
        woken.member_after.as_secs_f64(),
        incarnation,
        woken.incarnation
    );
    ensure!(
        woken.claimed_until <= CLAIM_MAX,
        "it answered from its old map for {:?}",
        woken.claimed_until
    );
    ensure!(
        woken.member_after <= MEMBER_MAX,
        "it was a member again only after {:?}: did its peers not tell it?",
        woken.member_after
    );
    stage.wait_ready(scene.name, 5).await?;
    let same = stage.agents(scene.name).await?;
    ensure!(same == scene.agents, "other pods than before: {same:?}");
    nobody_else_was_reported(stage, &scene, victim).await?;
    scene.strike(stage).await
}

/// Wakes it and waits until everybody lists its new incarnation.
async fn wake(scene: &Scene, victim: &Agent, old: u64) -> Result<Woken> {
    let in_force = scene.others(victim)[0].metric(EPOCH).await?;
    let at = Instant::now();
    scene
        .nodes
        .change(NAMESPACE, &victim.name, |verbs| verbs.frozen = false)?;
    let mut claimed_until = Duration::ZERO;
    let mut incarnation = 0;
    wait::until(
        "the woken agent to be a member again",
        DEADLINE,
        async || {
            let answer = victim.locate("user:42").await?;
            #[allow(clippy::cast_precision_loss)]
            if !answer.stale && (answer.epoch as f64) < in_force {
                claimed_until = at.elapsed();
            }
            for agent in &scene.agents {
                let listed = agent.incarnations().await?.get(&victim.uid).copied();
                incarnation = listed.unwrap_or(0);
                if incarnation <= old {
                    return Ok(None);
                }
            }
            let joined = victim.metric("slotmesh_agent_joined").await?;
            Ok((joined > 0.0).then_some(()))
        },
    )
    .await?;
    Ok(Woken {
        claimed_until,
        member_after: at.elapsed(),
        incarnation,
    })
}

/// By the logs, in which everybody's own reports and verdicts stand: they speak of the frozen agent and of
/// nobody else.
async fn nobody_else_was_reported(stage: &Stage, scene: &Scene, victim: &Agent) -> Result<()> {
    let mut verdicts = 0;
    for agent in &scene.agents {
        let log = stage.log(&agent.name)?;
        let mut named = 0;
        for (what, begin) in [("suspected", "subject="), ("verdict: failed", "failed=\"")] {
            for line in log.lines().filter(|line| line.contains(what)) {
                let whom = line.split_once(begin).map(|(_, whom)| whom);
                let whom = whom.with_context(|| format!("nobody is named: {line}"))?;
                let incarnations = whom.trim_end_matches('"').split(',');
                ensure!(
                    incarnations
                        .clone()
                        .all(|whom| whom.starts_with(&victim.uid)),
                    "{}: a healthy member is accused: {line}",
                    agent.name
                );
                named += 1;
            }
        }
        if agent != victim {
            ensure!(named > 0, "{} has logged no report at all", agent.name);
            let count = agent.metric(VERDICTS).await?;
            ensure!(
                (count - 1.0).abs() < 0.5,
                "{}: {count} verdicts",
                agent.name
            );
            verdicts += 1;
        }
    }
    println!(
        "  one verdict on each of {verdicts} survivors; no report or verdict names a healthy member"
    );
    Ok(())
}
