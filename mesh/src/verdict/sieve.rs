//! Peeling: which of the members that anybody reports have failed.
//!
//! ```text
//!   F = all who are reported ──▶ drop, at 10 %, 20 % ... 70 %: of whom too small a share of its observers
//!        │                       outside F reports it; weakest first, all that tie at once, then count again
//!        │                       (whoever is dropped is an observer outside F again; above half, the mute count no more)
//!        ├─▶ unclear: fewer than two observers outside F report it. Neither failed nor, up to here, an observer
//!        ▼
//!   F is the verdict, if those outside F, without the unclear and the mute, are a majority (or half, with the voters)
//! ```
//!
//! Two rules are for the death of half a cell, when a few of the dead have one living observer, or none, and a few of the
//! living, whose subjects died, doubt themselves. Taken for observers that see nothing wrong, they have others of the dead
//! dropped, which then see nothing wrong either: of 49 dead of 100 members 4 to 33 were found.
//!
//! * *Unclear*: the rule that one observer's word fails nobody comes last. Dropped at 10 %, such a dead member would
//!   have counted as an observer from then on.
//! * *Mute*: an observer outside F that reports none of [`limits::MUTE_SUBJECTS`] or more of its subjects that are in F does
//!   not count. Only above half: there F is what most observers report, and no few liars can put enough into it to
//!   silence those who contradict them. And only while there are [`limits::WITNESSES_FOR_EACH_MUTE`] that are not mute
//!   for each that is: while reports are still coming many are mute.

use std::cmp::Ordering;

use crate::evidence::Edge;
use crate::graph::Graph;
use crate::identity::MemberId;
use crate::limits;

use super::Reports;

/// Share, in percent, up to which every observer counts.
const HALF: u8 = 50;

/// A reported member, as long as it is in F.
#[derive(Clone, Copy, Default)]
struct Suspected {
    /// Which of its observers report it: a bit for each, as the graph numbers them.
    reporters: u32,
    by_operator: bool,
    /// Whether it reports somebody itself.
    speaks: bool,
    /// Of its observers that count: how many report it, and how many there are.
    reported: usize,
    observed: usize,
    /// How many observers the graph gives it at all.
    all: usize,
}

impl Suspected {
    fn is_weak(&self, share: u8) -> bool {
        let by_few = self.speaks && self.is_unclear();
        by_few || self.reported * 100 < usize::from(share) * self.observed
    }

    /// One observer's word fails nobody; in a cell where nobody has more than two, it has to.
    fn is_unclear(&self) -> bool {
        let needed = if self.all <= 2 { 1 } else { 2 };
        self.reported < needed
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

/// What the members outside F may say of F.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// That it has failed.
    Stands,
    /// Nothing before more of them have spoken.
    NotYet,
    /// Nothing: F may be the majority, and those outside cut off from it.
    TooFew,
}

/// Members by their places in the graph.
pub(super) struct Sieve<'a> {
    graph: &'a Graph,
    /// F: who is reported and not yet dropped.
    found: Vec<Option<Suspected>>,
    leaving: Vec<bool>,
    operator: bool,
    unclear: Vec<bool>,
}

impl<'a> Sieve<'a> {
    pub(super) fn new(graph: &'a Graph, reports: &Reports) -> Self {
        let operator = reports.operator && graph.operator_may_observe();
        let places = graph.places();
        let mut leaving = vec![false; places];
        for uid in &reports.leaving {
            set(&mut leaving, graph.place(*uid));
        }
        let mut sieve = Self {
            graph,
            found: (0..places).map(|_| None).collect(),
            leaving,
            operator,
            unclear: vec![false; places],
        };
        for edge in &reports.edges {
            sieve.take_in(*edge);
        }
        for (observer, _) in &reports.edges {
            let place = graph.place(observer.uid);
            if let Some(Some(found)) = place.and_then(|place| sieve.found.get_mut(place)) {
                found.speaks = true;
            }
        }
        sieve
    }

    /// A report, if there is such an edge and its subject stays.
    fn take_in(&mut self, (observer, subject): Edge) {
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
        if !edge_exists || is_set(&self.leaving, place) {
            return;
        }
        if let Some(found) = self.found.get_mut(place) {
            let suspected = found.get_or_insert_default();
            suspected.by_operator |= by_operator;
            suspected.reporters |= reporter.map_or(0, bit);
        }
    }

    /// Who is in F, by place.
    pub(super) fn failed(&self) -> impl Iterator<Item = usize> {
        self.suspected().map(|(place, _)| place)
    }

    /// Whether the members outside F are enough to say so.
    pub(super) fn claim(&self) -> Claim {
        let is_away = |place| self.is_found(place) || is_set(&self.unclear, place);
        let away: Vec<bool> = (0..self.found.len()).map(is_away).collect();
        let outside: Vec<bool> = away.iter().map(|is| !is).collect();
        let mute = self.mute(&outside).0;
        let silent = away.iter().zip(mute).map(|(away, mute)| *away || mute);
        if self.are_enough_without(&silent.collect::<Vec<bool>>()) {
            Claim::Stands
        } else if self.are_enough_without(&away) {
            Claim::NotYet
        } else {
            Claim::TooFew
        }
    }

