//! The demo: one screen, each line with its measured time, and at the end what was promised beside what
//! was measured.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::assets::Assets;
use crate::node::Nodes;
use crate::report::Report;
use crate::run_folder::RunFolder;
use crate::stage::{Agent, NAMESPACE, OPERATOR_NAMESPACE, Stage};
use crate::wait;

const NODES: u8 = 8;
const CLUSTER: &str = "sessions";
const KEY: &str = "user:42";
const DEADLINE: Duration = Duration::from_secs(60);
const VERDICT: &str = "slotmesh_agent_last_verdict_timestamp_seconds";
const APPLIED: &str = "slotmesh_agent_map_applied_timestamp_seconds";
const EPOCH: &str = "slotmesh_agent_map_epoch";

/// Plays the demo; false when a promise was broken.
///
/// # Errors
/// When something does not work at all.
pub async fn play(run: Arc<RunFolder>, keep: bool) -> Result<bool> {
    let begun = Instant::now();
    let assets = Assets::ensure(|line| println!("{line}"))?;
    let mut report = Report::default();

    let mut stage = step(
        "control plane (etcd, kube-apiserver, controllers, scheduler)",
        Stage::start(assets, run.clone()),
    )
    .await?;
    step(
        "helm install slotmesh, two operators Ready",
        stage.install(),
    )
    .await?;
    let nodes = step(&format!("{NODES} nodes"), stage.add_nodes("worker", NODES)).await?;
    let apply = Instant::now();
    stage.apply_cluster(CLUSTER, &json!({})).await?;
    step(
        "kubectl apply GossipCluster, Ready",
        stage.wait_ready(CLUSTER, NODES.into()),
    )
    .await?;
    report.plain(
        "apply of a GossipCluster -> Ready, 8 nodes",
        apply.elapsed().as_secs_f64(),
        "s",
    );
    print!(
        "{}",
        stage
            .plane
            .kubectl(&["get", "gossip,gcell", "-n", NAMESPACE])
            .await?
    );

    let agents = stage.agents(CLUSTER).await?;
    let owner = owner_of(&agents, first(&agents)?).await?;
    println!("  {KEY} belongs to {} on {}", owner.name, owner.node);
    failure(
        &stage,
        &nodes,
        &owner,
        &mut report,
        "kill -9 of the owner",
        Failure::Kill,
    )
    .await?;
    let survivors: Vec<Agent> = agents
        .iter()
        .filter(|agent| **agent != owner)
        .cloned()
        .collect();
    for agent in &survivors {
        let seen = agent.locate(KEY).await?;
        println!(
            "  {} sees {KEY} at {} (epoch {})",
            agent.name, seen.owner.name, seen.epoch
        );
    }
    step(
        "the node's agent returns and is a member again",
        back(&stage, &nodes, &owner),
    )
    .await?;

    let owner = owner_of(&agents, first(&agents)?).await?;
    failure(
        &stage,
        &nodes,
        &owner,
        &mut report,
        "freeze (SIGSTOP) of the owner",
        Failure::Freeze,
    )
    .await?;
    step(
        "the frozen agent wakes and is a member again",
        back(&stage, &nodes, &owner),
    )
    .await?;

    without_operator(&stage, &nodes, &agents, &mut report).await?;
    report.plain("the whole demo", begun.elapsed().as_secs_f64(), "s");

    println!();
    report.print();
    let path = report.write("demo")?;
    println!("written to {}", path.display());
    if keep {
        println!(
            "\nStill running. In another terminal:\n  export KUBECONFIG={}\n  kubectl get gossip,gcell,pods\nCtrl-C ends it.",
            stage.plane.kubeconfig().display()
        );
        tokio::signal::ctrl_c().await?;
    }
    nodes.remove().await;
    stage.stop().await;
    Ok(report.all_met())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Failure {
    Kill,
    Freeze,
}

async fn step<T>(what: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
    let begun = Instant::now();
    let done = work.await.with_context(|| what.to_owned())?;
    println!("{:>8.2} s  {what}", begun.elapsed().as_secs_f64());
    Ok(done)
}

fn first(agents: &[Agent]) -> Result<&Agent> {
    agents.first().context("there are no agents")
}

async fn owner_of(agents: &[Agent], asked: &Agent) -> Result<Agent> {
    let uid = asked.locate(KEY).await?.owner.uid;
    agents
        .iter()
        .find(|agent| agent.uid == uid)
        .cloned()
        .context("the owner is no agent")
}

fn unix_seconds() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64()
}

