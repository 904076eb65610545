//! Peeling: which of the members that anybody reports have failed.
//!
//! ```text
//!   F = all who are reported ──▶ drop, at 10 %, 20 % ... 70 %: of whom too small a share of its observers
//!        │                       outside F reports it; weakest first, all that tie at once, then count again
//!        │                       (whoever is dropped is an observer outside F again; above half, the mute count no more)
//!        ├─▶ unclear: fewer than three observers outside F report it, or four if it reports somebody itself
//!        │            (of ten that it has; see `is_unclear`). Neither failed nor, up to here, an observer
//!        ▼
//!   F is the verdict, if those outside F, without the unclear and the mute, are a majority (or half, with the voters) of those
//!   that stay
//! ```
//!
//! Two rules are for the death of half a cell, when a few of the dead have few living observers, or none, and a few of the
//! living, whose subjects died, doubt themselves. Taken for observers that see nothing wrong, they have others of the dead
//! dropped, which then see nothing wrong either: of 49 dead of 100 members 4 to 33 were found.
//!
//! * *Unclear*: the rule that the word of a few observers fails nobody comes last. Dropped at 10 %, such a dead member would
//!   have counted as an observer from then on.
//! * *Mute*: an observer outside F that reports none of [`limits::MUTE_SUBJECTS`] or more of its subjects that are in F does
//!   not count. Only above half: there F is what most observers report, and no few liars can put enough into it to
//!   silence those who contradict them. And only while there are [`limits::WITNESSES_FOR_EACH_MUTE`] that are not mute
//!   for each that is: while reports are still coming many are mute.

use std::cmp::Ordering;

use crate::evidence::{Tally, bit, ones};
use crate::graph::Graph;
use crate::limits;

use super::{Step, Steps};

/// Share, in percent, up to which every observer counts.
const HALF: u8 = 50;

/// A reported member, as long as it is in F.
#[derive(Clone, Copy, Default)]
struct Suspected {
    /// Which of its observers report it: a bit for each, as the graph numbers them.
    reporters: u32,
    /// Which of its observers are outside F, and which of them are mute.
    outside: u32,
    mute: u32,
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
    fn is_reported_by(&self, observer: usize) -> bool {
        self.reporters & bit(observer) != 0
    }

    /// Counts anew, without the mute.
    fn count(&mut self, operator: bool) {
        let counts = self.outside & !self.mute;
        let of_operator = |is: bool| usize::from(operator && is);
        self.observed = ones(counts) + of_operator(true);
        self.reported = ones(counts & self.reporters) + of_operator(self.by_operator);
    }

    fn is_weak(&self, share: u8) -> bool {
        let by_few = self.speaks && self.reported < self.witnesses();
        by_few || self.reported * 100 < usize::from(share) * self.observed
    }

    /// The word of one observer, of ten that of two, fails nobody; in a cell where nobody has more than two, it has to.
    fn witnesses(&self) -> usize {
        match self.all {
            0..=2 => 1,
            few if few < limits::RINGS => limits::WITNESSES_OF_FEW,
            _ => limits::WITNESSES,
        }
    }

    /// Whoever reports somebody lived a moment ago.
    fn is_unclear(&self) -> bool {
        let lived = self.speaks && self.all >= limits::RINGS;
        let needed = if lived {
            limits::WITNESSES_OF_SPEAKER
        } else {
            self.witnesses()
        };
        self.reported < needed
    }

    /// For what it is weak.
    fn step_at(&self, share: u8) -> Step {
        if self.reported * 100 < self.observed * usize::from(share) {
            Step::Share(share)
        } else {
            Step::FewOfSpeaker
        }
    }

    /// For what it is unclear.
    fn unclear_step(&self) -> Step {
        if self.reported < self.witnesses() {
            Step::Unclear
        } else {
            Step::UnclearSpeaker
        }
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
    standings: Vec<Standing>,
    /// Places of F, and what counts of each.
    found: Vec<usize>,
    suspected: Vec<Suspected>,
    subjects: Vec<Subjects>,
    /// How many members leave.
    leaving: usize,
    operator: bool,
    steps: Steps,
}

/// Of an observer's subjects: how many are in F, and how many of those it reports itself.
#[derive(Clone, Copy, Default)]
struct Subjects {
    found: usize,
    reported: usize,
}

/// How a member stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Outside F: nobody reports it, or it was dropped.
    Outside,
    /// In F.
    Found,
    /// Dropped at the end: neither failed nor an observer.
    Unclear,
    /// It observes nobody any more, and nobody reports it.
    Leaving,
}

