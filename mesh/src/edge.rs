//! One edge of the monitoring graph, as its observer sees it.
//!
//! ```text
//!              answer or beat            silence past the deadline,
//!   ┌─────────┐          ┌─────────┐     or another observer reports   ┌─────────┐
//!   │ Opening │─────────▶│  Armed  │─────────────────────────────────▶│ Probing │
//!   └────┬────┘          └─────────┘◀─────────────────────────────────└────┬────┘
//!        │ grace over         ▲               answer or beat               │ no answer to
//!        └───────────────┐    │                                            │ the last probe
//!                        ▼    │ 10 beats, at most one lost                 ▼
//!                    (Probing)│        ┌────────┐                      ┌────────┐
//!                             └────────│ Failed │◀─────────────────────│  ask   │
//!                                      └────────┘   observer is well   └────────┘
//! ```
//!
//! "Ask": before an edge fails, its owner says whether the observer itself is well
//! ([`Edge::conclude`]); an observer that hears nobody accuses nobody.
//!
//! The deadline follows Chen, Toueg and Aguilera, "On the Quality of Service of Failure Detectors"
//! (2002): the expected arrival of the next beat plus a margin from measured arrivals, here bounded by
//! 3 and 5 beats so that it can neither be hasty nor adapt a sick edge away.

use std::time::Duration;

use crate::limits;
use crate::time::Instant;

/// Beats of margin beyond the expected arrival, before jitter is added.
const MARGIN_BEATS: u32 = 2;
/// How much of a new deviation enters the measured one: 1/8, as in RFC 6298.
const DEVIATION_GAIN: u32 = 8;
/// Deviations of margin.
const MARGIN_DEVIATIONS: u32 = 4;

/// Where the edge stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// New: nothing heard yet. Silence counts from `until`.
    Opening {
        /// End of the grace.
        until: Instant,
    },
    /// Beats arrive.
    Armed,
    /// Beats stopped: probes are on their way.
    Probing {
        /// Probes sent.
        sent: u8,
        /// When the next is due, or the last has gone unanswered.
        next: Instant,
        /// When the train began.
        since: Instant,
    },
    /// Reported.
    Failed,
}

/// What the edge wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send a probe datagram.
    Probe,
    /// The last probe went unanswered: [`Edge::conclude`].
    Conclude,
    /// Beats arrive again: say so.
    Clear,
}

/// Time between two probe datagrams, and after the last one.
#[must_use]
pub fn probe_interval(beats: Duration) -> Duration {
    beats / limits::PROBES_PER_BEAT
}

/// The observer's side of one edge.
#[derive(Clone, Debug)]
pub struct Edge {
    state: State,
    interval: Duration,
    last_arrival: Instant,
    /// Measured deviation of the time between two beats from the interval.
    deviation: Duration,
    /// Sequence of the last beat.
    last_sequence: Option<u32>,
    /// Beats heard, and lost, since the edge failed.
    heard: u32,
    lost: u32,
}

impl Edge {
    /// A new edge; silence counts after a grace, the time in which a connection comes up.
    #[must_use]
    pub fn new(now: Instant, interval: Duration) -> Self {
        let grace = limits::EDGE_GRACE.max(interval * limits::SILENCE_BEATS_MIN);
        Self {
            state: State::Opening { until: now + grace },
            interval,
            last_arrival: now,
            deviation: Duration::ZERO,
            last_sequence: None,
            heard: 0,
            lost: 0,
        }
    }

    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether the subject was heard within its deadline.
    #[must_use]
    pub fn is_well(&self, now: Instant) -> bool {
        self.state == State::Armed && now < self.silence_deadline()
    }

    /// When the subject was last heard.
    #[must_use]
    pub fn last_arrival(&self) -> Instant {
        self.last_arrival
    }

