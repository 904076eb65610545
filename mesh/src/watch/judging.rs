//! The operator's verdict: evidence comes in, is checked as members check it, and is judged by the same
//! function.

use crate::evidence::{Evidence, Grounds};
use crate::limits;
use crate::machine::{Event, Output};
use crate::time::Instant;

use super::Watch;

/// When many die at once their reports come one after the other. Judged in between, those reported by a few would be
/// peeled off, count as living observers that see nothing wrong, and peel off others: of hundreds of dead a few would be
/// found, and the map without those would put everybody back to the beginning, since it changes who observes whom. So
/// while many are reported that are not found, and reports are still coming, a verdict waits. A few links that do not work
/// hold up nobody's death.
#[derive(Debug, Default)]
pub(super) struct Patience {
    last_report: Instant,
    since: Option<Instant>,
    /// When it has waited long enough, while it waits.
    until: Option<Instant>,
}

impl Patience {
    fn waits(&mut self, now: Instant, found: usize, reported: usize) -> bool {
        self.until = None;
        let missing = reported.saturating_sub(found);
        if missing <= limits::UNFOUND_FEW.max(found / 3) {
            self.since = None;
            return false;
        }
        let since = *self.since.get_or_insert(now);
        let quiet = self.last_report + limits::REPORTS_QUIET;
        let until = quiet.min(since + limits::REPORTS_PATIENCE);
        self.until = (now < until).then_some(until);
        self.until.is_some()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.until
    }
}

impl Watch {
    pub(super) fn on_evidence(&mut self, now: Instant, evidence: Vec<Evidence>) {
        let keys = self.keys();
        for item in evidence {
            let grounds = Grounds {
                map: self.signed.map(),
                graph: &self.graph,
                operator: &keys,
                interner: None,
            };
            let vetted = self.budget.vet(now, &item, &self.evidence, grounds);
            match vetted {
                Ok(true) => {
                    self.take_in(now, item);
                }
                Ok(false) => {}
                Err(error) => self.counters.refuse(error.category()),
            }
        }
        self.judge(now);
    }

    /// A checked statement; returns whether it is news.
    pub(super) fn take_in(&mut self, now: Instant, item: Evidence) -> bool {
        let observer = item.signer;
        let map = self.signed.map();
        let change = match self.evidence.insert(item, map, &self.graph) {
            Ok(Some(change)) => change,
            Ok(None) => return false,
            Err(error) => {
                self.counters.refuse(error.category());
                return false;
            }
        };
        self.counters.evidence_received += 1;
        if !change.reported.is_empty() {
            self.patience.last_report = now;
        }
        self.outputs
            .extend(change.events(observer).map(Output::Event));
        true
    }

    /// When to judge though nothing has come.
    pub(super) fn judges_at(&self) -> Option<Instant> {
        let rest = self.judged.deadline();
        rest.or(self.patience.deadline())
    }

    pub(super) fn judge(&mut self, now: Instant) {
        if self.judged.rests(now) {
            return;
        }
        let operator = self.graph.operator_may_observe();
        let map = self.signed.map();
        let judged = self
            .judged
            .on(now, map, &self.graph, &self.evidence, operator);
        let mut verdict = judged.clone();
        self.caution.restrain(now, map, &mut verdict);
        self.second_look.set(now, &verdict.unclaimed);
        let found = verdict.failed.len() + verdict.unclaimed.len();
        let epoch = self.map().epoch;
        let waited = self.patience.deadline().is_some();
        let waits = self.patience.waits(now, found, self.evidence.reported());
        if waits {
            // Nobody is added meanwhile; whoever is cleared is told at once.
            self.announced.keep_known(&mut verdict.failed);
        }
        let told = self.announced.update(epoch, &verdict.failed);
        // A verdict ends all waiting for it, so it is said again.
        let awaited = waits && (!waited || told.is_some());
        if let Some(event) = told {
            self.counters.verdicts += u64::from(matches!(event, Event::Verdict { .. }));
            self.event(event);
        }
        if awaited {
            self.event(Event::VerdictAwaited { epoch });
        }
    }
}

#[cfg(test)]
mod tests;
