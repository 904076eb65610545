//! One failure after another in a crowd, and when each survivor held the victim for failed.
//!
//! ```text
//!   settled, at rest ─▶ SIGSTOP or kill -9 ─▶ every survivor's own verdict ─▶ healed ─▶ settled ...
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use tokio::time::Instant;

use super::crowd::{Crowd, Kind, Line, Said};
use super::machine::Load;
use crate::bench::figures::{count, largest, median, sorted};
use slotmesh_report::Report;

/// Step from one victim to the next: coprime to every crowd here, so that all get their turn.
const STRIDE: usize = 37;

/// How a member falls silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// SIGSTOP: its sockets stay bound and unread.
    Stop,
    /// kill -9, its address alive: its ports refuse.
    Kill,
}

/// How it comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heal {
    /// SIGCONT.
    Continue,
    /// A new process.
    Restart,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) fault: Fault,
    pub(super) heal: Heal,
    pub(super) trials: u32,
    /// Members that may be victims.
    pub(super) victims: Range<usize>,
    /// Time at rest before a trial.
    pub(super) rest: Duration,
    /// Time for all to find a victim failed.
    pub(super) deadline: Duration,
}

/// What came of it. Times in seconds from the fault, one figure a trial.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    pub(super) first: Vec<f64>,
    pub(super) middle: Vec<f64>,
    pub(super) last: Vec<f64>,
    /// Pairs of a member and a healthy one that it held for failed, counted once a trial.
    pub(super) false_verdicts: u32,
    /// Share of both cores that was in use, by whomever, in percent.
    pub(super) busy_percent: f64,
}

/// Who may be called failed at the moment, and who was called so wrongly.
#[derive(Debug)]
pub(super) struct Judge {
    victim: Option<usize>,
    wrong: BTreeSet<(usize, usize)>,
}

impl Judge {
    /// Nobody but the victim, if there is one, may be called failed.
    pub(super) fn of(victim: Option<usize>) -> Self {
        Self {
            victim,
            wrong: BTreeSet::new(),
        }
    }

    pub(super) fn hear(&mut self, heard: &[(usize, Line)]) {
        for (speaker, line) in heard {
            if let Said::Failed(whom) = &line.said {
                let wrong = whom.iter().filter(|subject| Some(**subject) != self.victim);
                self.wrong.extend(wrong.map(|subject| (*speaker, *subject)));
            }
        }
    }

    /// Pairs of a member and a healthy one that it held for failed.
    pub(super) fn false_verdicts(&self) -> u32 {
        u32::try_from(self.wrong.len()).unwrap_or(u32::MAX)
    }
}

/// Does it.
///
/// # Errors
/// When somebody never holds a victim for failed, or a crowd does not settle again.
pub(super) async fn run<K: Kind>(crowd: &mut Crowd<K>, plan: &Plan) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    // What is said while a crowd forms is no verdict on a healthy member.
    crowd.settle(plan.rest).await?;
    let load = Load::now()?;
    for trial in 0..plan.trials {
        let victim = victim(plan, trial)?;
        let mut judge = Judge::of(Some(victim));
        let mut times = one(crowd, plan, victim, &mut judge).await?;
        match plan.heal {
            Heal::Continue => crowd.signal(victim, Signal::SIGCONT)?,
            Heal::Restart => crowd.restart(victim).await?,
        }
        judge.hear(&crowd.settle(plan.rest).await?);
        times = sorted(times);
        let (first, last) = (times.first(), times.last());
        let (first, last) = (first.context("nobody")?, last.context("nobody")?);
        println!(
            "  {} {trial}: first {first:.3} s, last of {} survivors {last:.3} s, {} false verdicts",
            K::NAME,
            times.len(),
            judge.false_verdicts()
        );
        outcome.first.push(*first);
        outcome.middle.push(median(&times));
        outcome.last.push(*last);
        outcome.false_verdicts += judge.false_verdicts();
    }
    outcome.busy_percent = load.busy_percent_until(&Load::now()?);
    Ok(outcome)
}

