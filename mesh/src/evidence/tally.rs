//! Who reports whom, by their places in the graph: what a verdict is made of.
//!
//! It follows from the statements in force and is kept beside them, so that a verdict on thousands of reports
//! searches for none of them.

use super::Edge;
use crate::graph::Graph;
use crate::identity::{MemberId, Uid};
use crate::limits;

/// What is said of a listed member, and what it says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Which of its observers report it: a bit for each, as the graph numbers them.
    pub reporters: u32,
    /// Whether the operator does.
    pub by_operator: bool,
    /// Whether it reports somebody itself.
    pub speaks: bool,
    /// Whether it leaves, by its own word.
    pub leaves: bool,
}

impl Said {
    /// How many report it.
    #[must_use]
    pub fn count(&self) -> usize {
        ones(self.reporters) + usize::from(self.by_operator)
    }

    fn set_reporter(&mut self, number: usize, reports: bool) {
        self.reporters &= !bit(number);
        if reports {
            self.reporters |= bit(number);
        }
    }
}

/// All reports in force under one graph.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// By place.
    said: Vec<Said>,
    /// How many members are reported.
    reported: usize,
    /// How many of those that take part leave.
    leaving: usize,
}

impl Tally {
    /// Nothing is said yet.
    #[must_use]
    pub fn of(graph: &Graph) -> Self {
        Self {
            said: vec![Said::default(); graph.places()],
            reported: 0,
            leaving: 0,
        }
    }

    /// What a signer says from now on; the places are those of [`super::Evidence::reports`].
    pub(crate) fn set(&mut self, graph: &Graph, signer: MemberId, reports: &[usize], leaves: bool) {
        self.said.resize(graph.places(), Said::default());
        if signer == MemberId::OPERATOR {
            for place in 0..graph.places() {
                let reports = graph.operator_observes_at(place) && reports.contains(&place);
                self.change(place, |said| said.by_operator = reports);
            }
            return;
        }
        let Some(place) = graph.place(signer.uid) else {
            return;
        };
        for &(subject, number) in graph.links_at(place) {
            let reports = reports.contains(&subject);
            self.change(subject, |said| said.set_reporter(number, reports));
        }
        let takes_part = graph.takes_part_at(place);
        self.leaving -= usize::from(takes_part && self.at(place).leaves);
        self.leaving += usize::from(takes_part && leaves);
        self.change(place, |said| {
            said.speaks = !reports.is_empty();
            said.leaves = leaves;
        });
    }

    fn change(&mut self, place: usize, change: impl FnOnce(&mut Said)) {
        let Some(said) = self.said.get_mut(place) else {
            return;
        };
        self.reported -= usize::from(said.count() > 0);
        change(said);
        self.reported += usize::from(said.count() > 0);
    }

    /// What is said of whoever stands at a place, and what it says.
    #[must_use]
    pub fn at(&self, place: usize) -> Said {
        self.said.get(place).copied().unwrap_or_default()
    }

    /// How many report that member.
    #[must_use]
    pub fn reporters_of(&self, graph: &Graph, uid: Uid) -> usize {
        graph.place(uid).map_or(0, |place| self.at(place).count())
    }

    /// How many members are reported.
    #[must_use]
    pub fn reported(&self) -> usize {
        self.reported
    }

    /// How many members leave, of those that are not listed as failed.
    #[must_use]
    pub fn leaving(&self) -> usize {
        self.leaving
    }

    /// How many reports there are.
    #[must_use]
    pub fn reports(&self) -> usize {
        self.said.iter().map(Said::count).sum()
    }

    /// The reports of those members whose places pass, sorted.
    #[must_use]
    pub fn edges(&self, graph: &Graph, passes: impl Fn(usize) -> bool) -> Vec<Edge> {
        let mut edges = Vec::new();
        let by_operator = (0..).zip(&self.said).filter(|(_, said)| said.by_operator);
        let subjects = by_operator.filter(|(place, _)| passes(*place));
        let subjects = subjects.filter_map(|(place, _)| graph.at(place));
        edges.extend(subjects.map(|subject| (MemberId::OPERATOR, subject)));
        let speakers = (0..).zip(&self.said).filter(|(_, said)| said.speaks);
        for (place, _) in speakers {
            let Some(observer) = graph.at(place) else {
                continue;
            };
            let links = graph.links_at(place).iter();
            let reported = links.filter(|(subject, number)| {
                self.at(*subject).reporters & bit(*number) != 0 && passes(*subject)
            });
            let subjects = reported.filter_map(|(subject, _)| graph.at(*subject));
            edges.extend(subjects.map(|subject| (observer, subject)));
        }
        edges
    }
}

/// How many are set.
pub(crate) fn ones(bits: u32) -> usize {
    usize::try_from(bits.count_ones()).unwrap_or(usize::MAX)
}

/// Of an observer, by its number: observers are [`limits::OBSERVERS_MAX`] at most.
pub(crate) fn bit(observer: usize) -> u32 {
    u32::try_from(observer).map_or(0, |number| 1_u32.checked_shl(number).unwrap_or(0))
}

const _: () = assert!(limits::OBSERVERS_MAX as u32 <= u32::BITS);

#[cfg(test)]
mod tests;
