//! How well a member thinks it does itself (Lifeguard's local health): the worse, the longer its probes may take.

use std::time::Duration;

use super::config::AWARENESS_MAX_MULTIPLIER;

/// The score: 0 is well.
#[derive(Clone, Copy, Debug, Default)]
pub struct Awareness {
    score: u32,
}

impl Awareness {
    /// Adds so much to the score; it stays between 0 and one below the multiplier.
    pub fn apply(&mut self, delta: i32) {
        let score = self.score.saturating_add_signed(delta);
        self.score = score.min(AWARENESS_MAX_MULTIPLIER - 1);
    }

    /// A time, as many times as the score is bad.
    pub fn scale(&self, time: Duration) -> Duration {
        time * (self.score + 1)
    }
}
