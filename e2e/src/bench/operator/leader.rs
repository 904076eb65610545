//! The leading operator ends, and an agent dies at the same moment: how long until the next leader has
//! recorded the map without it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;

use crate::bench::figures::{largest, median, sorted};
use crate::bench::scene::{CLUSTER, Scene, with_cluster};
use crate::control_plane::Options;
use crate::measure;
use crate::stage::{Agent, NAMESPACE, OPERATOR_NAMESPACE, RELEASE};
use crate::wait;
use slotmesh_report::Report;

const NODES: u8 = 6;
const OPERATORS: usize = 2;
const ROUNDS: usize = 5;
const DEADLINE: Duration = Duration::from_secs(120);
/// What the promise allows beyond the Lease's own bound, in seconds.
const ALLOWANCE: f64 = 2.0;
/// The operator's flag for the time between two attempts at the Lease, and what it begins with.
const RETRY_FLAG: &str = "--leader-elect-retry-period-seconds=";

/// How the leader ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// kill -9, and held down.
    Killed,
    /// `kubectl delete pod`.
    Deleted,
}

pub(super) async fn measure(report: &mut Report) -> Result<()> {
    let (bound, killed, deleted) = with_cluster(NODES, Options::default(), async |scene| {
        let bound = bound(scene).await?;
        let [lease, retry] = bound;
        println!("  the Lease lasts {lease} s, and whoever waits looks every {retry} s");
        let killed = rounds(scene, End::Killed).await?;
        let deleted = rounds(scene, End::Deleted).await?;
        Ok((bound, killed, deleted))
    })
    .await?;
    let [lease, retry] = bound;
    let own = lease + retry;
    report.plain("leader killed: the Lease's own bound", own, "s");
    report.note(format!(
        "lease {lease} s, and one period of {retry} s between two attempts"
    ));
    report.at_most(
        "leader killed (-9, held) -> the new leader acts: slowest",
        largest(&killed),
        "s",
        own + ALLOWANCE,
    );
    report.note(format!(
        "{} times, median {:.3} s; an agent dies with it, and the new leader records the map without it",
        killed.len(),
        median(&killed)
    ));
    report.plain(
        "leader's pod deleted -> the new leader acts: slowest",
        largest(&deleted),
        "s",
    );
    report.note(format!(
        "{} times, median {:.3} s; it gives the Lease up",
        deleted.len(),
        median(&deleted)
    ));
    Ok(())
}

/// Length of the Lease and of the pause between two attempts, in seconds, as they are in force.
async fn bound(scene: &Scene<'_>) -> Result<[f64; 2]> {
    let name = format!("{RELEASE}-operator");
    let leases: Api<Lease> = Api::namespaced(scene.stage.plane.client(), OPERATOR_NAMESPACE);
    let lease = leases.get(&name).await?.spec.unwrap_or_default();
    let lease = lease.lease_duration_seconds.context("a Lease for ever")?;
    let deployment = format!("deployment/{name}");
    let path = "jsonpath={.spec.template.spec.containers[0].args[*]}";
    let get = ["get", &deployment, "-n", OPERATOR_NAMESPACE, "-o", path];
    let flags = scene.stage.plane.kubectl(&get).await?;
    let mut flags = flags.split_whitespace();
    let retry = flags.find_map(|flag| flag.strip_prefix(RETRY_FLAG));
    let retry = retry.context("the operator was started without its retry period")?;
    Ok([f64::from(lease), retry.parse()?])
}

async fn rounds(scene: &Scene<'_>, end: End) -> Result<Vec<f64>> {
    let mut all = Vec::new();
    for agent in scene.agents.iter().cycle().take(ROUNDS) {
        let seconds = round(scene, agent, end).await;
        let seconds = seconds.with_context(|| format!("{end:?}, with {}", agent.name))?;
        println!("  {end:?}: the new leader has acted after {seconds:.2} s");
        all.push(seconds);
    }
    Ok(sorted(all))
}

async fn round(scene: &Scene<'_>, agent: &Agent, end: End) -> Result<f64> {
    scene.settled().await?;
    both_operators(scene).await?;
    let leader = scene.stage.leader().await?.name;
    let operators = &scene.stage.operators;
    let begun = Instant::now();
    scene.nodes.hold(NAMESPACE, &agent.name)?;
    match end {
        End::Killed => operators.hold(OPERATOR_NAMESPACE, &leader)?,
        End::Deleted => {
            let delete = ["delete", "pod", &leader, "-n", OPERATOR_NAMESPACE];
            let delete = delete.into_iter().chain(["--wait=false"]);
            let delete: Vec<&str> = delete.collect();
            scene.stage.plane.kubectl(&delete).await.map(drop)?;
        }
    }
    wait::until("a map without the dead agent", DEADLINE, async || {
        let record = scene.record().await?;
        Ok((!record.lists(&agent.uid)).then_some(()))
    })
    .await?;
    let seconds = begun.elapsed().as_secs_f64();
    if end == End::Killed {
        operators.return_pod(OPERATOR_NAMESPACE, &leader)?;
    }
    measure::back(scene.stage, &scene.nodes, CLUSTER, agent).await?;
    Ok(seconds)
}

/// Waits until two operators run: one that leads, and one that can take its place.
async fn both_operators(scene: &Scene<'_>) -> Result<()> {
    wait::until("both operators to run", DEADLINE, async || {
        let mut leads = 0.0;
        let operators = scene.stage.operators().await?;
        for operator in &operators {
            leads += operator.metric("slotmesh_operator_leader").await?;
        }
        Ok((operators.len() == OPERATORS && leads > 0.5).then_some(()))
    })
    .await
}
