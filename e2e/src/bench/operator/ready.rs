//! From the apply of a GossipCluster until it is Ready, and how much of that is ours: from the start of
//! the last agent's process.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::json;

use crate::bench::figures::{largest, median, sorted};
use crate::bench::scene::with_stage;
use crate::control_plane::Options;
use crate::node::Nodes;
use crate::stage::{NAMESPACE, Stage};
use crate::wait;
use slotmesh_report::Report;

const NODES: u8 = 8;
const DEADLINE: Duration = Duration::from_secs(120);

/// One cluster, in seconds.
struct Round {
    from_apply: f64,
    from_last_start: f64,
}

pub(super) async fn measure(report: &mut Report, count: u32, whole: u32) -> Result<()> {
    let mut rounds = Vec::new();
    let played = with_stage(Options::default(), async |stage| {
        let nodes = stage.add_nodes("worker", NODES).await?;
        for number in 1..=count {
            // The keys and children of the one before may still be on their way out.
            let name = format!("ready-{number}");
            let round = form(stage, &nodes, &name).await;
            let round = round.with_context(|| format!("cluster {number} of {count}"))?;
            println!(
                "  {name}: Ready {:.2} s after the apply, {:.2} s after the last agent's start",
                round.from_apply, round.from_last_start
            );
            rounds.push(round);
            delete(stage, &name).await?;
        }
        nodes.remove().await;
        Ok(())
    })
    .await;
    add_rows(report, &rounds);
    match &played {
        Err(_) => report.shorten(&format!(
            "ended by an error after {} clusters",
            rounds.len()
        )),
        Ok(()) if count < whole => report.shorten(&format!("{count} clusters instead of {whole}")),
        Ok(()) => {}
    }
    played
}

async fn form(stage: &Stage, nodes: &Nodes, name: &str) -> Result<Round> {
    let applied = Instant::now();
    stage.apply_cluster(name, &json!({})).await?;
    stage.wait_ready(name, NODES.into()).await?;
    let ready = Instant::now();
    let mut last = applied;
    for agent in stage.agents(name).await? {
        let started = nodes.starts(NAMESPACE, &agent.name)?.last;
        last = last.max(started.with_context(|| format!("{} never started", agent.name))?);
    }
    Ok(Round {
        from_apply: (ready - applied).as_secs_f64(),
        from_last_start: ready.saturating_duration_since(last).as_secs_f64(),
    })
}

/// Deletes a cluster and waits until its pods are gone.
pub(super) async fn delete(stage: &Stage, name: &str) -> Result<()> {
    let delete = ["delete", "gossip", name, "-n", NAMESPACE];
    stage.plane.kubectl(&delete).await?;
    wait::until("the cluster's pods to go", DEADLINE, async || {
        Ok(stage.agents(name).await?.is_empty().then_some(()))
    })
    .await
}

fn add_rows(report: &mut Report, rounds: &[Round]) {
    if rounds.is_empty() {
        return;
    }
    let whole = sorted(rounds.iter().map(|round| round.from_apply));
    let ours = sorted(rounds.iter().map(|round| round.from_last_start));
    report.at_most(
        "apply of a GossipCluster -> Ready, 8 nodes: median",
        median(&whole),
        "s",
        8.0,
    );
    report.note(format!(
        "{} clusters, pods' start included; slowest {:.3} s",
        rounds.len(),
        largest(&whole)
    ));
    report.at_most(
        "of it ours, from the last agent's start: median",
        median(&ours),
        "s",
        3.0,
    );
    report.plain(
        "of it ours, from the last agent's start: slowest",
        largest(&ours),
        "s",
    );
}
