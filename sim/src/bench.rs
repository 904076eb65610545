//! What is promised, measured.
//!
//! Each row is a scenario, written here because sizes and seeds vary; the seeds of a row are 1 and on, so
//! `mesh-sim bench --only ROW` repeats it bit by bit.

mod edge_model;
mod lifeguard;
mod maps;
mod mass;
mod peers;
mod rows;
mod traffic;

use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use slotmesh_mesh::limits;
use slotmesh_mesh::sim::scenario::{Outcome, Scenario, parse};
use slotmesh_report::Report;
use slotmesh_report::origin::Origin;

/// The file of the table: the live rows are in it too.
const NAME: &str = "mesh";
/// Stands for what never happened.
const NEVER: Duration = Duration::from_secs(slotmesh_report::NEVER_SECONDS);
/// The network of all rows that do not say otherwise.
const NETWORK: &str = "network latency 200us jitter 100us loss 1%\n";

/// What is measured, and how thoroughly.
struct Bench {
    table: Report,
    quick: bool,
    /// Seeds at most, however many an aim asks for.
    most_seeds: u64,
    /// A row had fewer than it asks for, for that reason.
    cut: bool,
}

type Measure = fn(&mut Bench) -> Result<()>;

/// A row that takes long has parts, each kept by itself: `P3/out` is one of `P3`.
const ROWS: [(&str, Measure); 26] = [
    ("P1", rows::crash),
    ("P1p", peers::crash),
    ("PM", peers::model),
    ("P2/model", rows::loss_model),
    ("P2/loss", rows::loss),
    ("P2s", rows::stalls),
    ("P2g", lifeguard::grid),
    ("P3/in", rows::rapid_in),
    ("P3/out", rows::rapid_out),
    ("P3/switch", rows::rapid_switch),
    ("P3m/small", mass::mass_death),
    ("P3m/third/1", |bench| mass::part_of_large(bench, 33, 1)),
    ("P3m/third/2", |bench| mass::part_of_large(bench, 33, 2)),
    ("P3m/third/3", |bench| mass::part_of_large(bench, 33, 3)),
    ("P3m/third/4", |bench| mass::part_of_large(bench, 33, 4)),
    ("P3m/half/1", |bench| mass::part_of_large(bench, 49, 1)),
    ("P3m/half/2", |bench| mass::part_of_large(bench, 49, 2)),
    ("P3m/half/3", |bench| mass::part_of_large(bench, 49, 3)),
    ("P3m/half/4", |bench| mass::part_of_large(bench, 49, 4)),
    ("P4", rows::map_change),
    ("P4b", maps::sizes),
    ("P4z", rows::zones),
    ("P5", traffic::at_rest),
    ("P6", mass::half_dies),
    ("P6b", rows::joins),
    ("P10", rows::speed),
];

/// Measures the rows that were asked for, or all; says whether no aim was missed.
pub fn bench(only: &[String], quick: bool, most_seeds: Option<u64>) -> Result<bool> {
    for name in only {
        if !ROWS.iter().any(|(row, _)| is_of(row, name)) {
            let all: Vec<&str> = ROWS.iter().map(|(row, _)| *row).collect();
            bail!("there is no row {name}; there are {}", all.join(", "));
        }
    }
    let origin = Origin::here();
    let mut met = true;
    for (name, measure) in ROWS {
        if !only.is_empty() && !only.iter().any(|asked| is_of(name, asked)) {
            continue;
        }
        let mut bench = Bench::new(quick, most_seeds);
        measure(&mut bench)?;
        let how = bench.how();
        let mut table = bench.table;
        if let Some(how) = &how {
            table.shorten(how);
        }
        table.stamp(&origin, &again(name, how.as_deref()));
        table.print();
        met &= table.all_met();
        keep(table)?;
    }
    Ok(met)
}

/// Whether a row is the one asked for, or a part of it.
fn is_of(row: &str, asked: &str) -> bool {
    let part = row.strip_prefix(asked);
    part.is_some_and(|part| part.is_empty() || part.starts_with('/'))
}

/// Measures a row again, in all sizes.
fn again(name: &str, how: Option<&str>) -> String {
    let how = how.map(|how| format!(" {how}")).unwrap_or_default();
    format!("make mesh-sim ARGS=\"bench --only {name}{how}\"")
}

/// What is measured is kept, whatever becomes of the rows after it.
fn keep(table: Report) -> Result<()> {
    let mut all = Report::read(NAME)?;
    for row in all.merge(table) {
        println!("not written: {} (a whole run's row is there)", row.case);
    }
    let path = all.write(NAME)?;
    println!("written to {}\n", path.display());
    Ok(())
}

impl Bench {
    fn new(quick: bool, most_seeds: Option<u64>) -> Self {
        Self {
            table: Report::default(),
            quick,
            most_seeds: most_seeds.unwrap_or(u64::MAX),
            cut: false,
        }
    }

    /// Fewer seeds where time is short.
    fn seeds(&mut self, whole: u64, quick: u64) -> u64 {
        let asked = if self.quick { quick } else { whole };
        self.cut |= self.most_seeds < asked;
        asked.min(self.most_seeds)
    }

    /// By which arguments it measured with less than the aims ask for, if it did.
    fn how(&self) -> Option<String> {
        let quick = self.quick.then(|| "--quick".to_owned());
        let cut = self.cut.then(|| format!("--seeds {}", self.most_seeds));
        let how: Vec<String> = quick.into_iter().chain(cut).collect();
        (!how.is_empty()).then(|| how.join(" "))
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
        self.outcomes_from(text, 1, seeds)
    }

    fn outcomes_from(&self, text: &str, first: u64, seeds: u64) -> Result<Vec<Outcome>> {
        let scenario = scenario(text)?;
        let outcomes = crate::sweep::outcomes(&scenario.title, &scenario, first, seeds, None)?;
        // A row counts what it promises; what else was broken is to be seen.
        crate::sweep::say_broken(&outcomes);
        Ok(outcomes)
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
    fn a_row_says_how_it_was_measured() {
        assert_eq!(again("P1", None), r#"make mesh-sim ARGS="bench --only P1""#);
        assert!(again("P1", Some("--quick")).ends_with(r#"--only P1 --quick""#));
    }

    #[test]
    fn fewer_seeds_than_a_row_asks_for_are_told() {
        let mut bench = Bench::new(false, Some(30));
        assert_eq!((bench.seeds(30, 1), bench.how()), (30, None));
        assert_eq!(bench.seeds(100, 1), 30);
        assert_eq!(bench.how().as_deref(), Some("--seeds 30"));
    }

    #[test]
    fn a_row_is_asked_for_whole_or_in_part() {
        let asked = |name: &str| ROWS.iter().filter(|(row, _)| is_of(row, name)).count();
        assert_eq!(asked("P3"), 3);
        assert_eq!(asked("P3/out"), 1);
        assert_eq!(asked("P3m/half"), 4);
        assert_eq!(asked("P3m/half/2"), 1);
        assert_eq!(asked("P10"), 1);
        assert_eq!(asked("P"), 0);
    }

    #[test]
    fn unknown_rows_are_refused() {
        assert!(bench(&["P99".to_owned()], true, None).is_err());
    }
}
