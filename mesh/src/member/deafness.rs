//! Deafness: beats leave, nothing arrives. Only the deaf member can know it, and it says so on its beats.
//!
//! ```text
//!               from no subject do 7 of the last 10 beats arrive
//!   ┌─────────┐ ───────────────────────────────────────▶ ┌───────────────────────┐
//!   │ hearing │                                          │ asking: 10 datagrams, │
//!   └─────────┘ ◀─────────────────────────────────────── │ 40 ms apart, to every │◀─┐
//!        ▲        an observer answered 9 of them         │ observer              │  │ after 3 beats
//!        │                                               └───────────┬───────────┘  │
//!        │  a subject is heard again,                 no observer    ▼              │
//!        │  on 3 beats running                                   ┌──────┐           │
//!        └────────────────────────────────────────────────────── │ deaf │ ──────────┘
//!                                                                └──────┘
//! ```
//!
//! Whoever hears one healthy subject or observer is not deaf, however many died. Nor is one that hears
//! the operator where that watches too. Answers to probes count here and acks of QUIC do not: a lossy member
//! whose packets are sent again looks well to QUIC.

use std::collections::BTreeMap;

use crate::edge::probe_interval;
use crate::identity::Uid;
use crate::limits;
use crate::time::Instant;

use super::Mesh;

/// Where a member stands with its hearing.
#[derive(Debug, Default)]
pub(super) struct Deafness {
    deaf: bool,
    /// Beats in a row on which a subject was heard.
    heard_beats: u32,
    trial: Option<Trial>,
    rests_until: Instant,
    /// The last trial found that observers answer; good for a while.
    hears_until: Instant,
}

#[derive(Debug)]
struct Trial {
    /// First nonce of each round.
    rounds: Vec<u32>,
    /// Observer -> rounds that it answered, one bit each.
    answers: BTreeMap<Uid, u16>,
    next: Instant,
}

impl Deafness {
    /// When [`Mesh::ask_observers`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.trial.as_ref().map(|trial| trial.next)
    }
}

impl Mesh {
    pub(super) fn is_deaf(&self) -> bool {
        self.deafness.deaf
    }

    /// Whether silence and loss may be held against others: somebody is heard, or answers.
    pub(super) fn trusts_its_hearing(&self, now: Instant) -> bool {
        self.hears_somebody(now) || now < self.deafness.hears_until
    }

    /// Whether a subject is heard; it counts so while of none it is known. The maps that come without the others
    /// bring a deaf member new edges, and they must not speak for its hearing.
    fn hears_somebody(&self, now: Instant) -> bool {
        let mut unknown = true;
        for delivers in self.edges.values().filter_map(|edge| edge.delivers(now)) {
            if delivers {
                return true;
            }
            unknown = false;
        }
        unknown || (self.graph.operator_may_observe() && self.hears_operator(now))
    }

    /// Once a beat.
    pub(super) fn tend_hearing(&mut self, now: Instant) {
        let hears = self.hears_somebody(now);
        let it = &mut self.deafness;
        if hears {
            it.trial = None;
            it.heard_beats = it.heard_beats.saturating_add(1);
            it.deaf &= it.heard_beats < limits::STEADY_BEATS;
            return;
        }
        it.heard_beats = 0;
        if it.trial.is_none() && now >= it.rests_until {
            it.trial = Some(Trial {
                rounds: Vec::with_capacity(limits::LOSS_WINDOW_BEATS as usize),
                answers: BTreeMap::new(),
                next: now,
            });
        }
    }

    /// The next round of datagrams, or the end of the trial.
    pub(super) fn ask_observers(&mut self, now: Instant) {
        let interval = self.interval();
        let nonce = self.nonce.wrapping_add(1);
        let Some(trial) = self.deafness.trial.as_mut().filter(|it| now >= it.next) else {
            return;
        };
        if trial.rounds.len() < limits::LOSS_WINDOW_BEATS as usize {
            trial.rounds.push(nonce);
            trial.next = now + probe_interval(interval);
            for observer in self.graph.observers(self.me.uid).to_vec() {
                self.probe(observer);
            }
            return;
        }
        let hears = |rounds: &u16| rounds.count_ones() >= limits::HEARING_ANSWERS;
        let answered = trial.answers.values().any(hears);
        self.deafness.trial = None;
        self.counters.deafnesses += u64::from(!answered && !self.deafness.deaf);
        self.deafness.deaf = !answered;
        let pause = if answered {
            limits::LOSS_WINDOW_BEATS
        } else {
            limits::STEADY_BEATS
        };
        self.deafness.rests_until = now + interval * pause;
        if answered {
            // Until the next trial, should it be needed, has ended.
            self.deafness.hears_until = now + interval * (2 * limits::LOSS_WINDOW_BEATS);
        }
    }

    /// An observer answered a datagram; each counts once, and only those of the trial.
    pub(super) fn note_answer(&mut self, from: Uid, nonce: u32) {
        let (last, observed) = (self.nonce, self.graph.observes(from, self.me.uid));
        let Some(trial) = self.deafness.trial.as_mut().filter(|_| observed) else {
            return;
        };
        let begun = trial.rounds.partition_point(|first| *first <= nonce);
        if begun > 0 && nonce <= last {
            *trial.answers.entry(from).or_default() |= 1 << (begun - 1);
        }
    }
}

#[cfg(test)]
mod tests;
