//! One edge of the monitoring graph, as its observer sees it.
//!
//! ```text
//!              answer or beat            silence past the deadline,
//!   ┌─────────┐          ┌─────────┐   (the shortest, once another     ┌─────────┐
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
//! What another observer reports never fails an edge. It only ends the patience that jitter earned: silence counts
//! from [`limits::SILENCE_BEATS_MIN`] beats on. (Probing at once, as this did first, passed one observer's lost
//! beat on to all: thirty members of which nine stood still for half a second every two seconds lost one to five of
//! them in five minutes.)
//!
//! Four things fail an edge: *silence* (the deadline, then probes), *loss* ([`loss`]: no probes, because a
//! lossy link answers one in three), a *deaf* subject (it says so itself, on three beats running), and a
//! *hint* that its process is gone ([`Edge::on_gone`]).
//!
//! The deadline follows Chen, Toueg and Aguilera, "On the Quality of Service of Failure Detectors"
//! (2002): the expected arrival of the next beat plus a margin from measured arrivals. Expected is one
//! measured interval after the last arrival, not a point of a fixed schedule as in their paper, since
//! senders jitter each beat. Bounded by 3 and 5 beats, so that it can neither be hasty nor adapt a sick edge away.
//!
//! Mistakes it aims at: at 1 % loss each way no more than two needless trains of probes a day and no
//! wrong report in years; at 10 % each way a wrong report about once an hour an edge, of which a verdict
//! needs 7 of 10 at once (`edge/tests/mistakes.rs` counts them).

mod loss;

use std::time::Duration;

use crate::limits;
use crate::time::Instant;
use loss::{Window, overdue};

/// Beats of margin beyond the expected arrival, before jitter is added.
const MARGIN_BEATS: u32 = 2;
/// How much of what is new enters what is measured: 1/8, as in RFC 6298.
const GAIN: u32 = 8;
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

/// What hints that a subject's process is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// Its port is nobody's. Counts while a knock waits for a sign of life.
    Refused,
    /// It closed its end and said that it goes.
    Closed,
    /// Another process answers there, with the pod's own reset.
    Restarted,
}

