//! The pod template of eight agents changes, and each is replaced, while an application on every node asks
//! whichever agent serves it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;

use crate::bench::figures::count;
use crate::bench::scene::{CLUSTER, Scene, with_cluster};
use crate::control_plane::Options;
use crate::lookups::{LookUps, Tally};
use crate::record::Rehomed;
use crate::stage::{NAMESPACE, Stage};
use crate::wait;
use slotmesh_report::Report;

const NODES: u8 = 8;
const PER_SECOND: u32 = 20;
const DEADLINE: Duration = Duration::from_secs(300);
/// How long look-ups go on when everything is done.
const AFTERWARDS: Duration = Duration::from_secs(2);

struct Played {
    seconds: f64,
    rehomed: Rehomed,
    epochs: i64,
    restarts: i32,
    tally: Tally,
}

pub(super) async fn measure(report: &mut Report) -> Result<()> {
    let played = with_cluster(NODES, Options::default(), play).await?;
    report.plain(
        "rollout of 8 agents: apply -> all replaced, Ready",
        played.seconds,
        "s",
    );
    report.note("one node at once (maxSurge 10 %), minReadySeconds 5");
    report.plain(
        "rollout of 8 agents: slots that changed node",
        count(played.rehomed.on_other_node),
        "slots",
    );
    report.note(format!(
        "counted at every epoch; {} changed hands on their node; {} epochs, {} restarts of containers",
        played.rehomed.on_same_node, played.epochs, played.restarts
    ));
    let tally = &played.tally;
    report.exactly(
        "rollout of 8 agents: look-up errors",
        count(tally.errors),
        "",
        0.0,
    );
    report.note(format!(
        "{PER_SECOND} a second on each node, asked of the agent that serves it; {tally}"
    ));
    Ok(())
}

async fn play(scene: &mut Scene<'_>) -> Result<Played> {
    // Pods that are not available yet would be replaced all at once.
    wait::until("every agent to be available", DEADLINE, async || {
        available(scene.stage).await
    })
    .await?;
    let mut last = scene.settled().await?;
    let first_epoch = last.epoch;
    let old: BTreeSet<String> = scene.agents.iter().map(|it| it.uid.clone()).collect();
    let nodes = scene.nodes.names();
    let look_ups = LookUps::start_on(PER_SECOND, scene.stage, CLUSTER, nodes);
    let begun = Instant::now();
    let annotations = json!({"metadata": {"annotations": {"example.com/revision": "2"}}});
    let spec = json!({"agent": {"podOverrides": annotations}});
    scene.stage.apply_cluster(CLUSTER, &spec).await?;
    let mut rehomed = Rehomed::default();
    wait::until("every agent to be replaced", DEADLINE, async || {
        let now = scene.record().await?;
        if now.epoch > last.epoch {
            let step = now.rehomed_since(&last);
            rehomed.on_same_node += step.on_same_node;
            rehomed.on_other_node += step.on_other_node;
            last = now;
        }
        replaced(scene.stage, &old).await
    })
    .await?;
    scene.agents = scene.stage.agents(CLUSTER).await?;
    scene.settled().await?;
    let seconds = begun.elapsed().as_secs_f64();
    // The time that is measured, no wait for something to happen.
    tokio::time::sleep(AFTERWARDS).await;
    let tally = look_ups.stop().await?;
    println!("  replaced in {seconds:.1} s: {rehomed:?}; {tally}");
    let restarts = scene.stage.restarts(CLUSTER).await?;
    Ok(Played {
        seconds,
        rehomed,
        epochs: last.epoch - first_epoch,
        restarts: restarts.values().sum(),
        tally,
    })
}

/// Whether only new agents are there, one on each node, and the DaemonSet is done.
async fn replaced(stage: &Stage, old: &BTreeSet<String>) -> Result<Option<()>> {
    let agents = stage.agents(CLUSTER).await?;
    let left = agents.iter().filter(|agent| old.contains(&agent.uid));
    let left = left.count();
    ensure!(
        left == 0,
        "{left} of {} agents are of the old revision",
        agents.len()
    );
    let all_available = available(stage).await?;
    Ok(all_available.filter(|()| agents.len() == usize::from(NODES)))
}

/// Whether the DaemonSet counts every agent as available: Ready for its minReadySeconds.
async fn available(stage: &Stage) -> Result<Option<()>> {
    let daemon_set = format!("daemonset/{CLUSTER}-agent");
    let path = "jsonpath={.status.updatedNumberScheduled} {.status.numberAvailable}";
    let get = ["get", &daemon_set, "-n", NAMESPACE, "-o", path];
    let numbers = stage.plane.kubectl(&get).await?;
    ensure!(
        numbers.trim() == format!("{NODES} {NODES}"),
        "updated and available are {numbers}"
    );
    Ok(Some(()))
}
