//! What an idle cluster writes to the API, from the API server's audit log: the leader's Lease, and
//! nothing else.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::duration;
use super::scene::with_cluster;
use crate::control_plane::{ControlPlane, Options, Write};
use crate::stage::{NAMESPACE, OPERATOR_NAMESPACE};
use crate::wait;
use slotmesh_report::Report;

const NODES: u8 = 8;
const LEASE: &str = "slotmesh-operator";
/// How long is measured.
const LENGTH: Duration = Duration::from_secs(90);
/// What the formation of the cluster still has to say is said when this has passed without a word.
const SILENCE: Duration = Duration::from_secs(10);
/// Longest wait for that silence; what still writes then is what is to be found.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) async fn measure(report: &mut Report) -> Result<()> {
    let options = Options {
        audit: true,
        ..Options::default()
    };
    let writes = with_cluster(NODES, options, async |scene| {
        scene.settled().await?;
        idle(&scene.stage.plane).await?;
        let before = scene.stage.plane.writes()?.len();
        println!(
            "  {} of every write to the API",
            duration(LENGTH.as_secs_f64())
        );
        // The time that is measured, no wait for something to happen.
        tokio::time::sleep(LENGTH).await;
        let mut writes = scene.stage.plane.writes()?;
        Ok(writes.split_off(before))
    })
    .await?;
    let (leases, others) = ours(writes);
    ensure!(
        !leases.is_empty(),
        "the audit log shows no renewal of the Lease {OPERATOR_NAMESPACE}/{LEASE}, so it shows nothing at all: does an operator lead?"
    );
    let seconds = LENGTH.as_secs();
    report.exactly(
        "idle, 8 nodes: writes to the API beside the leader's Lease",
        f64::from(u32::try_from(others.len())?),
        "",
        0.0,
    );
    report.note(format!(
        "operators and agents, {seconds} s of the audit log{}",
        told(&others)
    ));
    report.plain(
        "idle, 8 nodes: renewals of the leader's Lease",
        f64::from(u32::try_from(leases.len())?),
        "",
    );
    report.note(format!("in {seconds} s"));
    Ok(())
}

/// The writes of operators and agents: those of the Lease, and the others.
pub(super) fn ours(writes: Vec<Write>) -> (Vec<Write>, Vec<Write>) {
    writes.into_iter().filter(is_ours).partition(is_lease)
}

/// Waits until SlotMesh has written nothing but its Lease for a while.
pub(super) async fn idle(plane: &ControlPlane) -> Result<()> {
    let count = || -> Result<usize> {
        let writes = plane.writes()?.into_iter();
        Ok(writes
            .filter(|write| is_ours(write) && !is_lease(write))
            .count())
    };
    let (mut last, mut since) = (count()?, std::time::Instant::now());
    let silence = wait::until("the cluster to write nothing", PATIENCE, async || {
        let now = count()?;
        if now != last {
            (last, since) = (now, std::time::Instant::now());
        }
        Ok((since.elapsed() >= SILENCE).then_some(()))
    });
    if let Err(error) = silence.await {
        eprintln!("  {error:#}; measuring all the same");
    }
    Ok(())
}

/// By an operator or an agent: by any ServiceAccount of their namespaces.
fn is_ours(write: &Write) -> bool {
    [OPERATOR_NAMESPACE, NAMESPACE].iter().any(|namespace| {
        let prefix = format!("system:serviceaccount:{namespace}:");
        write.user.starts_with(&prefix)
    })
}

fn is_lease(write: &Write) -> bool {
    write.resource == "leases" && write.namespace == OPERATOR_NAMESPACE && write.name == LEASE
}

/// The different ones, with their numbers.
pub(super) fn told(writes: &[Write]) -> String {
    let mut kinds: BTreeMap<String, u32> = BTreeMap::new();
    for write in writes {
        *kinds.entry(write.to_string()).or_default() += 1;
    }
    let lines = kinds
        .iter()
        .map(|(write, times)| format!("; {times} x {write}"));
    lines.collect()
}
