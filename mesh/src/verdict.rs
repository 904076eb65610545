//! The verdict: which members have failed, given who reports whom.
//!
//! A pure function of the graph and the reports in force: whoever holds the same evidence at the same
//! epoch comes to the same verdict, the operator included.
//!
//! ```text
//!   reported members F ── peel off, at 10 %, 20 % ... 70 %: whoever too few of its
//!        │                observers outside F report, weakest first, all that tie at once
//!        ▼
//!   F is the verdict, if the members outside F are a majority (or half, with the voters)
//! ```

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::evidence::{Edge, EvidenceStore};
use crate::graph::Graph;
use crate::identity::{Epoch, MemberId, Uid};
use crate::limits;
use crate::machine::Event;
use crate::map::Map;
use crate::time::Instant;

/// Which members have failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The failed, if the rest may claim it.
    pub failed: BTreeSet<MemberId>,
    /// Reports that did not make a verdict: links that do not work, (observer, subject).
    pub degraded: Vec<Edge>,
    /// Members found failed that the rest is too few to claim.
    pub unclaimed: BTreeSet<MemberId>,
}

/// What a verdict is made of.
#[derive(Clone, Debug, Default)]
pub struct Reports {
    /// Edges whose newest statement is a report.
    pub edges: Vec<Edge>,
    /// Members that are leaving: they observe nobody any more.
    pub leaving: BTreeSet<Uid>,
    /// Whether the operator observes too: a cell of up to three whose members hear it.
    pub operator: bool,
}

/// The verdict on a cell.
#[must_use]
pub fn verdict(map: &Map, graph: &Graph, reports: &Reports) -> Verdict {
    let mut sieve = Sieve::new(graph, reports);
    sieve.peel(map.protocol.verdict_percent);
    let id = |uid: &Uid| map.member(*uid).map(crate::map::Member::id);
    let failed: BTreeSet<MemberId> = sieve.found.keys().filter_map(id).collect();
    let degraded = reports
        .edges
        .iter()
        .filter(|(_, subject)| !failed.contains(subject));
    let degraded = degraded.copied().collect();
    if sieve.may_claim() {
        Verdict {
            failed,
            degraded,
            unclaimed: BTreeSet::new(),
        }
    } else {
        Verdict {
            failed: BTreeSet::new(),
            degraded,
            unclaimed: failed,
        }
    }
}

/// The verdict on all that a judge holds, made anew only when that has changed: a storm of inputs must not
/// cost a verdict each.
#[derive(Clone, Debug, Default)]
pub struct Judged {
    grounds: Option<Grounds>,
    verdict: Verdict,
}

/// Revision of the evidence, version of the map, whether the operator observes.
type Grounds = (u64, (u32, Epoch), bool);

impl Judged {
    /// Whether the next verdict would be made on other grounds than the last.
    #[must_use]
    pub fn is_outdated(&self, map: &Map, evidence: &EvidenceStore, operator: bool) -> bool {
        self.grounds != Some((evidence.revision(), map.version(), operator))
    }

    /// The verdict on the evidence in force.
    pub fn on(
        &mut self,
        map: &Map,
        graph: &Graph,
        evidence: &EvidenceStore,
        operator: bool,
    ) -> &Verdict {
        if self.is_outdated(map, evidence, operator) {
            let reports = Reports {
                edges: evidence.reports().collect(),
                leaving: evidence.leaving().map(|id| id.uid).collect(),
                operator,
            };
            self.verdict = verdict(map, graph, &reports);
            self.grounds = Some((evidence.revision(), map.version(), operator));
        }
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
    /// Holds a verdict back while caution lasts. (In a cell of two nobody can claim anything before the
    /// operator's report is there: that is no reason.)
    pub fn restrain(&mut self, now: Instant, map: &Map, verdict: &mut Verdict) {
        if !verdict.unclaimed.is_empty() && map.active().count() > 2 {
            let interval = Duration::from_millis(map.protocol.heartbeat_interval_ms.into());
            self.until = Some(now + interval * limits::CAUTION_BEATS);
        } else if self.until.is_some_and(|until| now < until) {
            verdict.unclaimed = std::mem::take(&mut verdict.failed);
        }
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

    /// A new map: nothing was said about its members yet.
    pub fn clear(&mut self) {
        self.failed.clear();
    }

    /// Whether nobody is announced as failed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.failed.is_empty()
    }
}

/// A reported member, as long as it is in F.
struct Suspected {
    reporters: BTreeSet<Uid>,
    /// Of its observers outside F: how many report it, and how many there are.
    reported: usize,
    observed: usize,
    /// How many observers the graph gives it at all.
    all: usize,
}

impl Suspected {
    fn is_weak(&self, share: usize) -> bool {
        let needed = if self.all <= 2 { 1 } else { 2 };
        self.reported * 100 < share * self.observed || self.reported < needed
    }

