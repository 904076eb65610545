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

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::evidence::Edge;
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
    let sieve = Sieve::new(graph, reports);
    let found = sieve.peel(map.protocol.verdict_percent);
    let id = |uid: &Uid| map.member(*uid).map(crate::map::Member::id);
    let failed: BTreeSet<MemberId> = found.iter().filter_map(id).collect();
    let degraded = reports
        .edges
        .iter()
        .filter(|(_, subject)| !failed.contains(subject));
    let degraded = degraded.copied().collect();
    if sieve.may_claim(&found) {
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

struct Sieve<'a> {
    graph: &'a Graph,
    /// Member -> who reports it.
    reporters: BTreeMap<Uid, BTreeSet<Uid>>,
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
        Self {
            graph,
            reporters,
            leaving: &reports.leaving,
            operator,
        }
    }

    /// Drops the weak until nobody is, at each share in turn.
    fn peel(&self, percent: u8) -> BTreeSet<Uid> {
        let mut found: BTreeSet<Uid> = self.reporters.keys().copied().collect();
        let mut share = 10.min(percent);
        while share > 0 {
            loop {
                let weakest = self.weakest(&found, usize::from(share));
                if weakest.is_empty() {
                    break;
                }
                found.retain(|uid| !weakest.contains(uid));
            }
            share = if share == percent {
                0
            } else {
                (share + 10).min(percent)
            };
        }
        found
    }

    /// Of the weak members those with the smallest share of reports.
    fn weakest(&self, found: &BTreeSet<Uid>, share: usize) -> BTreeSet<Uid> {
        let mut weakest: BTreeSet<Uid> = BTreeSet::new();
        let mut least: Option<(usize, usize)> = None;
        for uid in found {
            let (reported, observed, all) = self.count(*uid, found);
            let needed = if all <= 2 { 1 } else { 2 };
            if reported * 100 >= share * observed && reported >= needed {
                continue;
            }
            // Shares as fractions: r/o is smaller than s/p when r*p < s*o; 0 where nobody observes.
            let ratio = if observed == 0 {
                (0, 1)
            } else {
                (reported, observed)
            };
            let order = least.map(|least| (ratio.0 * least.1).cmp(&(least.0 * ratio.1)));
            match order {
                Some(std::cmp::Ordering::Greater) => continue,
                Some(std::cmp::Ordering::Equal) => {}
                Some(std::cmp::Ordering::Less) | None => {
                    weakest.clear();
                    least = Some(ratio);
                }
            }
            weakest.insert(*uid);
        }
        weakest
    }

    /// Of a member's observers: how many outside `found` report it, how many there are outside
    /// `found`, and how many the graph gives it at all.
    fn count(&self, uid: Uid, found: &BTreeSet<Uid>) -> (usize, usize, usize) {
        let observers = self.graph.observers(uid);
        let reporters = self.reporters.get(&uid);
        let reports = |observer: &Uid| reporters.is_some_and(|set| set.contains(observer));
        let outside = || {
            observers
                .iter()
                .filter(|o| !found.contains(o) && !self.leaving.contains(o))
        };
        let operator = usize::from(self.operator);
        let operator_reports = usize::from(self.operator && reports(&Uid::NIL));
        (
            outside().filter(|observer| reports(observer)).count() + operator_reports,
            outside().count() + operator,
            observers.len() + operator,
        )
    }

    /// Whether the members outside `found` are enough to say so.
    fn may_claim(&self, found: &BTreeSet<Uid>) -> bool {
        let members = self.graph.len();
        let outside = members.saturating_sub(found.len());
        match (outside * 2).cmp(&members) {
            std::cmp::Ordering::Greater => true,
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Equal if members == 2 => found.iter().all(|uid| {
                self.operator
                    && self
                        .reporters
                        .get(uid)
                        .is_some_and(|set| set.contains(&Uid::NIL))
            }),
            std::cmp::Ordering::Equal => {
                let voters = self.graph.voters();
                let alive = voters.iter().filter(|voter| !found.contains(voter)).count();
                alive * 2 > voters.len()
            }
        }
    }
}

#[cfg(test)]
mod tests;
