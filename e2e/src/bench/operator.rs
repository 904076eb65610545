//! The table `operator`: what is promised of the product on Kubernetes.

mod flood;
mod idle;
mod leader;
mod ready;
mod rollout;
mod split;
mod verdict;

use anyhow::Result;
use clap::{Args, ValueEnum};

use super::checkout;
use super::table::{self, Chosen, Table};
use slotmesh_report::Report;

const ROUNDS: u32 = 10;
const KILLS: u32 = 40;
/// Longest runs of CI, cold and warm, in minutes.
const CI_MINUTES: [f64; 2] = [60.0, 20.0];

/// Printed below `--help`.
pub(super) const HELP: &str = "\
Parts, and how long they take on 2 cores:
  ready    a GossipCluster is applied on 8 nodes until it is Ready, ten times            about 3 min
  split    a cell of 12 becomes two under 100 look-ups a second on each agent            about 1 min
  leader   the leading operator is killed (-9) and held, later ended with grace          about 3 min
  rollout  8 agents are replaced: slots that change node, look-ups without an answer     about 2 min
  flood    1,000 joins from one address and 200 bad tokens while 3 honest agents join    about 1 min
  idle     operator with 1 cluster, 20 clusters, two on the same nodes: memory, CPU      about 6 min
  large    the same with one cluster of 300 members, heartbeats of 2 s                   about 6 min
  write    40 agents fail in turn: from the operator's verdict to the recorded epoch     about 4 min
  ci       `.ci/run` in a clean clone, cold and warm (only with --all, or when named)    about 48 min

Every part runs on a control plane of its own. Nothing else should run on the machine meanwhile. The rows
are written to target/report/operator.json after each part, and those of parts that were run earlier stay
there with their time and commit, so the table can be measured in pieces. A run with fewer rounds or kills
says so in its rows, claims no aim, and never takes the place of a whole run's row. Exit code 1 when a part
failed or missed an aim.

  slotmesh-e2e bench operator                             everything but ci
  slotmesh-e2e bench operator --only ready --rounds 2     try one part, quickly
  slotmesh-e2e bench operator --only split --only flood   two parts
  make bench-operator ARGS=\"--only leader\"                the same through make";

/// Which parts, and how much of each.
#[derive(Clone, Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    chosen: Chosen<Part>,
    /// Clusters of the part ready; fewer than 10 claim no aim.
    #[arg(long, default_value_t = ROUNDS, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Failures of the part write; fewer than 40 claim no aim.
    #[arg(long, default_value_t = KILLS, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    kills: u32,
}

/// A part of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    Ready,
    Split,
    Leader,
    Rollout,
    Flood,
    Idle,
    Large,
    Write,
    Ci,
}

impl table::Part for Part {
    fn is_long(self) -> bool {
        matches!(self, Self::Ci)
    }
}

impl Table for Arguments {
    type Part = Part;
    const NAME: &'static str = "operator";

    fn chosen(&self) -> &Chosen<Part> {
        &self.chosen
    }

    async fn measure(&self, part: Part, report: &mut Report) -> Result<()> {
        match part {
            Part::Ready => ready::measure(report, self.rounds, ROUNDS).await,
            Part::Split => split::measure(report).await,
            Part::Leader => leader::measure(report).await,
            Part::Rollout => rollout::measure(report).await,
            Part::Flood => flood::measure(report).await,
            Part::Idle => idle::measure(report).await,
            Part::Large => idle::measure_large(report).await,
            Part::Write => verdict::measure(report, self.kills, KILLS).await,
            Part::Ci => checkout::ci(report, CI_MINUTES).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

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
    fn only_ci_has_to_be_asked_for() {
        let usual = parts(&[]);
        assert_eq!(usual.len() + 1, Part::value_variants().len());
        assert!(!usual.contains(&Part::Ci));
        assert_eq!(parts(&["--only", "ci"]), [Part::Ci]);
    }

    #[test]
    fn every_part_is_explained() {
        for part in Part::value_variants() {
            let name = table::Part::name(*part);
            let line = format!("\n  {name} ");
            assert!(HELP.contains(&line), "{name} is not in the help");
        }
    }
}
