//! Failures made and measured: what happens to an agent, and when each survivor knew.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

use crate::node::Nodes;
use crate::stage::{Agent, NAMESPACE, Stage};
use crate::wait;

const DEADLINE: Duration = Duration::from_secs(60);
const VERDICT: &str = "slotmesh_agent_last_verdict_timestamp_seconds";
const APPLIED: &str = "slotmesh_agent_map_applied_timestamp_seconds";
/// Epoch of the map in force.
pub const EPOCH: &str = "slotmesh_agent_map_epoch";

/// How an agent fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// kill -9, and held down.
    Kill,
    /// SIGSTOP.
    Freeze,
    /// Nothing gets in or out of its node; only for nodes in namespaces.
    Silence,
    /// Its node is powered off.
    PowerOff,
}

/// What a failure came to.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// From the failure to the verdict on the last survivor, in seconds.
    pub verdict: f64,
    /// From there to the new map on the last survivor, in seconds.
    pub epoch_after: f64,
    /// Slots that moved.
    pub moves: f64,
    /// The fewest that could.
    pub minimum: f64,
}

/// Several agents fail at once; verdict and new map are timed on every survivor.
///
/// # Errors
/// When a verdict or a map does not come at all.
pub async fn fail(
    stage: &Stage,
    nodes: &Nodes,
    cluster: &str,
    victims: &[Agent],
    kind: Failure,
) -> Result<Measured> {
    let bring_all_down = || {
        victims
            .iter()
            .try_for_each(|victim| bring_down(nodes, victim, kind))
    };
    fail_by(stage, cluster, victims, bring_all_down).await
}

/// The same, by whatever makes the victims fail.
///
/// # Errors
/// When a verdict or a map does not come at all.
pub async fn fail_by(
    stage: &Stage,
    cluster: &str,
    victims: &[Agent],
    bring_all_down: impl FnOnce() -> Result<()>,
) -> Result<Measured> {
    let agents = stage.agents(cluster).await?;
    let survivors: Vec<&Agent> = agents
        .iter()
        .filter(|agent| !victims.contains(agent))
        .collect();
    let epoch = survivors
        .first()
        .context("nobody survives")?
        .metric(EPOCH)
        .await?;
    let at = unix_seconds();
    bring_all_down()?;
    let verdict = slowest(&moments(&survivors, VERDICT, at, "a verdict").await?);
    for agent in &survivors {
        wait::until("the new epoch", DEADLINE, async || {
            Ok((agent.metric(EPOCH).await? > epoch).then_some(()))
        })
        .await?;
    }
    let applied = slowest(&moments(&survivors, APPLIED, at, "a new map").await?);
    let (moves, minimum) = moves_after(stage, cluster, epoch).await?;
    Ok(Measured {
        verdict: verdict - at,
        epoch_after: applied - verdict,
        moves,
        minimum,
    })
}

/// Makes one agent fail.
///
/// # Errors
/// When it is not on these nodes.
pub fn bring_down(nodes: &Nodes, victim: &Agent, kind: Failure) -> Result<()> {
    match kind {
        Failure::Kill => nodes.hold(NAMESPACE, &victim.name),
        Failure::Freeze => nodes.freeze(NAMESPACE, &victim.name),
        Failure::Silence => nodes.silence(&victim.node),
        Failure::PowerOff => nodes.power_off(&victim.node),
    }
}

/// Undoes whatever was done to it.
async fn bring_back(nodes: &Nodes, agent: &Agent) -> Result<()> {
    nodes.heal()?;
    // A node that boots knows of nothing held or frozen.
    if !nodes.return_node(&agent.node).await? {
        nodes.return_pod(NAMESPACE, &agent.name)?;
    }
    Ok(())
}

/// When each of these agents came to a verdict after `since`, as the slowest did, in Unix seconds.
///
/// # Errors
/// When one does not.
pub async fn verdict_after(agents: &[&Agent], since: f64) -> Result<f64> {
    Ok(slowest(
        &moments(agents, VERDICT, since, "a verdict").await?,
    ))
}

/// Now.
#[must_use]
pub fn unix_seconds() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64()
}

/// Waits until a moment after `since` shows on every agent.
async fn moments(agents: &[&Agent], metric: &str, since: f64, what: &str) -> Result<Vec<f64>> {
    let mut found = Vec::new();
    for agent in agents {
        let what = format!("{what} on {}", agent.name);
        let moment = wait::until(&what, DEADLINE, async || {
            Ok(Some(agent.metric(metric).await?).filter(|moment| *moment > since))
        });
        found.push(moment.await?);
    }
    Ok(found)
}

fn slowest(moments: &[f64]) -> f64 {
    moments.iter().copied().fold(0.0, f64::max)
}

/// Moves and their minimum over all events of a cluster that speak of a later epoch.
async fn moves_after(stage: &Stage, cluster: &str, epoch: f64) -> Result<(f64, f64)> {
    let path = "jsonpath={range .items[?(@.reason==\"SlotsFailedOver\")]}{.involvedObject.name}{\" \"}{.message}{\"\\n\"}{end}";
    wait::until("an event that tells the moves", DEADLINE, async || {
        let text = stage
            .plane
            .kubectl(&["get", "events", "-n", NAMESPACE, "-o", path])
            .await?;
        let mine = text
            .lines()
            .filter_map(|line| line.strip_prefix(&format!("{cluster} ")));
        let (mut moves, mut minimum, mut found) = (0.0, 0.0, false);
        for line in mine {
            let told = parse_moves(line).with_context(|| format!("unexpected event: {line}"))?;
            if told.0 > epoch {
                found = true;
                moves += told.1;
                minimum += told.2;
            }
        }
        Ok(found.then_some((moves, minimum)))
    })
    .await
}

/// Epoch, moves and minimum of "... (epoch E): M slots moved, N is the fewest possible".
fn parse_moves(line: &str) -> Option<(f64, f64, f64)> {
    let (before, after) = line.rsplit_once("): ")?;
    let epoch = before.rsplit_once("(epoch ")?.1.parse().ok()?;
    let mut numbers = after.split(' ').filter_map(|word| word.parse().ok());
    Some((epoch, numbers.next()?, numbers.next()?))
}

/// It returns; done when every agent has a newer map and it is a member of it.
///
/// # Errors
/// When it does not come back.
pub async fn back(stage: &Stage, nodes: &Nodes, cluster: &str, agent: &Agent) -> Result<()> {
    let agents = stage.agents(cluster).await?;
    let mut epoch: f64 = 0.0;
    for survivor in agents.iter().filter(|other| *other != agent) {
        epoch = epoch.max(survivor.metric(EPOCH).await?);
    }
    bring_back(nodes, agent).await?;
    for member in &agents {
        let what = format!("{} to have the map with {}", member.name, agent.name);
        wait::until(&what, DEADLINE, async || {
            let has_newer = member.metric(EPOCH).await? > epoch;
            let joined = member.metric("slotmesh_agent_joined").await? > 0.0;
            Ok((has_newer && joined).then_some(()))
        })
        .await?;
    }
    Ok(())
}