/// What the edge wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send a probe datagram.
    Probe,
    /// The beat is late: see whether the subject's port still is somebody's.
    Knock,
    /// The edge is to fail: [`Edge::conclude`].
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
    /// The last sign of life: a beat, or an answer.
    last_arrival: Instant,
    last_beat: Instant,
    /// Measured time between two beats, and its mean deviation.
    between: Duration,
    deviation: Duration,
    window: Window,
    /// Loss is not looked at again before.
    loss_rests_until: Instant,
    /// Beats in a row that said that their sender is deaf.
    deaf_beats: u32,
    /// Whether somebody knocked since the last sign of life.
    knocked: bool,
    /// Whether another process answered at the subject's since then.
    restarted: bool,
    /// Whether another observer reported it since then.
    hastened: bool,
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
            last_beat: now,
            between: interval,
            deviation: Duration::ZERO,
            window: Window::default(),
            loss_rests_until: now,
            deaf_beats: 0,
            knocked: false,
            restarted: false,
            hastened: false,
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

    /// Whether the subject was heard within the last [`limits::UNHEARD_BEATS`] beats.
    #[must_use]
    pub fn is_heard(&self, now: Instant) -> bool {
        now.saturating_since(self.last_arrival) <= self.interval * limits::UNHEARD_BEATS
    }

    /// Whether the observer's statement names the subject. What the last one `said` of it stands until the edge knows better.
    pub(crate) fn is_to_report(&self, said: bool) -> bool {
        match self.state {
            State::Failed => true,
            State::Opening { .. } => said,
            State::Armed | State::Probing { .. } => false,
        }
    }

    /// When the subject was last heard.
    #[must_use]
    pub fn last_arrival(&self) -> Instant {
        self.last_arrival
    }

    /// Whether enough of the subject's beats arrive; of a new edge nobody can tell.
    #[must_use]
    pub fn delivers(&self, now: Instant) -> Option<bool> {
        if let State::Opening { .. } = self.state {
            return None;
        }
        let silence = now.saturating_since(self.last_beat);
        self.window.delivers(overdue(silence, self.interval))
    }

    /// A beat arrived. `sequence` counts the sender's beats on this edge; a gap is a loss. `deaf` is what
    /// the sender says of itself.
    pub fn on_beat(&mut self, now: Instant, sequence: u32, deaf: bool) -> Option<Action> {
        let missed = match self.last_sequence {
            Some(last) if sequence <= last => {
                self.window.heard_late(last - sequence);
                return None;
            }
            Some(last) => sequence - last - 1,
            None => 0,
        };
        if self.state == State::Armed && missed == 0 && self.last_sequence.is_some() {
            self.measure(now.saturating_since(self.last_beat));
        }
        self.last_sequence = Some(sequence);
        self.last_beat = now;
        self.window.heard(missed);
        self.deaf_beats = if deaf { self.deaf_beats + 1 } else { 0 };
        if self.state == State::Failed {
            return self.count_towards_clear(now, missed, deaf);
        }
        self.arm(now);
        let lossy = self.window.is_lossy(0) && now >= self.loss_rests_until;
        (lossy || self.deaf_beats >= limits::STEADY_BEATS).then_some(Action::Conclude)
    }

    /// A hint that the subject's process is gone. Those who restart at once keep their place: that
    /// another process answers only spares the probes, when the silence has lasted.
    pub fn on_gone(&mut self, hint: Gone) -> Option<Action> {
        if !matches!(self.state, State::Armed | State::Probing { .. }) {
            return None;
        }
        let counts = match hint {
            Gone::Refused => self.knocked,
            Gone::Closed => true,
            Gone::Restarted => {
                self.restarted = true;
                false
            }
        };
        counts.then_some(Action::Conclude)
    }

    /// The subject answered a probe. It brings a failed edge no nearer to clear: only beats do.
    pub fn on_answer(&mut self, now: Instant) {
        if self.state != State::Failed {
            self.arm(now);
        }
    }

    /// Another observer reports the subject: its silence counts from the shortest deadline on, at once if
    /// that has passed. Never sooner: one observer that missed the last beat before a short pause of the subject's
    /// would else make all others report that pause.
    pub fn on_report_of_another(&mut self, now: Instant) -> Option<Action> {
        if self.state != State::Armed {
            return None;
        }
        self.hastened = true;
        (now >= self.silence_deadline()).then(|| self.begin_probing(now))
    }

    /// Time has passed.
    pub fn on_timer(&mut self, now: Instant) -> Option<Action> {
        match self.state {
            State::Opening { until } if now >= until => {
                // No beat could be missed before.
                self.last_beat = now;
                Some(self.begin_probing(now))
            }
            State::Armed if now >= self.loss_deadline() => Some(Action::Conclude),
            State::Armed if now >= self.silence_deadline() && self.restarted => {
                Some(Action::Conclude)
            }
            State::Armed if now >= self.silence_deadline() => Some(self.begin_probing(now)),
            State::Armed if !self.knocked && now >= self.knock_deadline() => {
                self.knocked = true;
                Some(Action::Knock)
            }
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
            // What was lost is not forgotten: whoever is deaf has to notice.
            self.rest(now);
            self.deaf_beats = 0;
            self.loss_rests_until = now + self.silence();
        }
        observer_is_well
    }

    /// The observer itself was away (a pause, a late timer): silence so far, and what was lost
    /// meanwhile, says nothing.
    pub fn forget_silence(&mut self, now: Instant) {
        self.rest(now);
        self.last_beat = now;
        self.window = Window::default();
        if self.state != State::Failed {
            self.last_sequence = None;
        }
    }

    fn rest(&mut self, now: Instant) {
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
        self.last_beat = self.last_beat + by;
    }

    /// When [`Edge::on_timer`] has something to do.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Opening { until } => Some(until),
            State::Armed if !self.knocked && self.is_fresh() => Some(self.knock_deadline()),
            State::Armed => {
                let silence = self.silence_deadline().min(self.loss_deadline());
                Some(match self.knocked {
                    true => silence,
                    false => silence.min(self.knock_deadline()),
                })
            }
            State::Probing { next, .. } => Some(next),
            State::Failed => None,
        }
    }

    /// The last beat came and few are missing: the knock, within two beats, comes before all else. Silence needs
    /// [`limits::SILENCE_BEATS_MIN`], and loss at least three more that fail.
    fn is_fresh(&self) -> bool {
        const _: () = assert!(limits::SILENCE_BEATS_MIN >= 2 && limits::KNOCK_PART >= 1);
        self.last_beat == self.last_arrival && !self.window.is_lossy(2)
    }

    fn silence_deadline(&self) -> Instant {
        let silence = match self.hastened {
            true => self.interval * limits::SILENCE_BEATS_MIN,
            false => self.silence(),
        };
        self.last_arrival + silence
    }

    fn loss_deadline(&self) -> Instant {
        (self.last_beat + self.window.silence(self.interval)).max(self.loss_rests_until)
    }

    fn knock_deadline(&self) -> Instant {
        self.last_arrival + self.interval + self.interval / limits::KNOCK_PART
    }

    /// Both follow what is measured by an eighth; what is beyond two intervals is somebody's pause.
    fn measure(&mut self, between: Duration) {
        let between = between.min(self.interval * 2);
        let deviation = between.abs_diff(self.between);
        self.between = (self.between * (GAIN - 1) + between) / GAIN;
        self.deviation = (self.deviation * (GAIN - 1) + deviation) / GAIN;
    }

    /// Silence after which the subject is probed.
    fn silence(&self) -> Duration {
        let margin = self.interval * MARGIN_BEATS + self.deviation * MARGIN_DEVIATIONS;
        (self.between + margin).clamp(
            self.interval * limits::SILENCE_BEATS_MIN,
            self.interval * limits::SILENCE_BEATS_MAX,
        )
    }

    fn arm(&mut self, now: Instant) {
        if matches!(self.state, State::Opening { .. }) {
            self.last_beat = now;
        }
        self.state = State::Armed;
        self.last_arrival = now;
        self.knocked = false;
        self.restarted = false;
        self.hastened = false;
    }

    fn begin_probing(&mut self, now: Instant) -> Action {
        self.state = State::Probing {
            sent: 1,
            next: now + probe_interval(self.interval),
            since: now,
        };
        Action::Probe
    }

    fn count_towards_clear(&mut self, now: Instant, missed: u32, deaf: bool) -> Option<Action> {
        if deaf {
            self.heard = 0;
            return None;
        }
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
