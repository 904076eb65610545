//! The demo: one screen, each line with its measured time, and at the end what was promised beside what
//! was measured.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use serde_json::json;

use crate::assets::Assets;
use crate::http::Asker;
use crate::measure::{self, Failure};
use crate::node::Nodes;
use crate::record::Record;
use crate::run_folder::RunFolder;
use crate::stage::{Agent, Location, NAMESPACE, OPERATOR_NAMESPACE, Stage};
use slotmesh_report::Report;

const NODES: u8 = 8;
const CLUSTER: &str = "sessions";
const KEY: &str = "user:42";
/// Nodes that come for the split.
const MORE: u8 = 4;
const MEMBERS_MAX: u8 = 10;
/// Every 64th slot is asked for: several of each owner.
const STEP: usize = 64;

/// The demo after its last scene: everything still runs.
#[derive(Debug)]
pub struct Played {
    stage: Stage,
    nodes: Vec<Nodes>,
    /// Whether every promise was kept.
    pub all_met: bool,
}

impl Played {
    /// How to look at what runs.
    #[must_use]
    pub fn how_to_look(&self) -> String {
        let tools = self.stage.plane.tools_folder();
        let tools = tools.map_or_else(|_| String::new(), |path| path.display().to_string());
        format!(
            "Still running. In another terminal:\n  export KUBECONFIG={} PATH=\"{}:$PATH\"\n  kubectl get gossip,gcell,pods\nCtrl-C here (or `kill {}`) stops and removes everything.",
            self.stage.plane.kubeconfig().display(),
            tools,
            std::process::id()
        )
    }

    /// Ends everything.
    pub async fn end(self) {
        for nodes in self.nodes {
            nodes.remove().await;
        }
        self.stage.stop().await;
    }
}

/// Plays the demo.
///
/// # Errors
/// When something does not work at all.
pub async fn play(run: Arc<RunFolder>) -> Result<Played> {
    let begun = Instant::now();
    let assets = Assets::ensure(|line| println!("{line}")).await?;
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
        returned(&stage, &nodes, &owner),
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
        returned(&stage, &nodes, &owner),
    )
    .await?;

    without_operator(&stage, &nodes, &agents, &mut report).await?;
    let more = split(&mut stage, &mut report).await?;
    report.plain("the whole demo", begun.elapsed().as_secs_f64(), "s");

    println!();
    report.print();
    let path = report.write("demo")?;
    println!("written to {}", path.display());
    Ok(Played {
        stage,
        nodes: vec![nodes, more],
        all_met: report.all_met(),
    })
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

/// One agent fails, and what it came to enters the report.
async fn failure(
    stage: &Stage,
    nodes: &Nodes,
    victim: &Agent,
    report: &mut Report,
    what: &str,
    kind: Failure,
) -> Result<()> {
    let measured = measure::fail(stage, nodes, CLUSTER, std::slice::from_ref(victim), kind).await?;
    report.at_most(
        format!("{what}: verdict on the last survivor"),
        measured.spread.verdict,
        "s",
        1.5,
    );
    report.at_most(
        format!("{what}: new map on the last survivor after it"),
        measured.spread.epoch_after,
        "s",
        0.5,
    );
    report.exactly(
        format!("{what}: slots moved beyond the minimum"),
        measured.moves - measured.minimum,
        "slots",
        0.0,
    );
    println!(
        "{:>8.2} s  {what}: every survivor agrees; {:.2} s later all have the new map",
        measured.spread.verdict, measured.spread.epoch_after
    );
    for (name, after) in &measured.spread.each {
        println!("            {name} knew after {after:.2} s");
    }
    println!(
        "            epoch {}: {} slots moved, {} is the proven minimum",
        measured.spread.epoch, measured.moves, measured.minimum
    );
    Ok(())
}

