//! The demo: one screen, each line with its measured time, and at the end what was promised beside what
//! was measured.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::assets::Assets;
use crate::http::Asker;
use crate::measure::{self, Failure};
use crate::node::Nodes;
use crate::record::Record;
use crate::run_folder::RunFolder;
use crate::stage::{Agent, Location, NAMESPACE, Stage};
use slotmesh_report::Report;
use slotmesh_report::origin::Origin;

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
    let origin = Origin::here();
    let mut report = Report::default();
    let played = play_scenes(run, &mut report).await;
    // What was measured counts, also when it came to an end too early: the table of an earlier demo must
    // not stay there as if it were this one's.
    let whole = f64::from(u8::from(played.is_ok()));
    report.exactly("the demo was played to its end", whole, "", 1.0);
    report.stamp(&origin, "make demo");
    println!();
    report.print();
    println!("written to {}", report.write("demo")?.display());
    let (stage, nodes) = played?;
    Ok(Played {
        stage,
        nodes,
        all_met: report.all_met(),
    })
}

async fn play_scenes(run: Arc<RunFolder>, report: &mut Report) -> Result<(Stage, Vec<Nodes>)> {
    let begun = Instant::now();
    let (mut stage, nodes) = set(run, report).await?;
    let agents = stage.agents(CLUSTER).await?;
    let owner = owner_of(&agents, first(&agents)?).await?;
    println!("  {KEY} belongs to {} on {}", owner.name, owner.node);
    let what = "kill -9 of the owner";
    failure(&stage, &nodes, &owner, report, what, Failure::Kill).await?;
    seen_by(&others(&agents, &owner), &owner).await?;
    step(
        "the node's agent returns and is a member again",
        returned(&stage, &nodes, &owner),
    )
    .await?;

    let owner = owner_of(&agents, first(&agents)?).await?;
    let what = "freeze (SIGSTOP) of the owner";
    failure(&stage, &nodes, &owner, report, what, Failure::Freeze).await?;
    step(
        "the frozen agent wakes and is a member again",
        returned(&stage, &nodes, &owner),
    )
    .await?;

    without_operator(&stage, &nodes, &agents, report).await?;
    let more = split(&mut stage, report).await?;
    report.plain("the whole demo", begun.elapsed().as_secs_f64(), "s");
    Ok((stage, vec![nodes, more]))
}

/// Control plane, SlotMesh, nodes, and a cluster that is Ready.
async fn set(run: Arc<RunFolder>, report: &mut Report) -> Result<(Stage, Nodes)> {
    let assets = Assets::ensure(|line| println!("{line}")).await?;
    let mut stage = step(
        "control plane (etcd, kube-apiserver, controllers, scheduler)",
        Stage::start(assets, run),
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
    let get = ["get", "gossip,gcell", "-n", NAMESPACE];
    print!("{}", stage.plane.kubectl(&get).await?);
    Ok((stage, nodes))
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

fn others<'a>(agents: &'a [Agent], than: &Agent) -> Vec<&'a Agent> {
    agents.iter().filter(|agent| *agent != than).collect()
}

/// The key's new owner as each of them sees it.
async fn seen_by(survivors: &[&Agent], dead: &Agent) -> Result<()> {
    for agent in survivors {
        let seen = agent.locate(KEY).await?;
        println!(
            "  {} sees {KEY} at {} (epoch {})",
            agent.name, seen.owner.name, seen.epoch
        );
        ensure!(
            seen.owner.uid != dead.uid,
            "{} still names the dead: {}",
            agent.name,
            dead.name
        );
    }
    Ok(())
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
        measured.moves.beyond(),
        "slots",
        0.0,
    );
    println!(
        "{:>8.2} s  {what}: every survivor agrees{}; {:.2} s later all have the new map",
        measured.spread.verdict,
        measured.spread.told(),
        measured.spread.epoch_after
    );
    for knew in &measured.spread.each {
        println!("            {knew}");
    }
    println!(
        "            epoch {}: {} slots moved, {} is the proven minimum",
        measured.spread.epoch, measured.moves.moved, measured.moves.minimum
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
    let victim = owner_of(agents, first(agents)?).await?;
    let survivors = others(agents, &victim);
    let before = Record::in_force(stage, CLUSTER, agents).await?;
    let operators = stage.operator_pods().await?;
    stage.hold_operators(&operators).await?;
    let at = measure::unix_seconds();
    measure::bring_down(nodes, &victim, Failure::Kill)?;
    let verdict = measure::verdict_over(&survivors, &victim, at).await?;
    let what = "kill without any operator";
    report.at_most(
        format!("{what}: verdict on the last survivor"),
        verdict - at,
        "s",
        1.5,
    );
    println!(
        "{:>8.2} s  kill of the owner with the operators down: all {} survivors agree",
        verdict - at,
        survivors.len()
    );
    stage.return_operators(&operators)?;
    let after = step(
        "the operators return, and the slots have new owners",
        async {
            stage.wait_ready(CLUSTER, i32::from(NODES) - 1).await?;
            let survivors: Vec<Agent> = survivors.iter().copied().cloned().collect();
            Record::in_force(stage, CLUSTER, &survivors).await
        },
    )
    .await?;
    let moves = after.since(&before);
    println!(
        "            epoch {}: {} slots moved, {} is the proven minimum",
        after.epoch, moves.moved, moves.minimum
    );
    report.exactly(
        format!("{what}: slots moved beyond the minimum"),
        moves.beyond(),
        "slots",
        0.0,
    );
    seen_by(&survivors, &victim).await?;
    step("the agent returns", returned(stage, nodes, &victim)).await
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
