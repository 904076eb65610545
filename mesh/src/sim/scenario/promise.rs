//! What a scenario promises, looked at when the run is over.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use super::run::Outcome;
use crate::sim::{NodeId, Simulation};

/// Something that must hold. The *faulty* are those that a fault befell, operator and clocks apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// `all agree within TIME`: every other member finds exactly the faulty failed, or has a map without
    /// them, so long after the first fault.
    AllAgree(Duration),
    /// `exactly faulty removed within TIME`: maps remove each of them once, and nobody else.
    ExactlyFaultyRemoved(Duration),
    /// `exactly crashed removed within TIME`: maps remove each that crashes for good once, so long after its own crash, and
    /// nobody else, hostile members included.
    ExactlyCrashedRemoved(Duration),
    /// `only faulty removed`.
    OnlyFaultyRemoved,
    /// `nobody removed`.
    NobodyRemoved,
    /// `changes at-most N`: maps after the first.
    ChangesAtMost(usize),
    /// `traffic below N bytes-a-second`: mean of the run, of the member that sends most.
    TrafficBelow(u64),
    /// `everybody member within TIME` of the beginning of time, and still so at the end.
    EverybodyMember(Duration),
    /// `settled at end`: the same map and no report everywhere.
    SettledAtEnd,
}

impl Promise {
    /// Whether it was kept.
    ///
    /// # Errors
    /// Says what was seen instead.
    pub fn check(&self, simulation: &Simulation, outcome: &Outcome) -> Result<(), String> {
        match *self {
            Self::AllAgree(limit) => {
                let missing = outcome.survivors - outcome.agreed_after.len();
                let slowest = outcome.agreed_after.last().copied().unwrap_or_default();
                expect(missing == 0 && slowest <= limit, || {
                    format!("{missing} never agreed; the slowest after {slowest:?}")
                })
            }
            Self::ExactlyFaultyRemoved(limit) => {
                let mut times: BTreeMap<NodeId, usize> = BTreeMap::new();
                for (node, _) in &outcome.removals {
                    *times.entry(*node).or_default() += 1;
                }
                let removed: BTreeSet<NodeId> = times.keys().copied().collect();
                let once = times.values().all(|times| *times == 1);
                let last = outcome
                    .removals
                    .last()
                    .map_or(Duration::ZERO, |(_, after)| *after);
                expect(removed == outcome.faulty && once && last <= limit, || {
                    let missing = outcome.faulty.difference(&removed).count();
                    let others = removed.difference(&outcome.faulty).count();
                    format!(
                        "{missing} faulty not removed, {others} others removed, the last after {last:?}"
                    )
                })
            }
            Self::ExactlyCrashedRemoved(limit) => exactly_crashed(outcome, limit),
            Self::OnlyFaultyRemoved => {
                let others = outcome.healthy_removed;
                expect(others == 0, || format!("{others} others were removed"))
            }
            Self::NobodyRemoved => {
                let removed = outcome.removals.len();
                expect(removed == 0, || format!("{removed} were removed"))
            }
            Self::ChangesAtMost(most) => {
                let changes = simulation.map_changes().len();
                expect(changes <= most, || format!("{changes} changes"))
            }
            Self::TrafficBelow(limit) => {
                let most = outcome.traffic_most;
                expect(most <= limit, || format!("{most} bytes a second"))
            }
            Self::EverybodyMember(limit) => {
                let last = outcome.everybody_member_after;
                expect(last.is_some_and(|last| last <= limit), || match last {
                    Some(last) => format!("the last after {last:?}"),
                    None => "not all at the end".to_owned(),
                })
            }
            Self::SettledAtEnd => {
                let took = simulation.invariants().views.took();
                expect(took.is_some(), || "views differ at the end".to_owned())
            }
        }
    }
}

fn exactly_crashed(outcome: &Outcome, limit: Duration) -> Result<(), String> {
    let mut left = outcome.crashed.clone();
    for (node, after) in &outcome.removals {
        let Some(crash) = left.remove(node) else {
            return Err(format!("{node} was removed"));
        };
        let took = after.checked_sub(crash);
        expect(took.is_some_and(|took| took <= limit), || {
            format!("{node} crashed after {crash:?} and was removed after {after:?}")
        })?;
    }
    expect(left.is_empty(), || format!("not removed: {left:?}"))
}

fn expect(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AllAgree(limit) => write!(f, "all agree within {limit:?}"),
            Self::ExactlyFaultyRemoved(limit) => {
                write!(f, "exactly faulty removed within {limit:?}")
            }
            Self::ExactlyCrashedRemoved(limit) => {
                write!(f, "exactly crashed removed within {limit:?}")
            }
            Self::OnlyFaultyRemoved => f.write_str("only faulty removed"),
            Self::NobodyRemoved => f.write_str("nobody removed"),
            Self::ChangesAtMost(most) => write!(f, "changes at-most {most}"),
            Self::TrafficBelow(limit) => write!(f, "traffic below {limit} bytes-a-second"),
            Self::EverybodyMember(limit) => write!(f, "everybody member within {limit:?}"),
            Self::SettledAtEnd => f.write_str("settled at end"),
        }
    }
}
