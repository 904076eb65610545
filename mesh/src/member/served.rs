//! Statements that a peer was sent because it asked for them.
//!
//! A bucket that leaks: of a peer that asks for everything again and again, more than an honest one has reason to,
//! each connection is sent [`limits::SERVED_BURST`] at once, and then no more than leaks.

use crate::limits;
use crate::time::Instant;

/// How full the bucket was, and when.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Served {
    level: u32,
    since: Instant,
}

impl Served {
    /// How many of so many may be sent now; they count as sent.
    pub(super) fn take(&mut self, now: Instant, asked: usize) -> usize {
        let leak = limits::SERVED_REFILL / limits::SERVED_BURST;
        let leaks = now.saturating_since(self.since).as_micros() / leak.as_micros().max(1);
        match u32::try_from(leaks) {
            Ok(leaks) if leaks < self.level => {
                self.level -= leaks;
                self.since = self.since + leak * leaks;
            }
            _ => (self.level, self.since) = (0, now),
        }
        let room = limits::SERVED_BURST.saturating_sub(self.level);
        let taken = u32::try_from(asked).map_or(room, |asked| asked.min(room));
        self.level += taken;
        usize::try_from(taken).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_emptied_at_once_and_refilled_in_time() {
        let start = Instant::from_micros(7_000_000);
        let mut served = Served::default();
        assert_eq!(served.take(start, 3), 3);
        let burst = limits::SERVED_BURST as usize;
        assert_eq!(served.take(start, usize::MAX), burst - 3);
        assert_eq!(served.take(start, 1), 0);
        let half = start + limits::SERVED_REFILL / 2;
        let refilled = served.take(half, usize::MAX);
        assert!(refilled.abs_diff(burst / 2) <= 1, "{refilled}");
        let later = half + limits::SERVED_REFILL * 10;
        assert_eq!(served.take(later, usize::MAX), burst);
    }
}