    /// Of the members that take part; those listed as failed do not, and are in none of the sets.
    fn are_enough_without(&self, those: &[bool]) -> bool {
        let members = self.graph.len();
        let rest = members.saturating_sub(those.iter().filter(|is| **is).count());
        match (rest * 2).cmp(&members) {
            Ordering::Greater => true,
            Ordering::Less => false,
            Ordering::Equal if members == 2 => self
                .suspected()
                .all(|(_, it)| self.operator && it.by_operator),
            Ordering::Equal => {
                let voters = self.graph.voters().iter();
                let places = voters.filter_map(|voter| self.graph.place(*voter));
                let living = places.filter(|place| !is_set(those, *place));
                living.count() * 2 > self.graph.voters().len()
            }
        }
    }

    /// Drops the weak until nobody is, at each share in turn, and then the unclear.
    pub(super) fn peel(&mut self, percent: u8) {
        let mut share = 0;
        while share < percent {
            share = (share + 10).min(percent);
            loop {
                self.count_observers(share);
                let weakest = self.weakest(share);
                if weakest.is_empty() {
                    break;
                }
                for place in weakest {
                    self.drop_from_found(place);
                }
            }
        }
        let unclear = self.suspected().filter(|(_, it)| it.is_unclear());
        let unclear: Vec<usize> = unclear.map(|(place, _)| place).collect();
        for place in unclear {
            self.drop_from_found(place);
            set(&mut self.unclear, Some(place));
        }
    }

    fn suspected(&self) -> impl Iterator<Item = (usize, &Suspected)> {
        let places = (0..).zip(&self.found);
        places.filter_map(|(place, found)| Some((place, found.as_ref()?)))
    }

    fn is_found(&self, place: usize) -> bool {
        self.found.get(place).is_some_and(Option::is_some)
    }

    fn drop_from_found(&mut self, place: usize) {
        if let Some(found) = self.found.get_mut(place) {
            *found = None;
        }
    }

    /// Counts anew, for each member of F, its observers that count at that share.
    fn count_observers(&mut self, share: u8) {
        let outside = |place| !self.is_found(place) && !is_set(&self.leaving, place);
        let outside: Vec<bool> = (0..self.found.len()).map(outside).collect();
        let mute = match (share > HALF).then(|| self.mute(&outside)) {
            Some((mute, true)) => mute,
            _ => Vec::new(),
        };
        for (place, suspected) in (0..).zip(&mut self.found) {
            let Some(suspected) = suspected else { continue };
            let observers = self.graph.observers_at(place);
            let operator = usize::from(self.operator);
            suspected.reported = usize::from(self.operator && suspected.by_operator);
            suspected.observed = operator;
            let counts = |at: usize| is_set(&outside, at) && !is_set(&mute, at);
            for (number, _) in (0..).zip(observers).filter(|(_, at)| counts(**at)) {
                suspected.observed += 1;
                suspected.reported += usize::from(suspected.reporters & bit(number) != 0);
            }
            suspected.all = observers.len() + operator;
        }
    }

    /// Who of those outside reports none of its subjects in F though they are several, and whether those are few.
    fn mute(&self, outside: &[bool]) -> (Vec<bool>, bool) {
        let (mut mute, mut silent, mut witnesses) = (vec![false; outside.len()], 0, 0);
        for place in (0..outside.len()).filter(|place| is_set(outside, *place)) {
            match self.accused_by(place) {
                (accused, _) if accused < limits::MUTE_SUBJECTS => {}
                (_, 0) => {
                    set(&mut mute, Some(place));
                    silent += 1;
                }
                _ => witnesses += 1,
            }
        }
        (mute, silent * limits::WITNESSES_FOR_EACH_MUTE <= witnesses)
    }

    /// Of an observer's subjects: how many are in F, and how many of those it reports itself.
    fn accused_by(&self, place: usize) -> (usize, usize) {
        let (mut accused, mut backed) = (0, 0);
        for at in self.graph.subjects_at(place) {
            let Some(Some(subject)) = self.found.get(*at) else {
                continue;
            };
            let mut observers = self.graph.observers_at(*at).iter();
            let number = observers.position(|observer| *observer == place);
            accused += 1;
            backed += usize::from(number.is_some_and(|it| subject.reporters & bit(it) != 0));
        }
        (accused, backed)
    }

    /// Of the weak members those with the smallest share of reports.
    fn weakest(&self, share: u8) -> Vec<usize> {
        let mut weakest: Vec<usize> = Vec::new();
        let mut least: Option<&Suspected> = None;
        let weak = self.suspected().filter(|(_, it)| it.is_weak(share));
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
}

/// Observers are [`limits::OBSERVERS_MAX`] at most.
fn bit(observer: usize) -> u32 {
    u32::try_from(observer).map_or(0, |number| 1_u32.checked_shl(number).unwrap_or(0))
}

const _: () = assert!(limits::OBSERVERS_MAX as u32 <= u32::BITS);

fn set(all: &mut [bool], place: Option<usize>) {
    if let Some(target) = place.and_then(|place| all.get_mut(place)) {
        *target = true;
    }
}

fn is_set(all: &[bool], place: usize) -> bool {
    all.get(place) == Some(&true)
}
