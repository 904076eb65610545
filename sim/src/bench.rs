//! What is promised, measured.
//!
//! Each row is a scenario, written here because sizes and seeds vary; the seeds of a row are 1 and on, so
//! `mesh-sim bench --only ROW` repeats it bit by bit.

mod rows;

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use slotmesh_mesh::limits;
use slotmesh_mesh::sim::scenario::{Outcome, Scenario, parse};

use crate::report::{Table, print_head};

/// The network of all rows that do not say otherwise.
const NETWORK: &str = "network latency 200us jitter 100us loss 1%\n";

/// What is measured, and how thoroughly.
struct Bench {
    table: Table,
    quick: bool,
}

type Measure = fn(&mut Bench) -> Result<()>;

const ROWS: [(&str, Measure); 11] = [
    ("P1", rows::crash),
    ("P2", rows::loss),
    ("P2s", rows::stalls),
    ("P3", rows::rapid),
    ("P3m", rows::mass_death),
    ("P4", rows::map_change),
    ("P4z", rows::zones),
    ("P5", rows::traffic),
    ("P6", rows::half_dies),
    ("P6b", rows::joins),
    ("P10", rows::speed),
];

/// Measures the rows that were asked for, or all; says whether no aim was missed.
pub fn bench(only: &[String], quick: bool, output: &Path) -> Result<bool> {
    for name in only {
        if !ROWS.iter().any(|(row, _)| row == name) {
            let all: Vec<&str> = ROWS.iter().map(|(row, _)| *row).collect();
            bail!("there is no row {name}; there are {}", all.join(", "));
        }
    }
    let table = Table::new(quick);
    let mut bench = Bench { table, quick };
    print_head();
    for (name, measure) in ROWS {
        if only.is_empty() || only.iter().any(|row| row == name) {
            measure(&mut bench)?;
            // What is measured is kept, whatever becomes of the rows after it.
            bench.table.write(output)?;
        }
    }
    let met = bench.table.nothing_missed();
    println!("written to {}", output.display());
    Ok(met)
}

impl Bench {
    /// Fewer seeds where time is short.
    fn seeds(&self, whole: u64, quick: u64) -> u64 {
        if self.quick { quick } else { whole }
    }

    /// Sizes that this build, and the time there is, allow.
    fn sizes(&self, all: &[u16]) -> Vec<u16> {
        let most = if self.quick { 100 } else { limits::MEMBERS_MAX };
        let fits = |size: &u16| usize::from(*size) <= most;
        let left_out: Vec<&u16> = all.iter().filter(|size| !fits(size)).collect();
        if !left_out.is_empty() {
            println!("  not measured: n = {left_out:?} (at most {most} here)");
        }
        all.iter().copied().filter(fits).collect()
    }

    fn outcomes(&self, text: &str, seeds: u64) -> Result<Vec<Outcome>> {
        let scenario = scenario(text)?;
        crate::sweep::outcomes(&scenario.title, &scenario, 1, seeds, None)
    }
}

fn scenario(text: &str) -> Result<Scenario> {
    parse(text).map_err(|error| anyhow!("a scenario of the benchmark: {error}"))
}

fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}

/// The value below which so many percent lie; zero of nothing.
fn percentile(sorted: &[Duration], percent: usize) -> f64 {
    let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).copied().map(seconds).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted() {
        let times: Vec<Duration> = (1..=100).map(Duration::from_secs).collect();
        assert!((percentile(&times, 50) - 51.0).abs() < 1e-9);
        assert!((percentile(&times, 99) - 100.0).abs() < 1e-9);
        assert!(percentile(&[], 50).abs() < 1e-9);
    }

    #[test]
    fn unknown_rows_are_refused() {
        let none = Path::new("/nowhere/none.json");
        assert!(bench(&["P99".to_owned()], true, none).is_err());
    }
}
