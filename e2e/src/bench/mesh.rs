//! The table `mesh`: the health mesh beside its peers, live on this machine and without Kubernetes.

mod agents;
mod crowd;
mod homes;
mod lossy;
mod machine;
mod memberlist;
mod operator;
mod ratios;
mod redis;
mod rest;
mod trials;

use std::time::Duration;

use anyhow::Result;
use clap::{Args, ValueEnum};

use super::cost;
use super::table::{self, Chosen, Table};
use crate::run_folder::RunFolder;
use slotmesh_report::Report;
use trials::{Fault, Heal, Plan};

/// Label of the rows of silent deaths.
const SILENT: &str = "P1r";
/// Label of the rows of deaths whose address answers.
const KILLED: &str = "P1k";
/// Rest before a failure: all edges are clear again, and nothing of the last one is under way.
const REST: Duration = Duration::from_secs(3);
/// Time for all to find one failed; memberlist has taken 12 s at 100 members.
const DEADLINE: Duration = Duration::from_secs(120);
/// How long agents are watched at rest.
const AT_REST: Duration = Duration::from_secs(60);
/// Most of a second that the last of 30 may take to learn of a refused port.
const KILL_AIM: f64 = 0.4;

/// Printed below `--help`.
pub(super) const HELP: &str = "\
Parts, and how long they take on 2 cores:
  agents         100 agents, SIGSTOP of one, 20 times                                    about 4 min
  kill           30 agents, kill -9 of one, its address alive, 20 times                  about 4 min
  cost           100 agents at rest                                                      about 2 min
  memberlist     100 memberlists, SIGSTOP of one, 20 times; kill -9, 10 times            about 10 min
  memberlist-30  30 memberlists, 30 times each: what a model of it is calibrated by      about 15 min
  redis          Redis's bus and as many agents, n = 25, 50, 100                         about 25 min
  lossy          30 agents, 10 % of all packets lost, four busy threads, 10 min          about 12 min
  ratios         from the rows of the other parts                                        at once

Agents are the release binary as it is, with full QUIC and mutual TLS; a stand-in of the operator admits
them and publishes one map that stays. Each member of each kind is a process on an address of its own in
127.0.0.0/8, for `lossy` in a network namespace of its own (which needs root or user namespaces, iproute2 and
iptables), and all are timed by the time stamps of their own lines. memberlist is built with this
machine's Go, Redis is the redis-server on PATH or Debian's, fetched once into the cache. Nothing else
should run on the machine meanwhile: rows say how busy it was. They are written to target/report/mesh.json
after each part, with every single figure. A run with fewer trials says so in its rows and claims no aim; so does
one of `lossy` with fewer minutes.

  slotmesh-e2e bench mesh                                  everything
  slotmesh-e2e bench mesh --only agents --trials 3         try one part, quickly
  make bench-mesh ARGS=\"--only redis --only ratios\"        two parts through make";

/// Which parts, and how much of each.
#[derive(Clone, Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    chosen: Chosen<Part>,
    /// Failures of each crowd; fewer than usual claim no aim.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    trials: Option<u32>,
    /// Minutes under loss, for the part `lossy`; fewer than 10 claim no aim.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    minutes: Option<u32>,
}

/// A part of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    Agents,
    Kill,
    Cost,
    Memberlist,
    #[value(name = "memberlist-30")]
    Memberlist30,
    Redis,
    /// After all that needs the machine's own network, which this part leaves.
    Lossy,
    Ratios,
}

impl table::Part for Part {
    fn is_long(self) -> bool {
        false
    }
}

impl Table for Arguments {
    type Part = Part;
    const NAME: &'static str = "mesh";

    fn chosen(&self) -> &Chosen<Part> {
        &self.chosen
    }

    async fn measure(&self, part: Part, report: &mut Report) -> Result<()> {
        match part {
            Part::Agents => self.agents(report).await,
            Part::Kill => self.kill(report).await,
            Part::Cost => at_rest(report).await,
            Part::Memberlist => {
                self.memberlist(report, 100, Fault::Stop, 20).await?;
                self.memberlist(report, 100, Fault::Kill, 10).await
            }
            Part::Memberlist30 => {
                self.memberlist(report, 30, Fault::Stop, 30).await?;
                self.memberlist(report, 30, Fault::Kill, 30).await
            }
            Part::Redis => redis::measure(report, self.trials).await,
            Part::Lossy => lossy::measure(report, self.minutes).await,
            Part::Ratios => ratios::add(report, &Report::read(Self::NAME)?),
        }
    }
}