/// One agent fails; verdict and new epoch are timed on every survivor.
async fn failure(
    stage: &Stage,
    nodes: &Nodes,
    victim: &Agent,
    report: &mut Report,
    what: &str,
    kind: Failure,
) -> Result<()> {
    let agents = stage.agents(CLUSTER).await?;
    let survivors: Vec<&Agent> = agents
        .iter()
        .filter(|agent| agent.uid != victim.uid)
        .collect();
    let epoch = first(&agents)?.metric(EPOCH).await?;
    let at = unix_seconds();
    nodes.change(NAMESPACE, &victim.name, |verbs| match kind {
        Failure::Kill => {
            verbs.held = true;
            verbs.kills += 1;
        }
        Failure::Freeze => verbs.frozen = true,
    })?;
    let verdicts = moments(&survivors, VERDICT, at, "a verdict").await?;
    let verdict = slowest(&verdicts);
    report.at_most(
        format!("{what}: verdict on the last survivor"),
        verdict - at,
        "s",
        1.5,
    );
    for agent in &survivors {
        wait::until("the new epoch", DEADLINE, async || {
            Ok((agent.metric(EPOCH).await? > epoch).then_some(()))
        })
        .await?;
    }
    let applied = slowest(&moments(&survivors, APPLIED, at, "a new map").await?);
    report.at_most(
        format!("{what}: new epoch on the last survivor after it"),
        applied - verdict,
        "s",
        0.5,
    );
    println!(
        "{:>8.2} s  {what}: all {} survivors agree; {:.2} s later all have the new map",
        verdict - at,
        survivors.len(),
        applied - verdict
    );
    let (moves, minimum) = last_moves(stage).await?;
    report.exactly(
        format!("{what}: slots moved beyond the proven minimum"),
        moves - minimum,
        "slots",
        0.0,
    );
    println!("            {moves} slots moved, {minimum} is the proven minimum");
    Ok(())
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

/// Moves and their minimum, from the newest event.
async fn last_moves(stage: &Stage) -> Result<(f64, f64)> {
    wait::until("an event that tells the moves", DEADLINE, async || {
        let text = stage
            .plane
            .kubectl(&[
                "get",
                "events",
                "-n",
                NAMESPACE,
                "--sort-by=.metadata.creationTimestamp",
                "-o",
                "jsonpath={range .items[?(@.reason==\"SlotsFailedOver\")]}{.message}{\"\\n\"}{end}",
            ])
            .await?;
        let Some(line) = text.lines().last() else {
            return Ok(None);
        };
        let numbers: Vec<f64> = line
            .rsplit_once(": ")
            .map(|(_, rest)| rest)
            .unwrap_or_default()
            .split(' ')
            .filter_map(|word| word.parse().ok())
            .collect();
        match numbers.as_slice() {
            [moves, minimum] => Ok(Some((*moves, *minimum))),
            _ => bail!("unexpected event: {line}"),
        }
    })
    .await
}

/// The process returns; done when every agent has a newer map and it is a member of it.
async fn back(stage: &Stage, nodes: &Nodes, agent: &Agent) -> Result<()> {
    let agents = stage.agents(CLUSTER).await?;
    let mut epoch: f64 = 0.0;
    for survivor in agents.iter().filter(|other| *other != agent) {
        epoch = epoch.max(survivor.metric(EPOCH).await?);
    }
    nodes.change(NAMESPACE, &agent.name, |verbs| {
        verbs.held = false;
        verbs.frozen = false;
    })?;
    for member in &agents {
        let what = format!("{} to have the map with {}", member.name, agent.name);
        wait::until(&what, DEADLINE, async || {
            let has_newer = member.metric(EPOCH).await? > epoch;
            let joined = member.metric("slotmesh_agent_joined").await? > 0.0;
            Ok((has_newer && joined).then_some(()))
        })
        .await?;
    }
    stage.wait_ready(CLUSTER, NODES.into()).await.map(drop)
}

/// The operators are down: the verdict comes without them, new owners when they are back.
async fn without_operator(
    stage: &Stage,
    nodes: &Nodes,
    agents: &[Agent],
    report: &mut Report,
) -> Result<()> {
    let operators = stage.operator_pods().await?;
    for pod in &operators {
        stage.operators.change(OPERATOR_NAMESPACE, pod, |verbs| {
            verbs.held = true;
            verbs.kills += 1;
        })?;
    }
    let victim = agents.last().context("there are no agents")?;
    let survivors: Vec<&Agent> = agents.iter().filter(|agent| *agent != victim).collect();
    let at = unix_seconds();
    nodes.change(NAMESPACE, &victim.name, |verbs| {
        verbs.held = true;
        verbs.kills += 1;
    })?;
    let verdict = slowest(&moments(&survivors, VERDICT, at, "a verdict").await?);
    report.at_most(
        "kill without any operator: verdict on the last survivor",
        verdict - at,
        "s",
        1.5,
    );
    println!(
        "{:>8.2} s  kill with the operators down: all {} survivors agree",
        verdict - at,
        survivors.len()
    );
    for pod in &operators {
        stage
            .operators
            .change(OPERATOR_NAMESPACE, pod, |verbs| verbs.held = false)?;
    }
    step(
        "the operators return, and the slots have new owners",
        stage.wait_ready(CLUSTER, i32::from(NODES) - 1),
    )
    .await?;
    step("the agent returns", back(stage, nodes, victim)).await
}
