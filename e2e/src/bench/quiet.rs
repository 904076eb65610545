//! Minutes in which nothing fails, on a quiet machine and on a busy one: nobody may be found failed.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::Instant;

use super::duration;
use super::load::Load;
use super::scene::{Scene, with_cluster};
use crate::control_plane::Options;
use slotmesh_report::Report;

pub(super) const BUSY_THREADS: usize = 4;
const NODES: u8 = 8;
/// Time between two looks.
const TICK: Duration = Duration::from_secs(15);
/// Looks between two lines of progress.
const TICKS_PER_LINE: u32 = 4;

const VERDICTS: &str = "slotmesh_agent_verdicts_total";
const STATEMENTS: &str = "slotmesh_agent_evidence_signed_total";
const STARTED: &str = "process_start_time_seconds";

/// What happened, over all agents.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Counted {
    verdicts: f64,
    statements: f64,
    restarts: f64,
}

pub(super) async fn measure(
    report: &mut Report,
    minutes: u32,
    whole: u32,
    busy: usize,
) -> Result<()> {
    let (counted, epochs) = with_cluster(NODES, Options::default(), async |scene| {
        watch(scene, minutes, busy).await
    })
    .await?;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let (name, how) = match busy {
        0 => ("quiet minutes", String::new()),
        _ => (
            "busy minutes",
            format!(", {busy} busy threads on {cores} cores"),
        ),
    };
    report.exactly(
        format!("{name}, 8 nodes: verdicts"),
        counted.verdicts,
        "",
        0.0,
    );
    report.note(format!("{minutes} min{how}"));
    report.exactly(format!("{name}, 8 nodes: epochs"), epochs, "", 0.0);
    report.exactly(
        format!("{name}, 8 nodes: agents that restarted"),
        counted.restarts,
        "",
        0.0,
    );
    report.plain(
        format!("{name}, 8 nodes: statements about silent edges"),
        counted.statements,
        "",
    );
    if minutes < whole {
        report.shorten(&format!("{minutes} min instead of {whole}"));
    }
    Ok(())
}

async fn watch(scene: &Scene<'_>, minutes: u32, busy: usize) -> Result<(Counted, f64)> {
    let before = scene.settled().await?;
    let mut last = scene.metrics().await?;
    let mut counted = Counted::default();
    let load = Load::start(busy)?;
    let length = Duration::from_secs(u64::from(minutes) * 60);
    let begun = Instant::now();
    let mut tick = 0;
    while begun.elapsed() < length {
        tick += 1;
        // The time that is measured, no wait for something to happen.
        tokio::time::sleep_until(begun + length.min(TICK * tick)).await;
        let now = scene.metrics().await?;
        for (before, after) in last.iter().zip(&now) {
            counted.add(before, after)?;
        }
        last = now;
        if tick.is_multiple_of(TICKS_PER_LINE) {
            println!(
                "  {} verdicts and {} statements in {}, {} left",
                counted.verdicts,
                counted.statements,
                duration(begun.elapsed().as_secs_f64()),
                duration(length.saturating_sub(begun.elapsed()).as_secs_f64())
            );
        }
    }
    drop(load);
    let epochs = scene.record().await?.epoch - before.epoch;
    #[allow(clippy::cast_precision_loss)] // they are few
    Ok((counted, epochs as f64))
}

impl Counted {
    /// Counters of a process begin at zero, those of one that restarted too.
    fn add(&mut self, before: &BTreeMap<String, f64>, after: &BTreeMap<String, f64>) -> Result<()> {
        let value = |metrics: &BTreeMap<String, f64>, name: &str| {
            let found = metrics.get(name).copied();
            found.with_context(|| format!("an agent has no metric {name}"))
        };
        let restarted = value(after, STARTED)? > value(before, STARTED)?;
        for (sum, name) in [
            (&mut self.verdicts, VERDICTS),
            (&mut self.statements, STATEMENTS),
        ] {
            let from = if restarted { 0.0 } else { value(before, name)? };
            *sum += value(after, name)? - from;
        }
        self.restarts += if restarted { 1.0 } else { 0.0 };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn metrics(started: f64, verdicts: f64) -> BTreeMap<String, f64> {
        [(STARTED, started), (VERDICTS, verdicts), (STATEMENTS, 1.0)]
            .map(|(name, value)| (name.to_owned(), value))
            .into()
    }

    #[test]
    fn verdicts_of_a_process_that_restarted_count_from_zero() {
        let mut counted = Counted::default();
        counted.add(&metrics(1.0, 3.0), &metrics(1.0, 3.0)).unwrap();
        assert_eq!(counted, Counted::default());
        counted.add(&metrics(1.0, 3.0), &metrics(2.0, 2.0)).unwrap();
        let expected = Counted {
            verdicts: 2.0,
            statements: 1.0,
            restarts: 1.0,
        };
        assert_eq!(counted, expected);
    }
}
