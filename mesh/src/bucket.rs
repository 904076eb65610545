//! A bucket that leaks: so much at once, and then no more than leaks out of it.

use std::time::Duration;

use crate::time::Instant;

/// What is in it, and since when that much.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bucket {
    level: u32,
    since: Instant,
}

impl Bucket {
    /// What is left when one leaks in each of these times.
    pub(crate) fn level(&mut self, now: Instant, each: Duration) -> u32 {
        let leaks = now.saturating_since(self.since).as_micros() / each.as_micros().max(1);
        match u32::try_from(leaks) {
            Ok(leaks) if leaks < self.level => {
                self.level -= leaks;
                self.since = self.since + each * leaks;
            }
            _ => (self.level, self.since) = (0, now),
        }
        self.level
    }

    /// So many go in. Into an empty one at `now`: before that nothing could leak.
    pub(crate) fn pour(&mut self, now: Instant, more: u32) {
        if self.level == 0 {
            self.since = now;
        }
        self.level = self.level.saturating_add(more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_leaks_one_at_a_time_and_loses_no_part_of_a_time() {
        let each = Duration::from_millis(10);
        let at = |ms: u64| Instant::from_micros(7_000_000 + ms * 1000);
        let mut bucket = Bucket::default();
        bucket.pour(at(0), 3);
        for (ms, left) in [(9, 3), (14, 2), (19, 2), (20, 1), (30, 0)] {
            assert_eq!(bucket.level(at(ms), each), left, "after {ms} ms");
        }
        bucket.pour(at(500), 1);
        assert_eq!(bucket.level(at(509), each), 1, "it was empty before");
    }
}
