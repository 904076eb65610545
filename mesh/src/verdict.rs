//! The verdict: which members have failed, given who reports whom.
//!
//! A pure function of the graph and the reports in force: whoever holds the same evidence at the same
//! epoch comes to the same verdict, the operator included.
//!
//! How F, the members that anybody reports, is peeled: [`sieve`]. What remains is the verdict, if enough are left to claim it.

mod sieve;
mod steps;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::evidence::{Edge, EvidenceStore, Tally};
use crate::graph::Graph;
use crate::identity::{Epoch, MemberId};
use crate::limits;
use crate::machine::Event;
use crate::map::Map;
use crate::time::Instant;

use sieve::{Claim, Sieve};

pub use steps::{Step, Steps};

/// Which members have failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The failed, if the rest may claim it.
    pub failed: BTreeSet<MemberId>,
    /// Reports that did not make a verdict: links that do not work, (observer, subject).
    pub degraded: Vec<Edge>,
    /// Members found failed that the rest is too few to claim.
    pub unclaimed: BTreeSet<MemberId>,
    /// Steps of the rule that decided something.
    pub steps: Steps,
}

impl Verdict {
    /// Claims nothing of it, out of caution.
    pub fn restrain(&mut self) {
        if !self.failed.is_empty() {
            self.steps.note(Step::Caution);
        }
        self.withhold();
    }

    /// Claims nothing of it.
    pub fn withhold(&mut self) {
        self.unclaimed = std::mem::take(&mut self.failed);
    }
}

/// What a verdict is made of, for those who hold no statements.
#[derive(Clone, Debug, Default)]
pub struct Reports {
    /// Edges whose newest statement is a report.
    pub edges: Vec<Edge>,
    /// Members that are leaving: they observe nobody any more.
    pub leaving: BTreeSet<MemberId>,
    /// Whether the operator observes too: a cell of up to three whose members hear it.
    pub operator: bool,
}

impl Reports {
    /// The same by places; edges that are not the graph's are left out.
    fn tally(&self, graph: &Graph) -> Tally {
        let mut said: BTreeMap<MemberId, Vec<usize>> = BTreeMap::new();
        for (observer, subject) in &self.edges {
            let subjects = said.entry(*observer).or_default();
            subjects.extend(graph.place(subject.uid));
        }
        for member in &self.leaving {
            said.entry(*member).or_default();
        }
        let mut tally = Tally::of(graph);
        for (signer, subjects) in said {
            tally.set(graph, signer, &subjects, self.leaving.contains(&signer));
        }
        tally
    }
}

/// The verdict on a cell.
#[must_use]
pub fn verdict(map: &Map, graph: &Graph, reports: &Reports) -> Verdict {
    on_tally(map, graph, &reports.tally(graph), reports.operator)
}

/// The verdict on what is reported, and whether the operator observes too.
fn on_tally(map: &Map, graph: &Graph, tally: &Tally, operator: bool) -> Verdict {
    let mut sieve = Sieve::new(graph, tally, operator);
    sieve.peel(map.protocol.verdict_percent);
    let failed: BTreeSet<MemberId> = sieve.failed().filter_map(|at| graph.at(at)).collect();
    let degraded = tally.edges(graph, |place| !sieve.has_failed(place));
    let claim = sieve.claim();
    let steps = sieve.steps_with(claim);
    let (failed, unclaimed) = match claim {
        Claim::Stands => (failed, BTreeSet::new()),
        Claim::NotYet => Default::default(),
        Claim::TooFew => (BTreeSet::new(), failed),
    };
    Verdict {
        failed,
        degraded,
        unclaimed,
        steps,
    }
}

/// The verdict on all that a judge holds, made anew only when that has changed, and then not at once if the last
/// one cost much: a storm of inputs must not cost a verdict each.
#[derive(Clone, Debug, Default)]
pub struct Judged {
    grounds: Option<Grounds>,
    verdict: Verdict,
    rests_until: Instant,
    /// Somebody wanted to judge meanwhile.
    wanted: bool,
}

/// Revision of the evidence, version of the map, whether the operator observes.
type Grounds = (u64, (u32, Epoch), bool);

impl Judged {
    /// Whether the next verdict would be made on other grounds than the last.
    #[must_use]
    pub fn is_outdated(&self, map: &Map, evidence: &EvidenceStore, operator: bool) -> bool {
        self.grounds != Some((evidence.revision(), map.version(), operator))
    }

    /// Whether it is too soon after a verdict on many reports; then there is a deadline.
    pub fn rests(&mut self, now: Instant) -> bool {
        self.wanted = now < self.rests_until;
        self.wanted
    }

    /// When to judge again, if somebody wanted to before.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.wanted.then_some(self.rests_until)
    }

    /// Comes to the verdict on the evidence in force; returns whether it is another one than the last.
    pub fn on(
        &mut self,
        now: Instant,
        map: &Map,
        graph: &Graph,
        evidence: &EvidenceStore,
        operator: bool,
    ) -> bool {
        if !self.is_outdated(map, evidence, operator) {
            return false;
        }
        self.verdict = on_tally(map, graph, evidence.tally(), operator);
        let reports = u32::try_from(evidence.tally().reports()).unwrap_or(u32::MAX);
        self.rests_until = now + limits::REST_FOR_EACH_REPORT * reports;
        self.grounds = Some((evidence.revision(), map.version(), operator));
        true
    }

    /// The last verdict.
    #[must_use]
    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }
}

/// Keeps a judge from claiming, after a time in which too few were left to claim anything, what is only
/// a remainder: when a cut heals, reports are cleared one after the other, and the last of them would make
/// a verdict on members that are heard again.
#[derive(Clone, Copy, Debug, Default)]
pub struct Caution {
    until: Option<Instant>,
}

impl Caution {
    /// Whether a verdict is to be withheld: while caution lasts. (In a cell of two nobody can claim anything before the
    /// operator's report is there: that is no reason.)
    #[must_use]
    pub fn withholds(&mut self, now: Instant, map: &Map, verdict: &Verdict) -> bool {
        if !verdict.unclaimed.is_empty() && map.active().nth(2).is_some() {
            let interval = Duration::from_millis(map.protocol.heartbeat_interval_ms.into());
            self.until = Some(now + interval * limits::CAUTION_BEATS);
        } else if self.until.is_some_and(|until| now < until) {
            return true;
        }
        false
    }
}

/// What a judge last told of its verdicts, so that it tells each change once.
#[derive(Clone, Debug, Default)]
pub struct Announced {
    failed: BTreeSet<MemberId>,
}

impl Announced {
    /// The event to tell, if the verdict changed.
    pub fn update(&mut self, epoch: Epoch, failed: &BTreeSet<MemberId>) -> Option<Event> {
        if self.failed == *failed {
            return None;
        }
        self.failed.clone_from(failed);
        if failed.is_empty() {
            return Some(Event::VerdictWithdrawn { epoch });
        }
        let failed = failed.iter().copied().collect();
        Some(Event::Verdict { epoch, failed })
    }

    /// Drops from a verdict whom it would add to what was told.
    pub fn keep_known(&self, failed: &mut BTreeSet<MemberId>) {
        failed.retain(|id| self.failed.contains(id));
    }

    /// A new map: nothing was said about its members yet.
    pub fn clear(&mut self) {
        self.failed.clear();
    }

    /// Who is announced as failed.
    #[must_use]
    pub fn failed(&self) -> &BTreeSet<MemberId> {
        &self.failed
    }

    /// Whether nobody is announced as failed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.failed.is_empty()
    }
}

#[cfg(test)]
mod tests;
