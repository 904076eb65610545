//! When changes become a map: what happens within a window is one epoch. The operator's rule, and that of
//! the operator that the simulator plays.
//!
//! ```text
//!   change ──▶ open ──── BATCH after the first change ────────────▶ due
//!                │  a join: BATCH after the last join, CROWD at most
//!                │  a departure: BATCH after it at the latest; so a verdict, but where beats are slow it ripens longer
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

/// A wait that is made for the usual interval, where beats come at this one: reports of one cut come over as many beats,
/// however slow these are.
#[must_use]
pub fn at_pace(wait: Duration, interval: Duration) -> Duration {
    let milliseconds = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
    let usual = milliseconds(limits::USUAL_INTERVAL);
    wait.saturating_mul(milliseconds(interval).max(usual)) / usual
}

/// The window that is open, if one is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Batch(Option<Open>);

#[derive(Clone, Copy, Debug)]
struct Open {
    began: Instant,
    ends: Instant,
    /// It stays open for more deaths.
    held: Option<Instant>,
    /// It stays open for reports that say otherwise of those who were found failed.
    ripens: Option<Instant>,
}

impl Batch {
    /// When the window closes.
    #[must_use]
    pub fn ends(self) -> Option<Instant> {
        let open = self.0?;
        let longer = open.held.max(open.ripens);
        Some(longer.map_or(open.ends, |longer| longer.max(open.ends)))
    }

    /// Something changed.
    pub fn begin(&mut self, now: Instant) {
        self.0.get_or_insert(Open {
            began: now,
            ends: now + BATCH,
            held: None,
            ripens: None,
        });
    }

    /// One more joined, and nobody waits for anything else.
    pub fn hold_for_joins(&mut self, now: Instant) {
        self.begin(now);
        if let Some(open) = &mut self.0 {
            open.ends = (now + BATCH).min(open.began + CROWD).max(open.ends);
        }
    }

    /// Somebody is gone: that waits for no crowd.
    pub fn hasten(&mut self, now: Instant) {
        self.begin(now);
        if let Some(open) = &mut self.0 {
            open.ends = open.ends.min(now + BATCH);
        }
    }

    /// The mesh finds somebody failed. When a cell is cut the first reports can make a verdict that the next ones end, and
    /// slow beats bring them slowly. That somebody else leaves meanwhile makes no verdict ripe.
    pub fn ripen(&mut self, now: Instant, interval: Duration) {
        self.hasten(now);
        if let Some(open) = &mut self.0
            && interval > limits::USUAL_INTERVAL
        {
            open.ripens.get_or_insert(now + at_pace(BATCH, interval));
        }
    }

    /// Reports of more deaths are coming: those that are known wait for them, in one map.
    pub fn hold_for_deaths(&mut self, now: Instant, interval: Duration) {
        if let Some(open) = &mut self.0 {
            let longest = open.began + at_pace(CROWD, interval);
            let patience = at_pace(limits::REPORTS_PATIENCE, interval);
            open.held = Some((now + patience).min(longest));
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
