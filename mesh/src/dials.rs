//! Whom one is dialing, and for how long a peer is left alone after that came to nothing, or its connection ended.
//!
//! ```text
//!              begin                  failed, or the connection ended
//!   (nothing) ───────▶ under way ─────────────────────────────────────▶ resting ──▶ may begin again
//!       ▲                  │            the pause doubles each time
//!       └──────────────────┘ connected
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use crate::identity::Uid;
use crate::limits;
use crate::time::Instant;

/// Dials, by whom they are for.
#[derive(Debug, Default)]
pub(crate) struct Dials(BTreeMap<Uid, Dial>);

#[derive(Clone, Copy, Debug)]
struct Dial {
    state: State,
    /// The pause after the next failure.
    next_pause: Duration,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Underway { since: Instant },
    Resting { until: Instant },
}

impl Dials {
    fn state(&self, uid: Uid) -> Option<State> {
        self.0.get(&uid).map(|dial| dial.state)
    }

    fn next_pause(&self, uid: Uid) -> Duration {
        let dial = self.0.get(&uid);
        dial.map_or(limits::REDIAL_MIN, |dial| dial.next_pause)
    }

    pub(crate) fn begin(&mut self, now: Instant, uid: Uid) {
        let dial = Dial {
            state: State::Underway { since: now },
            next_pause: self.next_pause(uid),
        };
        self.0.insert(uid, dial);
    }

    /// A dial came to nothing, or the connection ended.
    pub(crate) fn rest(&mut self, now: Instant, uid: Uid) {
        let pause = self.next_pause(uid);
        let dial = Dial {
            state: State::Resting { until: now + pause },
            next_pause: (pause * 2).min(limits::REDIAL_MAX),
        };
        self.0.insert(uid, dial);
    }

    pub(crate) fn connected(&mut self, uid: Uid) {
        self.0.remove(&uid);
    }

    pub(crate) fn retain(&mut self, keep: impl Fn(Uid) -> bool) {
        self.0.retain(|uid, _| keep(*uid));
    }

    pub(crate) fn may_begin(&self, now: Instant, uid: Uid) -> bool {
        match self.state(uid) {
            None => true,
            Some(State::Underway { .. }) => false,
            Some(State::Resting { .. }) => !self.rests(now, uid),
        }
    }

    /// Whether the pause after a failure is not over.
    pub(crate) fn rests(&self, now: Instant, uid: Uid) -> bool {
        matches!(self.state(uid), Some(State::Resting { until }) if now < until)
    }

    /// Whether a dial has been under way for so long that it may well lead nowhere, or led nowhere just now.
    pub(crate) fn is_unanswered(&self, now: Instant, uid: Uid) -> bool {
        let is_slow = matches!(self.state(uid), Some(State::Underway { since })
            if now.saturating_since(since) >= limits::DIAL_PATIENCE);
        is_slow || self.rests(now, uid)
    }

    /// How many are.
    pub(crate) fn unanswered(&self, now: Instant) -> usize {
        let all = self.0.keys();
        all.filter(|uid| self.is_unanswered(now, **uid)).count()
    }
}

#[cfg(test)]
mod tests;
