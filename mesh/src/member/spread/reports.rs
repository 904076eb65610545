//! What a member tells whoever handed it a map: that it applied it, and what those told to whom it handed
//! the map on ([`crate::convergence`]).
//!
//! Counts wait for a moment, so that many become one message. The last few maps are remembered, the oldest is
//! told early when there are more. Where the connection to whom to tell is gone, the counts are lost,
//! and counted as such: the figure then stays incomplete until the next map.

use std::collections::VecDeque;
use std::time::Duration;

use crate::convergence::Counts;
use crate::identity::Epoch;
use crate::limits;
use crate::machine::ConnectionId;
use crate::time::Instant;
use crate::wire::Frame;

use super::super::Mesh;

#[derive(Clone, Copy, Debug)]
struct Report {
    version: (u32, Epoch),
    to: ConnectionId,
    counts: Counts,
    due: Option<Instant>,
}

#[derive(Debug, Default)]
pub(crate) struct Reports {
    /// The newest first.
    reports: VecDeque<Report>,
    /// Age of the map in force when it was applied, and when that was.
    age: Option<(Duration, Instant)>,
}

impl Reports {
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.reports.iter().filter_map(|report| report.due).min()
    }

    /// How old the map in force is; zero where nobody told.
    pub(crate) fn age(&self, now: Instant) -> Duration {
        self.age
            .map_or(Duration::ZERO, |(age, at)| age + now.saturating_since(at))
    }

    /// Maps of another cell follow.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    fn take_due(&mut self, now: Instant) -> Option<Report> {
        let due = |report: &&mut Report| report.due.is_some_and(|due| due <= now);
        let report = self.reports.iter_mut().find(due)?;
        let taken = *report;
        report.due = None;
        report.counts = Counts::default();
        Some(taken)
    }
}

impl Mesh {
    /// A map of that age was applied.
    pub(super) fn report_applied(&mut self, now: Instant, from: ConnectionId, age: Duration) {
        self.reports.age = Some((age, now));
        let version = self.map().version();
        let report = Report {
            version,
            to: from,
            counts: Counts::one(age),
            due: Some(now + limits::CONVERGENCE_PAUSE),
        };
        self.reports.reports.push_front(report);
        if self.reports.reports.len() > limits::OLDER_MAPS_MAX
            && let Some(oldest) = self.reports.reports.pop_back()
        {
            self.tell(oldest);
        }
    }

    /// Those to whom a map was handed on told who applied it.
    pub(super) fn on_applied(&mut self, now: Instant, version: (u32, Epoch), counts: Counts) {
        if counts.total() > self.map().members.len() {
            return self.refuse("AppliedBeyondMembers");
        }
        let mut reports = self.reports.reports.iter_mut();
        let Some(report) = reports.find(|report| report.version == version) else {
            return self.counters.refuse("AppliedUnknownMap");
        };
        report.counts.add(&counts);
        report.due = report.due.or(Some(now + limits::CONVERGENCE_PAUSE));
    }

    pub(super) fn tell_reports(&mut self, now: Instant) {
        while let Some(report) = self.reports.take_due(now) {
            self.tell(report);
        }
    }

    fn tell(&mut self, report: Report) {
        if report.counts.is_empty() {
            return;
        }
        if self.peers.get(report.to).is_none() {
            return self.counters.refuse("AppliedUntold");
        }
        let (era, epoch) = report.version;
        let counts = report.counts;
        self.send(report.to, &Frame::Applied { era, epoch, counts });
    }
}
