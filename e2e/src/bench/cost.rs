//! What each of 30 agents costs: CPU and memory as the kernel counts them, bytes and connections as the
//! agents count them, with the headers that the network carries too.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::Instant;

use super::duration;
use super::figures::{largest, mean};
use super::resources::Usage;
use super::scene::{Scene, with_cluster};
use crate::control_plane::Options;
use crate::wait;
use slotmesh_report::Report;

const NODES: u8 = 30;
/// How long is measured.
const LENGTH: Duration = Duration::from_secs(60);
/// Connections that have not changed for that long are all there.
const STEADY: Duration = Duration::from_secs(10);
const DEADLINE: Duration = Duration::from_secs(120);

const SENT: [&str; 2] = [
    "slotmesh_agent_udp_sent_bytes_total",
    "slotmesh_agent_udp_sent_datagrams_total",
];
const RECEIVED: [&str; 2] = [
    "slotmesh_agent_udp_received_bytes_total",
    "slotmesh_agent_udp_received_datagrams_total",
];
/// Of UDP and IPv4, for each datagram; the agents count without them.
const HEADER_BYTES: f64 = 28.0;
const CONNECTIONS: &str = "slotmesh_agent_connections";

/// UDP in one direction.
#[derive(Clone, Copy, Debug)]
struct Traffic {
    bytes: f64,
    datagrams: f64,
}

impl Traffic {
    /// KB/s, with headers and without them.
    fn rates(self, before: Self, seconds: f64) -> (f64, f64) {
        let bytes = self.bytes - before.bytes;
        let headers = (self.datagrams - before.datagrams) * HEADER_BYTES;
        let rate = |bytes: f64| bytes / seconds / 1000.0;
        (rate(bytes + headers), rate(bytes))
    }
}

/// One agent at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    usage: Usage,
    sent: Traffic,
    received: Traffic,
    connections: f64,
}

pub(super) async fn measure(report: &mut Report) -> Result<()> {
    let (before, after) = with_cluster(NODES, Options::default(), async |scene| {
        steady(scene).await?;
        let before = sample(scene).await?;
        println!("  {} of 30 agents at rest", duration(LENGTH.as_secs_f64()));
        // The time that is measured, no wait for something to happen.
        tokio::time::sleep(LENGTH).await;
        Ok((before, sample(scene).await?))
    })
    .await?;
    add_rows(report, "an agent of 30", &before, &after)
}

/// Waits until the mesh has formed: its handshakes are not what an agent at rest costs.
async fn steady(scene: &Scene<'_>) -> Result<()> {
    scene.settled().await?;
    let (mut last, mut since) = (0.0, Instant::now());
    wait::until("the connections to be all there", DEADLINE, async || {
        let metrics = scene.metrics().await?;
        let all: f64 = metrics
            .iter()
            .filter_map(|agent| agent.get(CONNECTIONS))
            .sum();
        if (all - last).abs() > 0.5 {
            (last, since) = (all, Instant::now());
        }
        Ok((since.elapsed() >= STEADY).then_some(()))
    })
    .await
}

impl Sample {
    /// A process, and what it counts.
    pub(super) fn of(pid: u32, metrics: &BTreeMap<String, f64>) -> Result<Self> {
        let value = |name: &str| {
            let found = metrics.get(name).copied();
            found.with_context(|| format!("no metric {name}"))
        };
        let traffic = |[bytes, datagrams]: [&str; 2]| -> Result<Traffic> {
            Ok(Traffic {
                bytes: value(bytes)?,
                datagrams: value(datagrams)?,
            })
        };
        Ok(Self {
            usage: Usage::of(pid)?,
            sent: traffic(SENT)?,
            received: traffic(RECEIVED)?,
            connections: value(CONNECTIONS)?,
        })
    }

    /// KB/s sent since then, with headers, and the share of a core in percent.
    pub(super) fn rates_since(&self, before: &Self) -> Result<(f64, f64)> {
        let seconds = self.usage.seconds_since(&before.usage);
        let cpu = self.usage.cpu_percent_since(&before.usage)?;
        Ok((self.sent.rates(before.sent, seconds).0, cpu))
    }
}

async fn sample(scene: &Scene<'_>) -> Result<Vec<Sample>> {
    let mut all = Vec::new();
    for (agent, metrics) in scene.agents.iter().zip(scene.metrics().await?) {
        let pid = scene.stage.pid_of(&agent.name)?;
        let sample = Sample::of(pid, &metrics);
        all.push(sample.with_context(|| agent.name.clone())?);
    }
    Ok(all)
}

/// The rows of `who`: the most of each figure beside its aim.
pub(super) fn add_rows(
    report: &mut Report,
    who: &str,
    before: &[Sample],
    after: &[Sample],
) -> Result<()> {
    let (mut cpu, mut sent, mut received) = (Vec::new(), Vec::new(), Vec::new());
    let mut bare = Vec::new();
    for (before, after) in before.iter().zip(after) {
        let seconds = after.usage.seconds_since(&before.usage);
        let used = after.usage.cpu_percent_since(&before.usage);
        cpu.push(used.with_context(|| who.to_owned())?);
        let (out, out_bare) = after.sent.rates(before.sent, seconds);
        sent.push(out);
        bare.push(out_bare);
        received.push(after.received.rates(before.received, seconds).0);
    }
    let resident: Vec<f64> = after
        .iter()
        .map(|sample| sample.usage.resident_mib)
        .collect();
    let both = before.iter().chain(after);
    let connections: Vec<f64> = both.map(|sample| sample.connections).collect();
    for (what, figures, unit, aim) in [
        ("CPU", &cpu, "% core", 0.8),
        ("bytes out", &sent, "KB/s", 9.0),
        ("connections", &connections, "", 32.0),
        ("resident memory", &resident, "MiB", 20.0),
    ] {
        report.at_most(
            format!("{who}, {what}: the most"),
            largest(figures),
            unit,
            aim,
        );
        let more = match what {
            "bytes out" => format!(
                "; with headers of UDP and IPv4, without them the most is {:.3}, mean {:.3}",
                largest(&bare),
                mean(&bare)
            ),
            "CPU" => "; one core is 100 %".to_owned(),
            _ => String::new(),
        };
        report.note(format!("mean {:.3}{more}", mean(figures)));
    }
    report.plain(
        format!("{who}, bytes in: the most"),
        largest(&received),
        "KB/s",
    );
    report.note(format!("mean {:.3}; with headers", mean(&received)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_datagram_has_headers() {
        let traffic = |bytes, datagrams| Traffic { bytes, datagrams };
        let (with, without) = traffic(7000.0, 30.0).rates(traffic(1000.0, 10.0), 2.0);
        assert!((without - 3.0).abs() < 1e-9);
        assert!((with - 3.28).abs() < 1e-9);
    }
}