    /// A beat arrived. `sequence` counts the sender's beats on this edge; a gap is a loss.
    pub fn on_beat(&mut self, now: Instant, sequence: u32) -> Option<Action> {
        let missed = match self.last_sequence {
            Some(last) if sequence <= last => return None,
            Some(last) => sequence - last - 1,
            None => 0,
        };
        if self.state == State::Armed && missed == 0 && self.last_sequence.is_some() {
            let between = now.saturating_since(self.last_arrival);
            let deviation = between.abs_diff(self.interval).min(self.interval);
            self.deviation = (self.deviation * (DEVIATION_GAIN - 1) + deviation) / DEVIATION_GAIN;
        }
        self.last_sequence = Some(sequence);
        if self.state == State::Failed {
            return self.count_towards_clear(now, missed);
        }
        self.arm(now);
        None
    }

    /// The subject answered a probe. It brings a failed edge no nearer to clear: only beats do.
    pub fn on_answer(&mut self, now: Instant) {
        if self.state != State::Failed {
            self.arm(now);
        }
    }

    /// Another observer reports the subject: look at once.
    pub fn on_report_of_another(&mut self, now: Instant) -> Option<Action> {
        if self.state != State::Armed {
            return None;
        }
        Some(self.begin_probing(now))
    }

    /// Time has passed.
    pub fn on_timer(&mut self, now: Instant) -> Option<Action> {
        match self.state {
            State::Opening { until } if now >= until => Some(self.begin_probing(now)),
            State::Armed if now >= self.silence_deadline() => Some(self.begin_probing(now)),
            State::Probing { sent, next, since } if now >= next => {
                if sent >= limits::PROBES {
                    return Some(Action::Conclude);
                }
                let next = now + probe_interval(self.interval);
                self.state = State::Probing {
                    sent: sent + 1,
                    next,
                    since,
                };
                Some(Action::Probe)
            }
            _ => None,
        }
    }

    /// What the end of the probes means: a report if the observer is well, else a fresh start.
    /// Returns whether the edge is to be reported.
    pub fn conclude(&mut self, now: Instant, observer_is_well: bool) -> bool {
        if observer_is_well {
            self.state = State::Failed;
            self.heard = 0;
            self.lost = 0;
        } else {
            self.forget_silence(now);
        }
        observer_is_well
    }

    /// The observer itself was away (a pause, a late timer): silence so far says nothing.
    pub fn forget_silence(&mut self, now: Instant) {
        match self.state {
            State::Opening { .. } => {
                self.state = State::Opening {
                    until: now + self.silence(),
                }
            }
            State::Armed | State::Probing { .. } => self.arm(now),
            State::Failed => {}
        }
    }

    /// The observer was away for a moment: everything is due that much later.
    pub fn postpone(&mut self, by: Duration) {
        match &mut self.state {
            State::Opening { until } => *until = *until + by,
            State::Probing { next, .. } => *next = *next + by,
            State::Armed | State::Failed => {}
        }
        self.last_arrival = self.last_arrival + by;
    }

    /// When [`Edge::on_timer`] has something to do.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Opening { until } => Some(until),
            State::Armed => Some(self.silence_deadline()),
            State::Probing { next, .. } => Some(next),
            State::Failed => None,
        }
    }

    fn silence_deadline(&self) -> Instant {
        self.last_arrival + self.silence()
    }

    /// Silence after which the subject is probed.
    fn silence(&self) -> Duration {
        let margin = self.interval * MARGIN_BEATS + self.deviation * MARGIN_DEVIATIONS;
        (self.interval + margin).clamp(
            self.interval * limits::SILENCE_BEATS_MIN,
            self.interval * limits::SILENCE_BEATS_MAX,
        )
    }

    fn arm(&mut self, now: Instant) {
        self.state = State::Armed;
        self.last_arrival = now;
    }

    fn begin_probing(&mut self, now: Instant) -> Action {
        self.state = State::Probing {
            sent: 1,
            next: now + probe_interval(self.interval),
            since: now,
        };
        Action::Probe
    }

    fn count_towards_clear(&mut self, now: Instant, missed: u32) -> Option<Action> {
        // What was lost before the first beat was lost while the edge was failed.
        self.lost = if self.heard == 0 {
            0
        } else {
            self.lost.saturating_add(missed)
        };
        self.heard += 1;
        if self.lost > 1 {
            self.heard = 1;
            self.lost = 0;
        }
        if self.heard + self.lost < limits::CLEAR_BEATS {
            return None;
        }
        self.arm(now);
        Some(Action::Clear)
    }
}

#[cfg(test)]
mod tests;
