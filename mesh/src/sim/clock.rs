//! A node's own clock: monotonic, a little too fast or too slow, and ahead after a jump.

use std::time::Duration;

use crate::time::Instant;

const MILLION: i64 = 1_000_000;

/// A clock that ran by the true time up to `since`, and by its own rate from then on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clock {
    since: Instant,
    /// How far it was ahead then, in microseconds.
    ahead_micros: i64,
    /// Microseconds that it gains in a second.
    gains_per_million: i64,
}

impl Clock {
    /// From now on it gains so many microseconds a second.
    pub(super) fn set_rate(&mut self, now: Instant, gains_per_million: i32) {
        self.ahead_micros = self.ahead(now);
        self.since = now;
        // A rate that is as good as standing still, or backwards, is no clock.
        self.gains_per_million = i64::from(gains_per_million).clamp(-MILLION / 2, MILLION);
    }

    /// It jumps ahead, as after the sleep of a virtual machine. (A monotonic clock never jumps back.)
    pub(super) fn step(&mut self, by: Duration) {
        let by = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        self.ahead_micros = self.ahead_micros.saturating_add(by);
    }

    /// What it shows at a moment.
    pub(super) fn shows(&self, at: Instant) -> Instant {
        Instant::from_micros(at.as_micros().saturating_add_signed(self.ahead(at)))
    }

    /// The first moment at which it shows at least that.
    pub(super) fn moment_of(&self, shown: Instant) -> Instant {
        if self.gains_per_million == 0 {
            let ahead = self.ahead_micros;
            return Instant::from_micros(shown.as_micros().saturating_add_signed(-ahead));
        }
        let shown_since = self.shows(self.since);
        let own = i128::from(shown.saturating_since(shown_since).as_micros() as u64);
        let rate = i128::from(MILLION + self.gains_per_million);
        let true_time = (own * i128::from(MILLION) + rate - 1).div_euclid(rate);
        self.since + Duration::from_micros(u64::try_from(true_time).unwrap_or(u64::MAX / 4))
    }

    fn ahead(&self, at: Instant) -> i64 {
        if self.gains_per_million == 0 {
            return self.ahead_micros;
        }
        let passed = i128::from(at.saturating_since(self.since).as_micros() as u64);
        let gained = (passed * i128::from(self.gains_per_million)).div_euclid(i128::from(MILLION));
        self.ahead_micros
            .saturating_add(i64::try_from(gained).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_and_its_inverse_agree() {
        for rate in [-500_000, -200, 0, 1, 200, 10_000] {
            let mut clock = Clock::default();
            clock.step(Duration::from_secs(3));
            clock.set_rate(Instant::from_micros(5_000_000), rate);
            for at in [5_000_000, 5_000_001, 6_000_000, 3_600_000_000] {
                let shown = clock.shows(Instant::from_micros(at));
                let moment = clock.moment_of(shown);
                assert!(clock.shows(moment) >= shown, "rate {rate}, at {at}");
                assert!(moment.as_micros() <= at, "rate {rate}, at {at}");
                assert!(at - moment.as_micros() <= 2, "rate {rate}, at {at}");
            }
        }
        let mut clock = Clock::default();
        clock.set_rate(Instant::ZERO, 10_000);
        assert_eq!(
            clock.shows(Instant::from_micros(1_000_000)).as_micros(),
            1_010_000
        );
    }
}
