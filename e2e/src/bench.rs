//! `bench main`: what SlotMesh promises, measured on this machine, part by part.
//!
//! Each part sets a stage of its own, so none depends on what another left, and its rows go into
//! `target/report/main.json` as soon as it is done.

mod checkout;
mod cost;
mod kills;
mod load;
mod moves;
mod quiet;
mod scene;
mod writes;

use std::process::Stdio;
use std::time::Instant;

use anyhow::{Result, bail};
use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use tokio::process::Command;

use crate::report::Report;

const TABLE: &str = "main";
const KILLS: u32 = 60;
const MINUTES: u32 = 10;

/// Printed below `--help`.
const HELP: &str = "\
Parts, and how long they take on 2 cores:
  kills   60 agents of 8 fail in turn, half of them frozen: verdict, new map, moves    about 10 min
  moves   slots that move when an agent joins, dies and returns, beside the minimum    about 1 min
  quiet   10 minutes in which nothing fails: nothing may be found failed               about 11 min
  busy    the same while four threads keep the machine busy                            about 11 min
  writes  what an idle cluster writes to the API, from the API server's audit log      about 2 min
  cost    CPU, memory, bytes and connections of each agent, 30 nodes                   about 2 min
  demo    `make demo` in a clean clone, cold and warm (only with --all, or when named) about 20 min
  ci      `.ci/run` in a clean clone, cold and warm (only with --all, or when named)   about 60 min

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

/// What can be measured.
#[derive(Debug, Subcommand)]
pub enum Bench {
    /// Measures every promise of the README and prints it beside what was promised.
    #[command(after_help = HELP)]
    Main(Arguments),
}

/// Which parts, and how much of each.
#[derive(Clone, Debug, Args)]
pub struct Arguments {
    /// Run this part only; may be given several times.
    #[arg(long, value_name = "PART", conflicts_with = "all")]
    only: Vec<Part>,
    /// Run every part, demo and ci too.
    #[arg(long)]
    all: bool,
    /// Length of the parts quiet and busy; fewer than 10 claim no aim.
    #[arg(long, default_value_t = MINUTES, value_parser = clap::value_parser!(u32).range(1..=1440))]
    minutes: u32,
    /// Failures of the part kills; fewer than 60 claim no aim.
    #[arg(long, default_value_t = KILLS, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    kills: u32,
}

/// A part of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    Kills,
    Moves,
    Quiet,
    Busy,
    Writes,
    Cost,
    Demo,
    Ci,
}

impl Part {
    /// Too long to be run unasked.
    fn is_long(self) -> bool {
        matches!(self, Self::Demo | Self::Ci)
    }

    fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

impl Arguments {
    fn parts(&self) -> Vec<Part> {
        let all = Part::value_variants().iter().copied();
        all.filter(|part| match self.only.is_empty() {
            true => self.all || !part.is_long(),
            false => self.only.contains(part),
        })
        .collect()
    }
}

/// Runs it; whether every part came to its end and met its aims.
///
/// # Errors
/// When the table cannot be read or written.
pub async fn run(bench: &Bench) -> Result<bool> {
    let Bench::Main(arguments) = bench;
    let begun = Timestamp::now();
    let commit = commit().await;
    // A table that cannot be read is found now, not after an hour.
    Report::read(TABLE)?;
    let (mut well, mut failed) = (true, Vec::new());
    for part in arguments.parts() {
        println!("part {}", part.name());
        let clock = Instant::now();
        let mut measured = Report::default();
        let outcome = measure(part, arguments, &mut measured).await;
        for row in &mut measured.rows {
            row.commit.clone_from(&commit);
        }
        well &= measured.all_met();
        keep(measured)?;
        let minutes = clock.elapsed().as_secs_f64() / 60.0;
        match outcome {
            Ok(()) => println!("part {}: done in {minutes:.1} min", part.name()),
            Err(error) => {
                eprintln!(
                    "part {}: FAILED after {minutes:.1} min: {error:#}",
                    part.name()
                );
                failed.push(part.name());
            }
        }
    }
    println!();
    let table = Report::read(TABLE)?;
    table.print_since(begun);
    println!("written to {}", table.write(TABLE)?.display());
    if !failed.is_empty() {
        bail!(
            "parts that did not come to their end: {}; what went wrong stands above, beginning with `part NAME: FAILED`",
            failed.join(", ")
        );
    }
    Ok(well)
}

async fn measure(part: Part, arguments: &Arguments, report: &mut Report) -> Result<()> {
    match part {
        Part::Kills => kills::measure(report, arguments.kills, KILLS).await,
        Part::Moves => moves::measure(report).await,
        Part::Quiet => quiet::measure(report, arguments.minutes, MINUTES, 0).await,
        Part::Busy => quiet::measure(report, arguments.minutes, MINUTES, quiet::BUSY_THREADS).await,
        Part::Writes => writes::measure(report).await,
        Part::Cost => cost::measure(report).await,
        Part::Demo => checkout::demo(report).await,
        Part::Ci => checkout::ci(report).await,
    }
}

/// Puts new rows into the file.
fn keep(measured: Report) -> Result<()> {
    let mut table = Report::read(TABLE)?;
    for row in table.merge(measured) {
        println!(
            "  {}: {:.3} {} in this shortened run; the row of a whole run stays in the table",
            row.case, row.value, row.unit
        );
    }
    table.write(TABLE).map(drop)
}

/// What is measured; empty outside a repository.
async fn commit() -> String {
    let output = Command::new("git")
        .args(["describe", "--always", "--dirty"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    match output.await {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        }
        _ => String::new(),
    }
}

/// "45 s" or "6 min".
fn duration(seconds: f64) -> String {
    if seconds < 99.5 {
        format!("{seconds:.0} s")
    } else {
        format!("{:.0} min", seconds / 60.0)
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
        Line::parse_from(words).arguments.parts()
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
