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
use std::collections::BTreeSet;
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
    let id = |(place, _)| {
        graph
            .member(map, graph.at(place)?)
            .map(crate::map::Member::id)
    };
    let failed: BTreeSet<MemberId> = sieve.all_found().filter_map(id).collect();
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

    /// The verdict on the evidence in force.
    pub fn on(
        &mut self,
        now: Instant,
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
            let reports = u32::try_from(reports.edges.len()).unwrap_or(u32::MAX);
            self.rests_until = now + limits::REST_FOR_EACH_REPORT * reports;
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

    /// Drops from a verdict whom it would add to what was told.
    pub fn keep_known(&self, failed: &mut BTreeSet<MemberId>) {
        failed.retain(|id| self.failed.contains(id));
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
#[derive(Clone, Copy, Default)]
struct Suspected {
    /// Which of its observers report it: a bit for each, as the graph numbers them.
    reporters: u32,
    by_operator: bool,
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

/// Members by their places in the graph.
struct Sieve<'a> {
    graph: &'a Graph,
    /// F: who is reported and not yet peeled off.
    found: Vec<Option<Suspected>>,
    leaving: Vec<bool>,
    operator: bool,
}

impl<'a> Sieve<'a> {
    fn new(graph: &'a Graph, reports: &Reports) -> Self {
        let operator = reports.operator && graph.operator_may_observe();
        let places = graph.places();
        let mut leaving = vec![false; places];
        for uid in &reports.leaving {
            set(&mut leaving, graph.place(*uid), true);
        }
        let mut sieve = Self {
            graph,
            found: (0..places).map(|_| None).collect(),
            leaving,
            operator,
        };
        for (observer, subject) in &reports.edges {
            sieve.take_in(*observer, *subject);
        }
        sieve.count_observers();
        sieve
    }

    /// A report, if there is such an edge and its subject stays.
    fn take_in(&mut self, observer: MemberId, subject: MemberId) {
        let Some(place) = self.graph.place(subject.uid) else {
            return;
        };
        let by_operator = observer == MemberId::OPERATOR;
        let reporter = self.graph.observers(subject.uid);
        let reporter = reporter.iter().position(|uid| *uid == observer.uid);
        let edge_exists = if by_operator {
            // A listed member that is failed already takes no part: nobody reports it.
            self.operator && self.graph.operator_observes(subject.uid)
        } else {
            reporter.is_some()
        };
        if !edge_exists || self.is_leaving(place) {
            return;
        }
        if let Some(found) = self.found.get_mut(place) {
            let suspected = found.get_or_insert_default();
            suspected.by_operator |= by_operator;
            suspected.reporters |= reporter.map_or(0, bit);
        }
    }

    /// When all reports are in: those outside F count.
    fn count_observers(&mut self) {
        let outside: Vec<bool> = (0..self.found.len())
            .map(|place| !self.is_found(place) && !self.is_leaving(place))
            .collect();
        let outside = |place: &usize| outside.get(*place) == Some(&true);
        for (place, suspected) in (0..).zip(&mut self.found) {
            let Some(suspected) = suspected else { continue };
            let observers = self.graph.observers_at(place);
            let operator = usize::from(self.operator);
            suspected.reported = usize::from(self.operator && suspected.by_operator);
            suspected.observed = operator;
            for (number, _) in (0..).zip(observers).filter(|(_, at)| outside(at)) {
                suspected.observed += 1;
                suspected.reported += usize::from(suspected.reporters & bit(number) != 0);
            }
            suspected.all = observers.len() + operator;
        }
    }

    fn is_found(&self, place: usize) -> bool {
        self.found.get(place).is_some_and(Option::is_some)
    }

    fn is_leaving(&self, place: usize) -> bool {
        self.leaving.get(place) == Some(&true)
    }

    /// Who is in F, by place.
    fn all_found(&self) -> impl Iterator<Item = (usize, &Suspected)> {
        let places = (0..).zip(&self.found);
        places.filter_map(|(place, found)| Some((place, found.as_ref()?)))
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
                for place in weakest {
                    self.drop_from_found(place);
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
    fn weakest(&self, share: usize) -> Vec<usize> {
        let mut weakest: Vec<usize> = Vec::new();
        let mut least: Option<&Suspected> = None;
        let weak = self.all_found().filter(|(_, it)| it.is_weak(share));
        for (place, suspected) in weak {
            match least.map(|least| suspected.cmp_share(least)) {
                Some(Ordering::Greater) => continue,
                Some(Ordering::Equal) => {}
                Some(Ordering::Less) | None => {
                    weakest.clear();
                    least = Some(suspected);
                }
            }
            weakest.push(place);
        }
        weakest
    }

    /// Whoever is peeled off counts as an observer again.
    fn drop_from_found(&mut self, place: usize) {
        let dropped = self.found.get_mut(place).and_then(Option::take);
        if dropped.is_none() || self.is_leaving(place) {
            return;
        }
        for at in self.graph.subjects_at(place) {
            let mut observers = self.graph.observers_at(*at).iter();
            let number = observers.position(|observer| *observer == place);
            if let (Some(Some(subject)), Some(number)) = (self.found.get_mut(*at), number) {
                subject.observed += 1;
                subject.reported += usize::from(subject.reporters & bit(number) != 0);
            }
        }
    }

    /// Whether the members outside F are enough to say so.
    fn may_claim(&self) -> bool {
        let members = self.graph.len();
        let outside = members.saturating_sub(self.all_found().count());
        match (outside * 2).cmp(&members) {
            Ordering::Greater => true,
            Ordering::Less => false,
            Ordering::Equal if members == 2 => self
                .all_found()
                .all(|(_, it)| self.operator && it.by_operator),
            Ordering::Equal => {
                let voters = self.graph.voters();
                let living = |voter: &&Uid| {
                    let place = self.graph.place(**voter);
                    !place.is_some_and(|place| self.is_found(place))
                };
                let alive = voters.iter().filter(living).count();
                alive * 2 > voters.len()
            }
        }
    }
}

/// Observers are [`limits::OBSERVERS_MAX`] at most.
fn bit(observer: usize) -> u32 {
    u32::try_from(observer).map_or(0, |number| 1_u32.checked_shl(number).unwrap_or(0))
}

const _: () = assert!(limits::OBSERVERS_MAX as u32 <= u32::BITS);

fn set<T>(all: &mut [T], place: Option<usize>, value: T) {
    if let Some(target) = place.and_then(|place| all.get_mut(place)) {
        *target = value;
    }
}

#[cfg(test)]
mod tests;
