//! Failures made and measured: what happens to an agent, and when each survivor knew.
//!
//! A survivor knows of a death from the earlier of two moments: its own verdict, or the application of a
//! map that no longer lists the dead. The second alone is usual for a few: the operator needs no more
//! than they do, its map can be there before their own evidence is complete, and it makes what is left
//! of that evidence void, so that no verdict of theirs ever follows.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::node::Nodes;
use crate::record::{Moves, Record};
use crate::stage::{Agent, NAMESPACE, Stage};
use crate::{http, wait};

const DEADLINE: Duration = Duration::from_secs(60);
const VERDICT: &str = "slotmesh_agent_last_verdict_timestamp_seconds";
const APPLIED: &str = "slotmesh_agent_map_applied_timestamp_seconds";
/// Epoch of the map in force.
pub const EPOCH: &str = "slotmesh_agent_map_epoch";
const OPENING_EDGES: &str = "slotmesh_agent_opening_edges";

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
#[derive(Clone, Debug)]
pub struct Measured {
    /// When it became known.
    pub spread: Spread,
    /// Slots that moved, by the records.
    pub moves: Moves,
}

impl Measured {
    /// The moves are the fewest possible.
    ///
    /// # Errors
    /// When they are not.
    pub fn ensure_minimal(&self) -> Result<()> {
        let Moves { moved, minimum, .. } = self.moves;
        ensure!(moved == minimum, "{moved} moves, {minimum} would do");
        Ok(())
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "verdict on the last survivor after {:.2} s{}, new map {:.2} s later, {} slots moved, {} is the minimum",
            self.spread.verdict,
            self.spread.told(),
            self.spread.epoch_after,
            self.moves.moved,
            self.moves.minimum
        )
    }
}

/// Several agents fail at once; verdict and new map are timed on every survivor.
///
/// # Errors
/// When a verdict or a map does not come at all, or others are removed than those who failed.
pub async fn fail(
    stage: &Stage,
    nodes: &Nodes,
    cluster: &str,
    victims: &[Agent],
    kind: Failure,
) -> Result<Measured> {
    let bring_down = || bring_all_down(nodes, victims, kind);
    fail_by(stage, cluster, victims, bring_down).await
}

/// The same, by whatever makes the victims fail.
///
/// # Errors
/// When a verdict or a map does not come at all, or others are removed than those who failed.
pub async fn fail_by(
    stage: &Stage,
    cluster: &str,
    victims: &[Agent],
    bring_down: impl FnOnce() -> Result<()>,
) -> Result<Measured> {
    let agents = stage.agents(cluster).await?;
    let survivors: Vec<&Agent> = agents
        .iter()
        .filter(|agent| !victims.contains(agent))
        .collect();
    ensure!(!survivors.is_empty(), "nobody survives");
    let before = Record::whole(stage, cluster).await?;
    let spread = spread_by(&survivors, victims, bring_down).await?;
    let after = Record::whole(stage, cluster).await?;
    let moves = after.since(&before);
    for uid in after.removed_since(&before) {
        ensure!(
            victims.iter().any(|victim| victim.uid == uid),
            "the pod {uid} is well and was removed between epochs {} and {}",
            before.epoch,
            after.epoch
        );
    }
    let told = told_since(stage, cluster, before.epoch).await?;
    // An event is about one map.
    ensure!(
        moves.epochs != 1 || told == (moves.moved, moves.minimum),
        "the events tell of other moves than the records: {told:?}, {moves:?}"
    );
    Ok(Measured { spread, moves })
}

/// When a failure became known.
#[derive(Clone, Debug, PartialEq)]
pub struct Spread {
    /// From the failure until the last survivor knew, in seconds.
    pub verdict: f64,
    /// From there to the new map on the last survivor, in seconds.
    pub epoch_after: f64,
    /// When each survivor knew.
    pub each: Vec<Knew>,
    /// Epoch of the map without the dead.
    pub epoch: f64,
    /// Survivors that knew from the map only.
    pub from_map: usize,
}

/// When a survivor knew, and from what.
#[derive(Clone, Debug, PartialEq)]
pub struct Knew {
    /// Name of its pod.
    pub name: String,
    /// Seconds from the failure.
    pub after: f64,
    /// By its own verdict, and not from the map.
    pub by_verdict: bool,
}

impl fmt::Display for Knew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.by_verdict {
            "knew"
        } else {
            "was told by the map"
        };
        write!(f, "{} {how} after {:.2} s", self.name, self.after)
    }
}

/// Several agents fail at once; how it spreads among the survivors, down to the map without the dead.
///
/// # Errors
/// When a survivor never gets a map without the dead.
pub async fn spread(
    nodes: &Nodes,
    survivors: &[&Agent],
    victims: &[Agent],
    kind: Failure,
) -> Result<Spread> {
    let bring_down = || bring_all_down(nodes, victims, kind);
    spread_by(survivors, victims, bring_down).await
}

async fn spread_by(
    survivors: &[&Agent],
    victims: &[Agent],
    bring_down: impl FnOnce() -> Result<()>,
) -> Result<Spread> {
    let at = unix_seconds();
    bring_down()?;
    let mut all = Vec::new();
    for survivor in survivors {
        all.push(learned(survivor, victims, at).await?);
    }
    Ok(Spread::of(at, &all))
}

/// The map as an agent tells it; what is needed of it.
#[derive(Deserialize)]
struct Map {
    epoch: f64,
    members: Vec<Member>,
}

#[derive(Deserialize)]
struct Member {
    name: String,
    uid: String,
}

