//! P2l: real agents on a network that loses a tenth of all packets, on a machine that has no time for them.
//! Nobody is ill, so nobody may be called failed.
//!
//! ```text
//!   30 agents, each in a namespace ── router, drops 10 % of what it forwards ── stand-in of the operator
//!   settled without loss ─▶ loss and four busy threads ─▶ 10 min ─▶ one SIGSTOP, to see that they watch
//! ```
//!
//! Every packet crosses the router once, whichever way it goes: a beat is lost with 10 %, a probe and its
//! answer with 10 % each ("10 % loss each way"). What goes to and from the operator is lost alike. The rule
//! and all namespaces end with this process.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use tokio::time::Instant;

use super::agents::{self, Agents};
use super::crowd::Crowd;
use super::homes::Homes;
use super::machine;
use super::trials::{self, Fault, Heal, Judge};
use super::{REST, plan, with_run};
use crate::bench::figures::{count, largest};
use crate::bench::load::Load;
use crate::network::{self, Fabric, Form, Forwarded};
use slotmesh_mesh::map::Protocol;
use slotmesh_report::Report;

const AGENTS: u8 = 30;
const LOSS_PERCENT: u8 = 10;
const BUSY_THREADS: usize = 4;
/// Time that the aim is for.
const USUAL_MINUTES: u32 = 10;
/// Share of dropped packets below which, or above which, something else was measured.
const DROPPED_PERCENT: std::ops::RangeInclusive<f64> = 8.0..=12.0;
/// Time between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(30);

/// What was seen in the time under loss.
struct Watched {
    false_verdicts: u32,
    forwarded: Forwarded,
    busy_percent: f64,
}

/// Measures it. This process lives in a network namespace of its own from then on.
///
/// # Errors
/// When no loss can be made here, was not as asked for, or the agents do not settle.
pub(super) async fn measure(report: &mut Report, minutes: Option<u32>) -> Result<()> {
    let minutes = minutes.unwrap_or(USUAL_MINUTES);
    let entered = match network::enter() {
        Form::Namespaces(entered) => entered,
        Form::Loopback(why) => bail!("{why}"),
    };
    network::can_lose()?;
    let fabric = Fabric::create(&entered)?;
    with_run(async |run| {
        let mut crowd = agents::start_at(Homes::apart(&fabric, AGENTS)?, Protocol::default(), run)?;
        // What is said while a crowd forms is no verdict on a healthy member.
        crowd.settle(REST).await?;
        println!("  {AGENTS} agents are members; now {LOSS_PERCENT} % loss and {BUSY_THREADS} busy threads");
        fabric.lose(LOSS_PERCENT)?;
        let _busy = Load::start(BUSY_THREADS)?;
        let watched = watch(&mut crowd, &fabric, minutes).await?;
        add_rows(report, &watched)?;
        if minutes < USUAL_MINUTES {
            report.shorten(&format!("{minutes} minutes instead of {USUAL_MINUTES}"));
        }
        // Nobody would be called failed either if all had stopped watching.
        let plan = plan(Fault::Stop, Heal::Continue, crowd.len(), 1);
        let death = trials::run(&mut crowd, &plan).await?;
        report.plain(
            case("one silent death then"),
            largest(&death.last),
            "s",
        );
        report.note("until the last survivor found it, under the same loss and load: they did watch each other");
        Ok(())
    })
    .await
}

async fn watch(crowd: &mut Crowd<Agents>, fabric: &Fabric, minutes: u32) -> Result<Watched> {
    let length = Duration::from_secs(60) * minutes;
    let mut judge = Judge::of(None);
    let (load, begun) = (machine::Load::now()?, Instant::now());
    let mut told = begun;
    while begun.elapsed() < length {
        judge.hear(&crowd.look().await?);
        crowd.ensure_running(None)?;
        if told.elapsed() >= PROGRESS {
            told = Instant::now();
            let left = length.saturating_sub(begun.elapsed());
            println!(
                "  {:.1} min left, {} false verdicts, {} packets dropped",
                left.as_secs_f64() / 60.0,
                judge.false_verdicts(),
                fabric.forwarded()?.dropped
            );
        }
    }
    judge.hear(&crowd.listen()?);
    Ok(Watched {
        false_verdicts: judge.false_verdicts(),
        forwarded: fabric.forwarded()?,
        busy_percent: load.busy_percent_until(&machine::Load::now()?),
    })
}

fn case(what: &str) -> String {
    format!("P2l {AGENTS} agents, {LOSS_PERCENT} % loss, busy machine: {what}")
}

fn add_rows(report: &mut Report, watched: &Watched) -> Result<()> {
    let dropped = watched.forwarded.dropped_percent();
    ensure!(
        DROPPED_PERCENT.contains(&dropped),
        "iptables dropped {dropped:.1} % of {} packets: not the loss that this row is for",
        watched.forwarded.packets
    );
    let false_verdicts = count(watched.false_verdicts);
    report.at_most(case("false verdicts"), false_verdicts, "", 0.0);
    report.note(
        "pairs of a member and a healthy one that it held for failed, by the agents' own logs; \
         the stand-in of the operator removes nobody",
    );
    report.plain(case("packets dropped"), dropped, "%");
    report.note(format!(
        "{} of {}, as iptables counted them",
        watched.forwarded.dropped, watched.forwarded.packets
    ));
    report.plain(case("both cores busy"), watched.busy_percent, "%");
    report.note(format!("{BUSY_THREADS} busy threads beside the agents"));
    Ok(())
}

#[cfg(test)]
mod tests;