impl<'a> Sieve<'a> {
    pub(super) fn new(graph: &'a Graph, tally: &Tally, operator: bool) -> Self {
        let operator = operator && graph.operator_may_observe();
        let standing = |place| match tally.at(place) {
            it if it.leaves => Standing::Leaving,
            it if it.reporters != 0 || operator && it.by_operator => Standing::Found,
            _ => Standing::Outside,
        };
        let standings: Vec<Standing> = (0..graph.places()).map(standing).collect();
        let is_outside = |at: usize| standings.get(at) == Some(&Standing::Outside);
        let suspected = |place| {
            let (said, observers) = (tally.at(place), graph.observers_at(place));
            Suspected {
                reporters: said.reporters,
                outside: bits(observers, is_outside),
                by_operator: operator && said.by_operator,
                speaks: said.speaks,
                all: observers.len() + usize::from(operator),
                ..Suspected::default()
            }
        };
        let is_found = |place: &usize| standings.get(*place) == Some(&Standing::Found);
        let found: Vec<usize> = (0..graph.places()).filter(is_found).collect();
        let mut all = vec![Suspected::default(); graph.places()];
        for place in &found {
            set(&mut all, Some(*place), suspected(*place));
        }
        let mut sieve = Self {
            graph,
            standings,
            subjects: vec![Subjects::default(); all.len()],
            suspected: all,
            found,
            leaving: tally.leaving(),
            operator,
            steps: Steps::default(),
        };
        for place in sieve.found.clone() {
            sieve.change_subjects(place, |count| *count += 1);
        }
        sieve
    }

    /// Whoever stands there is in F now, or no longer: its observers have one subject there more, or fewer.
    fn change_subjects(&mut self, place: usize, change: impl Fn(&mut usize)) {
        let Some(suspected) = self.suspected.get(place) else {
            return;
        };
        for (number, observer) in (0..).zip(self.graph.observers_at(place)) {
            if let Some(subjects) = self.subjects.get_mut(*observer) {
                change(&mut subjects.found);
                if suspected.is_reported_by(number) {
                    change(&mut subjects.reported);
                }
            }
        }
    }

    fn stays(&self, at: usize) -> bool {
        self.standings.get(at) != Some(&Standing::Leaving)
    }

    /// Who is in F, by place.
    pub(super) fn failed(&self) -> impl Iterator<Item = usize> {
        self.found.iter().copied()
    }

    /// F itself.
    fn found(&self) -> impl Iterator<Item = &Suspected> {
        let found = self.found.iter();
        found.filter_map(|place| self.suspected.get(*place))
    }

    /// Whether whoever stands there is in F.
    pub(super) fn has_failed(&self, place: usize) -> bool {
        self.standings.get(place) == Some(&Standing::Found)
    }

    /// Whether the members outside F are enough to say so.
    pub(super) fn claim(&self) -> Claim {
        let is_away = |it: &Standing| matches!(it, Standing::Found | Standing::Unclear);
        let away: Vec<bool> = self.standings.iter().map(is_away).collect();
        let mut silent = away.clone();
        for mute in self.mute().0 {
            set(&mut silent, Some(mute), true);
        }
        if self.are_enough_without(&silent) {
            Claim::Stands
        } else if self.are_enough_without(&away) {
            Claim::NotYet
        } else {
            Claim::TooFew
        }
    }

    /// The steps that decided something, this last one included.
    pub(super) fn steps_with(&self, claim: Claim) -> Steps {
        let mut steps = self.steps;
        match claim {
            Claim::NotYet if !self.found.is_empty() => steps.note(Step::NotYet),
            Claim::TooFew if !self.found.is_empty() => steps.note(Step::TooFew),
            Claim::Stands | Claim::NotYet | Claim::TooFew => {}
        }
        steps
    }

