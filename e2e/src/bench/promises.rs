//! The table `main`: every promise of the README.

use anyhow::Result;
use clap::{Args, ValueEnum};

use super::table::{self, Chosen, Table};
use super::{checkout, cost, kills, moves, quiet, writes};
use slotmesh_report::Report;

const KILLS: u32 = 60;
const MINUTES: u32 = 10;
/// Longest runs of CI, cold and warm, in minutes.
const CI_MINUTES: [f64; 2] = [45.0, 15.0];

/// Printed below `--help`.
pub(super) const HELP: &str = "\
Parts, and how long they take on 2 cores:
  kills   60 agents of 8 fail in turn, half of them frozen: verdict, new map, moves    about 10 min
  moves   slots that move when an agent joins, dies and returns, beside the minimum    about 1 min
  quiet   10 minutes in which nothing fails: nothing may be found failed               about 11 min
  busy    the same while four threads keep the machine busy                            about 11 min
  writes  what an idle cluster writes to the API, from the API server's audit log      about 2 min
  cost    CPU, memory, bytes and connections of each agent, 30 nodes                   about 2 min
  demo    `make demo` in a clean clone, cold and warm (only with --all, or when named) about 17 min
  ci      `.ci/run` in a clean clone, cold and warm (only with --all, or when named)   about 48 min

Every part runs on a control plane of its own. Nothing else should run on the machine meanwhile: the
verdicts are timed in milliseconds. The rows are written to target/report/main.json after each part, and
those of parts that were run earlier stay there with their time and commit, so the table can be measured
in pieces. A run with fewer kills or minutes says so in its rows, claims no aim, and never takes the place
of a whole run's row. Exit code 1 when a part failed or missed an aim.

  slotmesh-e2e bench main                            everything but demo and ci
  slotmesh-e2e bench main --only kills --kills 4     try one part, quickly
  slotmesh-e2e bench main --only writes --only cost  two parts
  slotmesh-e2e bench main --all                      everything, about 2 hours
  make bench-main ARGS=\"--only demo\"                 the same through make";

/// Which parts, and how much of each.
#[derive(Clone, Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    chosen: Chosen<Part>,
    /// Length of the parts quiet and busy; fewer than 10 claim no aim.
    #[arg(long, default_value_t = MINUTES, value_parser = clap::value_parser!(u32).range(1..=1440))]
    minutes: u32,
    /// Failures of the part kills; fewer than 60 claim no aim.
    #[arg(long, default_value_t = KILLS, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    kills: u32,
}

/// A part of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    Kills,
    Moves,
    Quiet,
    Busy,
    Writes,
    Cost,
    Demo,
    Ci,
}

impl table::Part for Part {
    fn is_long(self) -> bool {
        matches!(self, Self::Demo | Self::Ci)
    }
}

impl Table for Arguments {
    type Part = Part;
    const NAME: &'static str = "main";

    fn chosen(&self) -> &Chosen<Part> {
        &self.chosen
    }

    async fn measure(&self, part: Part, report: &mut Report) -> Result<()> {
        match part {
            Part::Kills => kills::measure(report, self.kills, KILLS).await,
            Part::Moves => moves::measure(report).await,
            Part::Quiet => quiet::measure(report, self.minutes, MINUTES, 0).await,
            Part::Busy => quiet::measure(report, self.minutes, MINUTES, quiet::BUSY_THREADS).await,
            Part::Writes => writes::measure(report).await,
            Part::Cost => cost::measure(report).await,
            Part::Demo => checkout::demo(report).await,
            Part::Ci => checkout::ci(report, CI_MINUTES).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::bench::table::Part as _;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn parts(line: &[&str]) -> Vec<Part> {
        let words = ["bench"].iter().chain(line);
        Line::parse_from(words).arguments.chosen.parts()
    }

    #[test]
    fn long_parts_run_only_when_asked_for() {
        assert!(!parts(&[]).iter().any(|part| part.is_long()));
        assert_eq!(parts(&["--all"]), Part::value_variants());
        assert_eq!(parts(&["--only", "ci"]), [Part::Ci]);
        let two = parts(&["--only", "cost", "--only", "kills"]);
        assert_eq!(two, [Part::Kills, Part::Cost]);
    }
}