async fn returned(stage: &Stage, nodes: &Nodes, agent: &Agent) -> Result<()> {
    measure::back(stage, nodes, CLUSTER, agent).await?;
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
        stage.operators.hold(OPERATOR_NAMESPACE, pod)?;
    }
    let victim = agents.last().context("there are no agents")?;
    let survivors: Vec<&Agent> = agents.iter().filter(|agent| *agent != victim).collect();
    let at = measure::unix_seconds();
    measure::bring_down(nodes, victim, Failure::Kill)?;
    let verdict = measure::verdict_after(&survivors, at).await?;
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
        stage.operators.return_pod(OPERATOR_NAMESPACE, pod)?;
    }
    step(
        "the operators return, and the slots have new owners",
        stage.wait_ready(CLUSTER, i32::from(NODES) - 1),
    )
    .await?;
    step("the agent returns", returned(stage, nodes, victim)).await
}

/// Four more nodes, and the cell becomes two.
async fn split(stage: &mut Stage, report: &mut Report) -> Result<Nodes> {
    let more = stage.add_nodes("more", MORE).await?;
    step(
        &format!("{MORE} nodes more, every agent a member"),
        stage.wait_ready(CLUSTER, (NODES + MORE).into()),
    )
    .await?;
    let agents = stage.agents(CLUSTER).await?;
    let slots: Vec<u16> = (0..16384).step_by(STEP).collect();
    let before = Record::in_force(stage, CLUSTER, &agents).await?;
    let owners = first(&agents)?.owners_of(&slots).await?;
    let begun = Instant::now();
    let spec = json!({"cells": {"maxMembers": MEMBERS_MAX}});
    let cells = step(
        &format!("kubectl apply with cells.maxMembers {MEMBERS_MAX}, two cells"),
        async {
            stage.apply_cluster(CLUSTER, &spec).await?;
            stage.wait_cells(CLUSTER, &agents, 2).await
        },
    )
    .await?;
    let seconds = begun.elapsed().as_secs_f64();
    let case = "split of 12: apply -> two cells, every agent in its own";
    report.at_most(case, seconds, "s", 10.0);
    stage.wait_ready(CLUSTER, (NODES + MORE).into()).await?;
    let get = ["get", "gossip,gcell", "-n", NAMESPACE];
    print!("{}", stage.plane.kubectl(&get).await?);
    let after = Record::in_force(stage, CLUSTER, &agents).await?;
    let moved = u32::try_from(after.since(&before).moved)?;
    println!("  {moved} slots moved, by the records");
    report.exactly("split of 12: slots moved", moved.into(), "slots", 0.0);
    let mut elsewhere: u32 = 0;
    for agent in &agents {
        let now = agent.owners_of(&slots).await?;
        let moved = now.iter().zip(&owners).filter(|(now, old)| now != old);
        elsewhere += u32::try_from(moved.count())?;
    }
    println!(
        "  {} slots asked for on each of {} agents: {elsewhere} have another owner than before",
        slots.len(),
        agents.len()
    );
    let case = "split of 12: sampled slots that an agent finds elsewhere";
    report.exactly(case, f64::from(elsewhere), "slots", 0.0);
    for (cell, members) in &cells {
        let asked = members.first().context("an empty cell")?;
        println!("  {}", one_hop(cell, asked, &slots).await?);
    }
    Ok(more)
}

/// Asks a member of a cell for a slot of the other, and tells how that was answered.
async fn one_hop(cell: &str, asked: &Agent, slots: &[u16]) -> Result<String> {
    let asker = Asker::default();
    for slot in slots {
        let url = asked.api(&format!("/v1/slots/{slot}"));
        let (answer, hop) = asker.json_and_hop(&url).await?;
        let Some(hop) = hop else { continue };
        let place: Location = serde_json::from_value(answer)?;
        return Ok(format!(
            "{} of {cell} is asked for slot {slot} of the other cell: 307 to {hop}, which says {}",
            asked.name, place.owner.name
        ));
    }
    anyhow::bail!("{} of {cell} answers for every slot itself", asked.name)
}
