//! Agents fail in turn: from the operator's verdict until the epoch that carries it is in the record.

use anyhow::{Context, Result};
use slotmesh_mesh::batch::BATCH;

use crate::bench::figures::{count, largest, median, percentile_99, sorted};
use crate::bench::kills::{choose, fail_and_return};
use crate::bench::scene::with_cluster;
use crate::control_plane::Options;
use crate::http;
use crate::stage::Operator;
use slotmesh_report::Report;

const NODES: u8 = 8;
const HISTOGRAM: &str = "slotmesh_operator_verdict_to_recorded_seconds";

/// What the histogram has seen so far.
#[derive(Clone, Copy, Debug)]
struct Seen {
    sum: f64,
    count: f64,
}

pub(super) async fn measure(report: &mut Report, kills: u32, whole: u32) -> Result<()> {
    let mut all = Vec::new();
    let played = with_cluster(NODES, Options::default(), async |scene| {
        let leader = scene.stage.leader().await?;
        for number in 0..kills {
            let (victim, kind) = choose(&scene.agents, number)?;
            let before = Seen::by(&leader).await?;
            fail_and_return(scene, &victim, kind).await?;
            let seconds = Seen::by(&leader).await?.one_more_than(before);
            let told = seconds.map_or("by more or less than one epoch".to_owned(), |seconds| {
                format!("{seconds:.3} s after the verdict")
            });
            println!("  failure {} of {kills}: recorded {told}", number + 1);
            all.push(seconds);
        }
        Ok(())
    })
    .await;
    add_rows(report, &all);
    match &played {
        Err(_) => report.shorten(&format!("ended by an error after {} failures", all.len())),
        Ok(()) if kills < whole => report.shorten(&format!("{kills} failures instead of {whole}")),
        Ok(()) => {}
    }
    played
}

impl Seen {
    async fn by(operator: &Operator) -> Result<Self> {
        let url = format!("http://{}:8080/metrics", operator.ip);
        let metrics = http::metrics(&url).await?;
        let value = |part: &str| {
            let name = format!("{HISTOGRAM}_{part}");
            let found = metrics.get(&name).copied();
            found.with_context(|| format!("{} has no metric {name}", operator.name))
        };
        Ok(Self {
            sum: value("sum")?,
            count: value("count")?,
        })
    }

    /// The one observation that lies between the two: exact, whatever the buckets. None when there is
    /// not exactly one.
    fn one_more_than(self, before: Self) -> Option<f64> {
        let is_one = (self.count - before.count - 1.0).abs() < 0.5;
        is_one.then_some(self.sum - before.sum)
    }
}

/// A failure that was not recorded by exactly one verdict has no figure.
fn add_rows(report: &mut Report, failures: &[Option<f64>]) {
    let seconds = sorted(failures.iter().copied().flatten());
    report.plain(
        "verdict -> recorded epoch: failures not recorded by one epoch",
        count(failures.len() - seconds.len()),
        "",
    );
    if seconds.is_empty() {
        return;
    }
    let beyond = |seconds: f64| (seconds - BATCH.as_secs_f64()).max(0.0);
    report.at_most(
        "verdict -> recorded epoch, 300 ms of batching not counted: p99",
        beyond(percentile_99(&seconds)),
        "s",
        0.3,
    );
    report.note(format!(
        "{} of {} failures, each recorded by one epoch; by the operator's own clock, from its verdict to the answer of the API server; with the batching: median {:.3} s, slowest {:.3} s",
        seconds.len(),
        failures.len(),
        median(&seconds),
        largest(&seconds)
    ));
    report.plain(
        "verdict -> recorded epoch, batching not counted: median",
        beyond(median(&seconds)),
        "s",
    );
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn only_a_single_observation_is_exact() {
        let before = Seen {
            sum: 1.5,
            count: 4.0,
        };
        let after = |sum, count| Seen { sum, count };
        let one = after(1.9, 5.0).one_more_than(before).unwrap();
        assert!((one - 0.4).abs() < 1e-9);
        assert!(after(1.5, 4.0).one_more_than(before).is_none());
        assert!(after(2.5, 6.0).one_more_than(before).is_none());
    }

    #[test]
    fn what_took_less_than_the_window_counts_as_nothing() {
        let mut report = Report::default();
        add_rows(&mut report, &[Some(0.31), None, Some(0.2), Some(0.25)]);
        let row = report.rows.get(1).unwrap();
        assert!((row.value - 0.01).abs() < 1e-9);
        assert_eq!(row.aim_met, Some(true));
    }
}