    /// Of the members that stay: whoever leaves can speak neither for those outside F nor for F, so it is counted on neither
    /// side. (As one outside F it would count for both sides of a cut, and each might find the other failed.)
    ///
    /// Those listed as failed take no part, and are in none of the sets.
    fn are_enough_without(&self, those: &[bool]) -> bool {
        let members = self.graph.len().saturating_sub(self.leaving);
        let rest = members.saturating_sub(those.iter().filter(|is| **is).count());
        match (rest * 2).cmp(&members) {
            Ordering::Greater => true,
            Ordering::Less => false,
            Ordering::Equal if members == 2 => {
                self.found().all(|it| self.operator && it.by_operator)
            }
            Ordering::Equal => {
                let voters = self.graph.voters().iter();
                let places = voters.filter_map(|voter| self.graph.place(*voter));
                let voters: Vec<usize> = places.filter(|place| self.stays(*place)).collect();
                let living = voters.iter().filter(|place| !is_set(those, **place));
                living.count() * 2 > voters.len()
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
                let Some(weakest) = self.weakest(share) else {
                    break;
                };
                self.steps.note(weakest.step_at(share));
                self.drop_from_found(Standing::Outside, |it| {
                    it.is_weak(share) && it.cmp_share(&weakest).is_eq()
                });
            }
        }
        let mut steps = self.steps;
        for it in self.found().filter(|it| it.is_unclear()) {
            steps.note(it.unclear_step());
        }
        self.steps = steps;
        self.drop_from_found(Standing::Unclear, Suspected::is_unclear);
    }

    fn drop_from_found(&mut self, to: Standing, drops: impl Fn(&Suspected) -> bool) {
        let suspected = &self.suspected;
        let drops = |place: &mut usize| suspected.get(*place).is_some_and(&drops);
        let dropped: Vec<usize> = self.found.extract_if(.., drops).collect();
        for place in dropped {
            set(&mut self.standings, Some(place), to);
            self.change_subjects(place, |count| *count -= 1);
            if to == Standing::Outside {
                self.heed(place);
            }
        }
    }

    /// That member is outside F again: an observer of its subjects in it.
    fn heed(&mut self, observer: usize) {
        for &(subject, number) in self.graph.links_at(observer) {
            if let Some(suspected) = self.suspected.get_mut(subject) {
                suspected.outside |= bit(number);
            }
        }
    }

    /// Counts anew, for each member of F, its observers that count at that share.
    fn count_observers(&mut self, share: u8) {
        if share > HALF {
            self.find_mute();
        }
        for place in &self.found {
            if let Some(suspected) = self.suspected.get_mut(*place) {
                if suspected.outside & suspected.mute != 0 {
                    self.steps.note(Step::Mute);
                }
                suspected.count(self.operator);
            }
        }
    }

    /// Who of the observers of F does not count, if those are few.
    fn find_mute(&mut self) {
        let mute = match self.mute() {
            (mute, true) => mute,
            _ => Vec::new(),
        };
        self.suspected.iter_mut().for_each(|it| it.mute = 0);
        for observer in mute {
            for &(subject, number) in self.graph.links_at(observer) {
                if let Some(suspected) = self.suspected.get_mut(subject) {
                    suspected.mute |= bit(number);
                }
            }
        }
    }

    /// Who of those outside reports none of its subjects in F though they are several, and whether those are few.
    /// The silence of those that leave says nothing.
    fn mute(&self) -> (Vec<usize>, bool) {
        let (mut mute, mut witnesses) = (Vec::new(), 0);
        for (place, subjects) in (0..).zip(&self.subjects) {
            let is_outside = self.standings.get(place) == Some(&Standing::Outside);
            if subjects.found < limits::MUTE_SUBJECTS || !is_outside {
                continue;
            }
            if subjects.reported == 0 {
                mute.push(place);
            } else {
                witnesses += 1;
            }
        }
        let are_few = mute.len() * limits::WITNESSES_FOR_EACH_MUTE <= witnesses;
        (mute, are_few)
    }

    /// Of the weak members one with the smallest share of reports.
    fn weakest(&self, share: u8) -> Option<Suspected> {
        let weak = self.found().filter(|it| it.is_weak(share));
        weak.min_by(|one, other| one.cmp_share(other)).copied()
    }
}

/// Those of a member's observers: a bit for each.
fn bits(observers: &[usize], are: impl Fn(usize) -> bool) -> u32 {
    let those = (0..).zip(observers).filter(|(_, at)| are(**at));
    those.fold(0, |bits, (number, _)| bits | bit(number))
}

fn set<T>(all: &mut [T], place: Option<usize>, to: T) {
    if let Some(target) = place.and_then(|place| all.get_mut(place)) {
        *target = to;
    }
}

fn is_set(all: &[bool], place: usize) -> bool {
    all.get(place) == Some(&true)
}