fn victim(plan: &Plan, trial: u32) -> Result<usize> {
    let step = usize::try_from(trial)? * STRIDE;
    let place = step.checked_rem(plan.victims.len()).context("no victims")?;
    Ok(plan.victims.start + place)
}

/// One fault; when each survivor held the victim for failed.
async fn one<K: Kind>(
    crowd: &mut Crowd<K>,
    plan: &Plan,
    victim: usize,
    judge: &mut Judge,
) -> Result<Vec<f64>> {
    judge.hear(&crowd.listen()?);
    let (at, begun) = (unix_seconds(), Instant::now());
    let signal = match plan.fault {
        Fault::Stop => Signal::SIGSTOP,
        Fault::Kill => Signal::SIGKILL,
    };
    crowd.signal(victim, signal)?;
    let survivors = crowd.len().saturating_sub(1);
    let mut known: BTreeMap<usize, f64> = BTreeMap::new();
    while known.len() < survivors {
        let heard = crowd.look().await?;
        judge.hear(&heard);
        crowd.ensure_running(Some(victim))?;
        for (speaker, line) in heard {
            let names = matches!(&line.said, Said::Failed(whom) if whom.contains(&victim));
            if names && speaker != victim && line.at >= at {
                known.entry(speaker).or_insert(line.at - at);
            }
        }
        if begun.elapsed() > plan.deadline {
            bail!(
                "{} of {survivors} survivors do not hold {} {victim} for failed after {} s",
                survivors - known.len(),
                K::NAME,
                plan.deadline.as_secs()
            );
        }
    }
    Ok(known.into_values().collect())
}

fn unix_seconds() -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().as_secs_f64()
}

impl Outcome {
    /// Its rows: the last survivor with an aim if there is one, the middle and the first one, and false
    /// verdicts.
    pub(super) fn add_to(&self, report: &mut Report, case: &str, aim: Option<f64>, note: &str) {
        let last = sorted(self.last.clone());
        let name = format!("{case}: last survivor, median");
        match aim {
            Some(aim) => report.at_most(name, median(&last), "s", aim),
            None => report.plain(name, median(&last), "s"),
        }
        report.note(format!(
            "{} trials, {:.3} to {:.3} s; both cores {:.0} % busy meanwhile{}{note}",
            last.len(),
            last.first().copied().unwrap_or_default(),
            largest(&last),
            self.busy_percent,
            if note.is_empty() { "" } else { "; " },
        ));
        report.samples(self.last.clone());
        for (what, figures) in [("middle", &self.middle), ("first", &self.first)] {
            let name = format!("{case}: {what} survivor, median");
            report.plain(name, median(&sorted(figures.clone())), "s");
            report.samples(figures.clone());
        }
        report.plain(
            format!("{case}: false verdicts"),
            count(self.false_verdicts),
            "",
        );
        report.note("pairs of a member and a healthy one that it held for failed, over all trials");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn failed(speaker: usize, whom: &[usize]) -> (usize, Line) {
        let said = Said::Failed(whom.to_vec());
        (speaker, Line { at: 1.0, said })
    }

    #[test]
    fn a_healthy_member_that_is_called_failed_counts_once_for_each_speaker() {
        let mut judge = Judge::of(Some(3));
        judge.hear(&[failed(1, &[3]), failed(1, &[3, 4]), failed(1, &[4])]);
        judge.hear(&[failed(2, &[4]), failed(3, &[1])]);
        assert_eq!(judge.false_verdicts(), 3);
        let mut judge = Judge::of(None);
        judge.hear(&[failed(1, &[3])]);
        assert_eq!(judge.false_verdicts(), 1);
    }

    #[test]
    fn every_member_gets_its_turn() {
        for size in [25, 30, 50, 100] {
            let plan = Plan {
                fault: Fault::Stop,
                heal: Heal::Continue,
                trials: size,
                victims: 0..usize::try_from(size).unwrap(),
                rest: Duration::ZERO,
                deadline: Duration::ZERO,
            };
            let victims: BTreeSet<usize> = (0..size)
                .map(|trial| victim(&plan, trial).unwrap())
                .collect();
            assert_eq!(victims.len(), plan.victims.len());
        }
    }
}
