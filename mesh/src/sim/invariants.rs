//! What must hold in every run, one rule a file.

mod epochs_never_decrease;
mod no_healthy_removed;
mod no_map_conflict;
mod queues_within_limits;
mod views_converge;

pub use epochs_never_decrease::EpochsNeverDecrease;
pub use no_healthy_removed::NoHealthyRemoved;
pub use no_map_conflict::NoMapConflict;
pub use queues_within_limits::QueuesWithinLimits;
pub use views_converge::{View, ViewsConverge};

use crate::time::Instant;

/// A rule that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// When.
    pub at: Instant,
    /// Which rule.
    pub rule: &'static str,
    /// What was seen.
    pub what: String,
}

/// All rules, and where one did not hold.
#[derive(Debug, Default)]
pub struct Invariants {
    /// See there.
    pub epochs: EpochsNeverDecrease,
    /// See there.
    pub healthy: NoHealthyRemoved,
    /// See there.
    pub queues: QueuesWithinLimits,
    /// See there.
    pub views: ViewsConverge,
    violations: Vec<Violation>,
}

impl Invariants {
    /// Where a rule did not hold.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// Keeps what a rule found. Of each rule the first violation is kept: it tells most.
    pub fn keep(&mut self, at: Instant, rule: &'static str, found: Result<(), String>) {
        if let Err(what) = found
            && self.violations.iter().all(|kept| kept.rule != rule)
        {
            self.violations.push(Violation { at, rule, what });
        }
    }
}

#[cfg(test)]
mod tests;
