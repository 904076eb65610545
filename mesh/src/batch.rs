//! When changes become a map: what happens within a window is one epoch. The operator's rule, and that of
//! the operator that the simulator plays.
//!
//! ```text
//!   change ──▶ open ──── BATCH after the first change ────────────▶ due
//!                │  a join: BATCH after the last join, CROWD at most
//!                │  a death: BATCH after it at the latest
//!                │  more deaths are awaited: when they are found, CROWD at most
//! ```
//!
//! A death is waited for by all of its slots' users; a crowd of agents that start together is better
//! listed once than one by one, because every map costs every member.

use std::time::Duration;

use crate::limits;
use crate::time::Instant;

/// Joins and deaths within that time are one epoch.
pub const BATCH: Duration = Duration::from_millis(300);
/// A window is held open for further joins that long at most.
pub const CROWD: Duration = Duration::from_millis(1500);

/// The window that is open, if one is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Batch(Option<Open>);

#[derive(Clone, Copy, Debug)]
struct Open {
    began: Instant,
    ends: Instant,
    /// It stays open for more deaths.
    held: Option<Instant>,
}

impl Batch {
    /// When the window closes.
    #[must_use]
    pub fn ends(self) -> Option<Instant> {
        self.0
            .map(|open| open.held.map_or(open.ends, |held| held.max(open.ends)))
    }

    /// Something changed.
    pub fn begin(&mut self, now: Instant) {
        self.0.get_or_insert(Open {
            began: now,
            ends: now + BATCH,
            held: None,
        });
    }

    /// One more joined, and nobody waits for anything else.
    pub fn hold_for_joins(&mut self, now: Instant) {
        self.begin(now);
        if let Some(open) = &mut self.0 {
            open.ends = (now + BATCH).min(open.began + CROWD).max(open.ends);
        }
    }

    /// Somebody died: that waits for no crowd.
    pub fn hasten(&mut self, now: Instant) {
        self.begin(now);
        if let Some(open) = &mut self.0 {
            open.ends = open.ends.min(now + BATCH);
        }
    }

    /// Reports of more deaths are coming: those that are known wait for them, in one map.
    pub fn hold_for_deaths(&mut self, now: Instant) {
        if let Some(open) = &mut self.0 {
            open.held = Some((now + limits::REPORTS_PATIENCE).min(open.began + CROWD));
        }
    }

    /// What the evidence comes to was judged: no more deaths are waited for.
    pub fn release(&mut self) {
        if let Some(open) = &mut self.0 {
            open.held = None;
        }
    }

    /// The map is made.
    pub fn close(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests;
