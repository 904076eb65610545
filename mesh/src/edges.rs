//! The edges of one observer, in the order of their subjects, each with the time at which it has something to do.
//!
//! Every beat moves such a time away, and every timer asks for the nearest: so it is worked out when its edge changes, and
//! all of them lie side by side.

use std::time::Duration;

use crate::edge::Edge;
use crate::identity::{MemberId, Uid};
use crate::time::Instant;

/// When an edge with nothing to do is due.
const NEVER: Instant = Instant(u64::MAX);

/// All edges of an observer.
#[derive(Debug, Default)]
pub(crate) struct Edges {
    /// Sorted; each with the time at which its edge is due.
    subjects: Vec<(Uid, Instant)>,
    edges: Vec<Edge>,
    /// Between two beats of a subject.
    interval: Duration,
}

impl Edges {
    fn place(&self, subject: Uid) -> Option<usize> {
        self.subjects
            .binary_search_by_key(&subject, |(uid, _)| *uid)
            .ok()
    }

    pub(crate) fn get(&self, subject: Uid) -> Option<&Edge> {
        self.edges.get(self.place(subject)?)
    }

    /// Lets something happen to an edge, if there is one.
    pub(crate) fn change<T>(
        &mut self,
        subject: Uid,
        change: impl FnOnce(&mut Edge) -> T,
    ) -> Option<T> {
        let place = self.place(subject)?;
        let edge = self.edges.get_mut(place)?;
        let (_, due) = self.subjects.get_mut(place)?;
        let result = change(edge);
        *due = due_of(edge);
        Some(result)
    }

    fn change_all(&mut self, change: impl Fn(&mut Edge)) {
        for (edge, (_, due)) in self.edges.iter_mut().zip(&mut self.subjects) {
            change(edge);
            *due = due_of(edge);
        }
    }

    /// The observer was away for long: what it did not hear meanwhile says nothing.
    pub(crate) fn forget_silence(&mut self, now: Instant) {
        self.change_all(|edge| edge.forget_silence(now));
    }

    /// The observer was away for a moment: everything is due that much later.
    pub(crate) fn postpone(&mut self, by: Duration) {
        self.change_all(|edge| edge.postpone(by));
    }

    /// From now on there are edges to these subjects, and no others; those that there were go on. At another interval all
    /// begin anew: what was measured, and what is missing, says nothing of it.
    pub(crate) fn lead_to(
        &mut self,
        now: Instant,
        interval: Duration,
        subjects: impl IntoIterator<Item = Uid>,
    ) {
        if interval != self.interval {
            *self = Self::default();
        }
        let begin = || Edge::new(now, interval);
        let mut subjects: Vec<Uid> = subjects.into_iter().collect();
        subjects.sort_unstable();
        subjects.dedup();
        let kept = |uid: &Uid| self.get(*uid).cloned().unwrap_or_else(begin);
        let edges: Vec<Edge> = subjects.iter().map(kept).collect();
        let due = edges.iter().map(due_of);
        *self = Self {
            subjects: subjects.into_iter().zip(due).collect(),
            edges,
            interval,
        };
    }

    /// Lets go of the edges to all other subjects.
    pub(crate) fn retain(&mut self, keep: impl Fn(Uid) -> bool) {
        let subjects = std::mem::take(&mut self.subjects).into_iter();
        let all = subjects.zip(std::mem::take(&mut self.edges));
        let kept = all.filter(|((uid, _), _)| keep(*uid));
        (self.subjects, self.edges) = kept.unzip();
    }

    pub(crate) fn len(&self) -> usize {
        self.edges.len()
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &Edge> {
        self.edges.iter()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Uid, &Edge)> {
        self.subjects.iter().map(|(uid, _)| *uid).zip(&self.edges)
    }

    /// When the first of them has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let nearest = self.subjects.iter().map(|(_, due)| *due).min();
        nearest.filter(|due| *due < NEVER)
    }

    /// Subjects whose edges have something to do.
    pub(crate) fn due(&self, now: Instant) -> Vec<Uid> {
        let due = self.subjects.iter().filter(|(_, due)| *due <= now);
        due.map(|(uid, _)| *uid).collect()
    }

    /// Whom the observer reports that `said` so of some before: in the order of its subjects.
    pub(crate) fn to_report(&self, said: &[MemberId]) -> impl Iterator<Item = Uid> {
        let was_said = |uid: Uid| said.iter().any(|id| id.uid == uid);
        let named = self
            .iter()
            .filter(move |(uid, edge)| edge.is_to_report(was_said(*uid)));
        named.map(|(uid, _)| uid)
    }
}

fn due_of(edge: &Edge) -> Instant {
    edge.deadline().unwrap_or(NEVER)
}

#[cfg(test)]
mod tests;
