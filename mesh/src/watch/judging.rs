//! The operator's verdict: evidence comes in, is checked as members check it, and is judged by the same
//! function.

use std::time::Duration;

use crate::batch::at_pace;
use crate::evidence::{Evidence, EvidenceError, Grounds};
use crate::identity::Uid;
use crate::limits;
use crate::machine::{CloseReason, Event, Output};
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
    fn waits(&mut self, now: Instant, interval: Duration, found: usize, reported: usize) -> bool {
        self.until = None;
        let missing = reported.saturating_sub(found);
        if missing <= limits::UNFOUND_FEW.max(found / 3) {
            self.since = None;
            return false;
        }
        let since = *self.since.get_or_insert(now);
        let quiet = at_pace(limits::REPORTS_QUIET, interval);
        let patience = at_pace(limits::REPORTS_PATIENCE, interval);
        let until = (self.last_report + quiet).min(since + patience);
        self.until = (now < until).then_some(until);
        self.until.is_some()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.until
    }
}

impl Watch {
    /// Takes in what somebody passes on; returns how many signatures do not hold.
    pub(super) fn on_evidence(&mut self, now: Instant, evidence: Vec<Evidence>) -> u32 {
        let keys = self.keys();
        let mut forged = 0;
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
                Err(error) => {
                    self.counters.refuse(error.category());
                    forged += u32::from(error == EvidenceError::BadSignature);
                    if forged >= limits::FORGED_MAX {
                        break;
                    }
                }
            }
        }
        self.judge(now);
        forged
    }

    /// As a member does: who passes on what does not hold is hung up on.
    pub(super) fn count_forged(&mut self, now: Instant, uid: Uid, forged: u32) {
        let Some(peer) = self.peers.get_mut(&uid) else {
            return;
        };
        peer.forged += forged;
        if peer.forged < limits::FORGED_MAX {
            return;
        }
        let connection = peer.connection;
        self.peers.remove(&uid);
        self.outputs.push_back(Output::Close {
            connection,
            reason: CloseReason::ProtocolError,
        });
        self.wait_before_dial(now, uid);
        self.dial(now);
    }

    /// A checked statement; returns whether it is news.
    pub(super) fn take_in(&mut self, now: Instant, item: Evidence) -> bool {
        let observer = item.signer;
        let change = match self.evidence.insert(item, &self.graph) {
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
        self.judged
            .on(now, map, &self.graph, &self.evidence, operator);
        let mut verdict = self.judged.verdict().clone();
        if self.caution.withholds(now, map, &verdict) {
            verdict.restrain();
        }
        self.second_look.set(now, &verdict.unclaimed);
        let found = verdict.failed.len() + verdict.unclaimed.len();
        let epoch = self.map().epoch;
        let waited = self.patience.deadline().is_some();
        let (interval, reported) = (self.interval(), self.evidence.reported());
        let waits = self.patience.waits(now, interval, found, reported);
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