    /// Shares as fractions: r/o is smaller than s/p when r*p < s*o; 0 where nobody observes.
    fn cmp_share(&self, other: &Self) -> Ordering {
        let fraction = |it: &Self| match it.observed {
            0 => (0, 1),
            observed => (it.reported, observed),
        };
        let (one, other) = (fraction(self), fraction(other));
        (one.0 * other.1).cmp(&(other.0 * one.1))
    }
}

struct Sieve<'a> {
    graph: &'a Graph,
    /// F: who is reported and not yet peeled off.
    found: BTreeMap<Uid, Suspected>,
    leaving: &'a BTreeSet<Uid>,
    operator: bool,
}

impl<'a> Sieve<'a> {
    fn new(graph: &'a Graph, reports: &'a Reports) -> Self {
        let operator = reports.operator && graph.operator_may_observe();
        let mut reporters: BTreeMap<Uid, BTreeSet<Uid>> = BTreeMap::new();
        for (observer, subject) in &reports.edges {
            let exists = if *observer == MemberId::OPERATOR {
                // A listed member that is failed already takes no part: nobody reports it.
                operator && graph.operator_observes(subject.uid)
            } else {
                graph.observes(observer.uid, subject.uid)
            };
            if exists && !reports.leaving.contains(&subject.uid) {
                reporters
                    .entry(subject.uid)
                    .or_default()
                    .insert(observer.uid);
            }
        }
        let outside = |uid: &Uid| !reporters.contains_key(uid) && !reports.leaving.contains(uid);
        let suspected = |subject: &Uid, by: &BTreeSet<Uid>| {
            let observers = graph.observers(*subject);
            let outside = || observers.iter().filter(|observer| outside(observer));
            Suspected {
                reporters: by.clone(),
                reported: outside().filter(|observer| by.contains(observer)).count()
                    + usize::from(operator && by.contains(&Uid::NIL)),
                observed: outside().count() + usize::from(operator),
                all: observers.len() + usize::from(operator),
            }
        };
        let found = reporters
            .iter()
            .map(|(subject, by)| (*subject, suspected(subject, by)))
            .collect();
        Self {
            graph,
            found,
            leaving: &reports.leaving,
            operator,
        }
    }

    /// Drops the weak until nobody is, at each share in turn.
    fn peel(&mut self, percent: u8) {
        let mut share = 10.min(percent);
        while share > 0 {
            loop {
                let weakest = self.weakest(usize::from(share));
                if weakest.is_empty() {
                    break;
                }
                for uid in weakest {
                    self.drop_from_found(uid);
                }
            }
            share = if share == percent {
                0
            } else {
                (share + 10).min(percent)
            };
        }
    }

    /// Of the weak members those with the smallest share of reports.
    fn weakest(&self, share: usize) -> Vec<Uid> {
        let mut weakest: Vec<Uid> = Vec::new();
        let mut least: Option<&Suspected> = None;
        let weak = self.found.iter().filter(|(_, it)| it.is_weak(share));
        for (uid, suspected) in weak {
            match least.map(|least| suspected.cmp_share(least)) {
                Some(Ordering::Greater) => continue,
                Some(Ordering::Equal) => {}
                Some(Ordering::Less) | None => {
                    weakest.clear();
                    least = Some(suspected);
                }
            }
            weakest.push(*uid);
        }
        weakest
    }

    /// Whoever is peeled off counts as an observer again.
    fn drop_from_found(&mut self, uid: Uid) {
        if self.found.remove(&uid).is_none() || self.leaving.contains(&uid) {
            return;
        }
        for subject in self.graph.subjects(uid) {
            if let Some(subject) = self.found.get_mut(subject) {
                subject.observed += 1;
                subject.reported += usize::from(subject.reporters.contains(&uid));
            }
        }
    }

    /// Whether the members outside F are enough to say so.
    fn may_claim(&self) -> bool {
        let members = self.graph.len();
        let outside = members.saturating_sub(self.found.len());
        match (outside * 2).cmp(&members) {
            Ordering::Greater => true,
            Ordering::Less => false,
            Ordering::Equal if members == 2 => self
                .found
                .values()
                .all(|it| self.operator && it.reporters.contains(&Uid::NIL)),
            Ordering::Equal => {
                let voters = self.graph.voters();
                let living = |voter: &&Uid| !self.found.contains_key(*voter);
                let alive = voters.iter().filter(living).count();
                alive * 2 > voters.len()
            }
        }
    }
}

#[cfg(test)]
mod tests;