/// Failures of any member in turn, so many unless told otherwise.
fn plan(fault: Fault, heal: Heal, count: usize, trials: u32) -> Plan {
    Plan {
        fault,
        heal,
        trials,
        victims: 0..count,
        rest: REST,
        deadline: DEADLINE,
    }
}

/// Says so if there were fewer trials than usual.
fn shorten_if(report: &mut Report, trials: u32, usual: u32) {
    if trials < usual {
        report.shorten(&format!("{trials} trials instead of {usual}"));
    }
}

impl Arguments {
    /// P1r, our side.
    async fn agents(&self, report: &mut Report) -> Result<()> {
        let (usual, trials) = (20, self.trials.unwrap_or(20));
        let plan = plan(Fault::Stop, Heal::Continue, 100, trials);
        let outcome = with_run(async |run| {
            let mut crowd = agents::start(100, run)?;
            trials::run(&mut crowd, &plan).await
        })
        .await?;
        outcome.add_to(report, &agents_case(SILENT, 100, "", Fault::Stop), None, "");
        shorten_if(report, trials, usual);
        Ok(())
    }

    /// P1k.
    async fn kill(&self, report: &mut Report) -> Result<()> {
        let (usual, trials) = (20, self.trials.unwrap_or(20));
        let plan = plan(Fault::Kill, Heal::Restart, 30, trials);
        let outcome = with_run(async |run| {
            let mut crowd = agents::start(30, run)?;
            trials::run(&mut crowd, &plan).await
        })
        .await?;
        outcome.add_to(
            report,
            &agents_case(KILLED, 30, "", Fault::Kill),
            Some(KILL_AIM),
            "",
        );
        shorten_if(report, trials, usual);
        Ok(())
    }

    /// P1r, the other side.
    async fn memberlist(
        &self,
        report: &mut Report,
        count: usize,
        fault: Fault,
        usual: u32,
    ) -> Result<()> {
        let trials = self.trials.unwrap_or(usual);
        let plan = plan(fault, Heal::Restart, count, trials);
        let outcome = with_run(async |run| {
            let mut crowd = memberlist::start(count, run).await?;
            trials::run(&mut crowd, &plan).await
        })
        .await?;
        let mut rows = Report::default();
        outcome.add_to(&mut rows, &memberlist_case(count, fault), None, "");
        shorten_if(&mut rows, trials, usual);
        report.rows.extend(rows.rows);
        Ok(())
    }
}

/// Something done in a run folder of its own, whose logs stay when it fails.
async fn with_run<T>(work: impl AsyncFnOnce(&RunFolder) -> Result<T>) -> Result<T> {
    let run = RunFolder::create()?;
    let done = work(&run).await;
    if done.is_err() {
        match run.keep_logs() {
            Ok(kept) => eprintln!("  logs: {}", kept.display()),
            // The failure itself is what matters.
            Err(error) => eprintln!("  {error:#}"),
        }
    }
    done
}

/// P5.
async fn at_rest(report: &mut Report) -> Result<()> {
    let rested = with_run(async |run| {
        let mut crowd = agents::start(100, run)?;
        rest::watch(&mut crowd, AT_REST).await
    })
    .await?;
    let who = "P5 an agent of 100, live";
    cost::add_rows(report, who, &rested.before, &rested.after)?;
    report.plain(
        format!("{who}: both cores busy meanwhile"),
        rested.busy_percent,
        "%",
    );
    Ok(())
}

/// How rows of agents begin; `row` is the label of what they are measured for, `how` what is not as usual with them.
fn agents_case(row: &str, count: usize, how: &str, fault: Fault) -> String {
    format!("{row} {count} agents{how}, {}", words(fault))
}

/// How rows of memberlist begin.
fn memberlist_case(count: usize, fault: Fault) -> String {
    let row = match fault {
        Fault::Stop => SILENT,
        Fault::Kill => KILLED,
    };
    format!("{row} {count} memberlists, {}", words(fault))
}

fn words(fault: Fault) -> &'static str {
    match fault {
        Fault::Stop => "silent death",
        Fault::Kill => "kill -9, port refused",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_begins_with_its_label() {
        for (case, label) in [
            (agents_case("P1v", 25, "", Fault::Stop), "P1v "),
            (memberlist_case(30, Fault::Stop), "P1r "),
            (memberlist_case(30, Fault::Kill), "P1k "),
        ] {
            assert!(case.starts_with(label), "{case}");
        }
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
