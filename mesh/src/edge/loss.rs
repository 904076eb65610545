//! Which of the last ten beats are missing, by their sequence numbers.
//!
//! ```text
//!   newest ─┐                    a beat counts as missing when a later one is there,
//!           ▼                    or when it is a whole interval late
//!   . x . . x x . x x x          "." arrived, "x" missing: 6 of 10, the edge fails
//! ```
//!
//! A deadline follows what it measures, so it could get used to a sick edge; this rule cannot. It also
//! finds the mute: whoever answers probes and beats nobody.
//!
//! Mistakes: a window enters "6 of 10" at one beat with the chance `126 p^6 (1-p)^5` where a share p of
//! the beats is lost. That is once in 45 minutes an edge at p = 10 %, once in 50 years at 1 %; a verdict needs
//! 70 % of ten such edges at once.

use std::time::Duration;

use crate::limits;

const MASK: u16 = (1 << limits::LOSS_WINDOW_BEATS) - 1;

/// The last beats; a bit is one that is missing, the lowest is the newest.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Window {
    missing: u16,
    /// Of how many it is known, ten at most: a new edge, or one after a pause, has a window still to fill.
    known: u32,
}

impl Window {
    /// A beat arrived, and so many before it did not.
    pub(super) fn heard(&mut self, missed: u32) {
        self.missing = (pushed(self.missing, missed) << 1) & MASK;
        self.known = self.known_with(missed.saturating_add(1));
    }

    /// A beat arrived after so many later ones: it was overtaken, not lost.
    pub(super) fn heard_late(&mut self, behind: u32) {
        self.missing &= !1_u16.checked_shl(behind).unwrap_or(0);
    }

    /// Whether the edge is lossy, with so many more beats overdue. What is not known counts as heard: nobody is
    /// accused for it.
    pub(super) fn is_lossy(self, overdue: u32) -> bool {
        pushed(self.missing, overdue).count_ones() >= limits::LOSS_BEATS
    }

    /// Whether as many arrive as a deaf member does not hear: nothing until the beats that are known decide it.
    pub(super) fn delivers(self, overdue: u32) -> Option<bool> {
        let missing = pushed(self.missing, overdue).count_ones();
        let heard = self.known_with(overdue).saturating_sub(missing);
        let enough = heard >= limits::HEARING_BEATS;
        let too_few = limits::LOSS_WINDOW_BEATS - missing < limits::HEARING_BEATS;
        (enough || too_few).then_some(enough)
    }

    /// Silence after the last beat that makes the edge lossy.
    pub(super) fn silence(self, interval: Duration) -> Duration {
        // Each beat that is overdue adds one at most, and this is asked for every beat of every edge.
        let fewest = limits::LOSS_BEATS.saturating_sub(self.missing.count_ones());
        let more = (fewest..limits::LOSS_WINDOW_BEATS).find(|more| self.is_lossy(*more));
        interval * (more.unwrap_or(limits::LOSS_WINDOW_BEATS) + 1)
    }

    fn known_with(self, more: u32) -> u32 {
        self.known
            .saturating_add(more)
            .min(limits::LOSS_WINDOW_BEATS)
    }
}

/// Beats that are overdue after that silence: each when it is a whole interval late.
pub(super) fn overdue(silence: Duration, interval: Duration) -> u32 {
    let beats = silence.as_micros() / interval.as_micros().max(1);
    u32::try_from(beats).unwrap_or(u32::MAX).saturating_sub(1)
}

fn pushed(bits: u16, missing: u32) -> u16 {
    if missing >= limits::LOSS_WINDOW_BEATS {
        return MASK;
    }
    ((bits << missing) | ((1 << missing) - 1)) & MASK
}