/// What one survivor came to know, in Unix seconds.
#[derive(Clone, Debug)]
struct Learned {
    name: String,
    epoch: f64,
    /// Its own verdict; none when the map came first.
    verdict: Option<f64>,
    /// When it applied the map without the dead.
    applied: f64,
}

impl Learned {
    fn known(&self) -> f64 {
        self.verdict.unwrap_or(self.applied)
    }
}

impl Spread {
    /// What to say of those that knew from the map only; nothing when there are none.
    #[must_use]
    pub fn told(&self) -> String {
        match self.from_map {
            0 => String::new(),
            told => format!(" ({told} of {} were told by the map)", self.each.len()),
        }
    }

    fn of(at: f64, all: &[Learned]) -> Self {
        let latest = |moments: &mut dyn Iterator<Item = f64>| moments.fold(at, f64::max);
        let known = latest(&mut all.iter().map(Learned::known));
        let applied = latest(&mut all.iter().map(|it| it.applied));
        Self {
            verdict: known - at,
            epoch_after: applied - known,
            each: all
                .iter()
                .map(|it| Knew {
                    name: it.name.clone(),
                    after: it.known() - at,
                    by_verdict: it.verdict.is_some(),
                })
                .collect(),
            epoch: all.iter().map(|it| it.epoch).fold(0.0, f64::max),
            from_map: all.iter().filter(|it| it.verdict.is_none()).count(),
        }
    }
}

/// Waits until a survivor has a map without the victims, and tells what it knew when.
async fn learned(survivor: &Agent, victims: &[Agent], since: f64) -> Result<Learned> {
    let what = format!("a map without the dead on {}", survivor.name);
    let waited = wait::until(&what, DEADLINE, async || {
        let metrics = http::metrics(&survivor.metrics_url()).await?;
        let value = |name| metrics.get(name).copied().unwrap_or_default();
        let (applied, verdict) = (value(APPLIED), value(VERDICT));
        if applied <= since {
            return Ok(None);
        }
        let map: Map = serde_json::from_value(http::json(&survivor.api("/v1/map")).await?)?;
        if (map.epoch - value(EPOCH)).abs() > 0.5 {
            // A newer one came between the two looks; the moment belongs to the older.
            return Ok(None);
        }
        let dead = |member: &&Member| victims.iter().any(|victim| victim.uid == member.uid);
        if let Some(member) = map.members.iter().find(dead) {
            anyhow::bail!("its map of epoch {} lists {}", map.epoch, member.name);
        }
        // Its own verdict, unless the map was there before that.
        let verdict = (verdict > since && verdict <= applied).then_some(verdict);
        Ok(Some(Learned {
            name: survivor.name.clone(),
            epoch: map.epoch,
            verdict,
            applied,
        }))
    });
    waited.await.with_context(|| {
        format!(
            "the death was never known everywhere; next: the logs of {} and of the operators, lines with `verdict` and `map applied`",
            survivor.name
        )
    })
}

fn bring_all_down(nodes: &Nodes, victims: &[Agent], kind: Failure) -> Result<()> {
    victims
        .iter()
        .try_for_each(|victim| bring_down(nodes, victim, kind))
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

/// When each of these agents came to a verdict after `since`, as the slowest did, in Unix seconds. Only
/// for failures that no operator sees: see the head of this file.
///
/// # Errors
/// When one does not.
pub async fn verdict_after(agents: &[&Agent], since: f64) -> Result<f64> {
    Ok(slowest(
        &moments(agents, VERDICT, since, "a verdict").await?,
    ))
}

/// The same, and that each has found this one failed and nobody else.
///
/// # Errors
/// When one comes to no verdict, or to another.
pub async fn verdict_over(agents: &[&Agent], victim: &Agent, since: f64) -> Result<f64> {
    let verdict = verdict_after(agents, since).await?;
    for agent in agents {
        let failed = agent.failed().await?;
        ensure!(
            failed == [victim.uid.as_str()],
            "{} finds failed: {failed:?}, it is {}",
            agent.name,
            victim.uid
        );
    }
    Ok(verdict)
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

/// Moves and their minimum over all events of a cluster that speak of a later epoch: what the operator
/// tells of them.
async fn told_since(stage: &Stage, cluster: &str, epoch: i64) -> Result<(u64, u64)> {
    let path = "jsonpath={range .items[?(@.reason==\"SlotsFailedOver\")]}{.involvedObject.name}{\" \"}{.message}{\"\\n\"}{end}";
    wait::until("an event that tells the moves", DEADLINE, async || {
        let text = stage
            .plane
            .kubectl(&["get", "events", "-n", NAMESPACE, "-o", path])
            .await?;
        let mine = text
            .lines()
            .filter_map(|line| line.strip_prefix(&format!("{cluster} ")));
        let (mut moves, mut minimum, mut found) = (0, 0, false);
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
fn parse_moves(line: &str) -> Option<(i64, u64, u64)> {
    let (before, after) = line.rsplit_once("): ")?;
    let epoch = before.rsplit_once("(epoch ")?.1.parse().ok()?;
    let mut numbers = after.split(' ').filter_map(|word| word.parse().ok());
    Some((epoch, numbers.next()?, numbers.next()?))
}

/// It returns; done when every agent has a newer map, it is a member of it, and all hear whom they watch: who dies
/// sooner is found later, which is no news.
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
        let what = format!(
            "{} to have the map with {} and to hear it",
            member.name, agent.name
        );
        wait::until(&what, DEADLINE, async || {
            let has_newer = member.metric(EPOCH).await? > epoch;
            let joined = member.metric("slotmesh_agent_joined").await? > 0.0;
            let opening = member.metric(OPENING_EDGES).await?;
            Ok((has_newer && joined && opening == 0.0).then_some(()))
        })
        .await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
