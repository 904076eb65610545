//! What agents at rest cost, without Kubernetes: the same figures as of 30 agents with it.

use std::time::Duration;

use anyhow::{Context, Result};

use super::agents::Agents;
use super::crowd::Crowd;
use super::machine::Load;
use crate::bench::cost::Sample;

/// Time at rest before it is measured: handshakes are not what an agent at rest costs.
const REST: Duration = Duration::from_secs(10);

/// Agents before and after a time at rest.
#[derive(Debug)]
pub(super) struct Rested {
    pub(super) before: Vec<Sample>,
    pub(super) after: Vec<Sample>,
    /// Share of all cores that was in use, by whomever, in percent.
    pub(super) busy_percent: f64,
}

/// Watches agents at rest.
///
/// # Errors
/// When they do not settle, or one cannot be measured.
pub(super) async fn watch(crowd: &mut Crowd<Agents>, length: Duration) -> Result<Rested> {
    crowd.settle(REST).await?;
    let load = Load::now()?;
    let before = samples(crowd).await?;
    // The time that is measured, no wait for something to happen.
    tokio::time::sleep(length).await;
    let after = samples(crowd).await?;
    Ok(Rested {
        before,
        after,
        busy_percent: load.busy_percent_until(&Load::now()?),
    })
}

async fn samples(crowd: &Crowd<Agents>) -> Result<Vec<Sample>> {
    let metrics = crowd.kind.metrics().await?;
    let all = crowd.pids().into_iter().zip(&metrics);
    all.map(|(pid, metrics)| Sample::of(pid, metrics).with_context(|| format!("agent {pid}")))
        .collect()
}
