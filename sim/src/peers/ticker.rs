//! A clock that ticks at a fixed pace, as Go's does: one tick waits for who is busy, further ones are lost.

use std::time::Duration;

use slotmesh_mesh::time::Instant;

/// The ticks.
#[derive(Clone, Copy, Debug)]
pub struct Ticker {
    next: Instant,
    pace: Duration,
}

impl Ticker {
    /// Ticks at `first` and at that pace from then on.
    pub fn new(first: Instant, pace: Duration) -> Self {
        Self { next: first, pace }
    }

    /// When it ticks next.
    pub fn next(&self) -> Instant {
        self.next
    }

    /// Whether it has ticked; who comes late finds one tick, however many there were.
    pub fn take(&mut self, now: Instant) -> bool {
        if self.next > now {
            return false;
        }
        let pace = u64::try_from(self.pace.as_micros()).unwrap_or(u64::MAX);
        let late = now.as_micros() - self.next.as_micros();
        let ticks = late / pace.max(1) + 1;
        self.next = Instant::from_micros(self.next.as_micros() + ticks * pace);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_tick_waits_and_the_pace_stays() {
        let second = |seconds: u64| Instant::from_micros(seconds * 1_000_000);
        let mut ticker = Ticker::new(second(1), Duration::from_secs(1));
        assert!(!ticker.take(Instant::from_micros(999_999)));
        assert!(ticker.take(second(1)));
        assert!(!ticker.take(second(1)));
        assert!(ticker.take(Instant::from_micros(4_500_000)));
        assert!(!ticker.take(Instant::from_micros(4_500_000)));
        assert_eq!(ticker.next(), second(5));
    }
}
