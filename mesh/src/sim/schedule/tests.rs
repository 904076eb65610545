#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::*;

/// Beside a sorted set: near and far, at the same instant, pushed while others are taken out.
#[test]
fn order_is_that_of_a_sorted_set() {
    for seed in 0..20 {
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        let (mut schedule, mut model) = (Schedule::new(), BTreeSet::new());
        let (mut now, mut number) = (0, 0_u64);
        for _ in 0..20_000 {
            if rng.random_range(0..5) < 3 {
                let reaches: [u64; 5] = [1, 300, 5_000, 1_500_000, 60_000_000];
                let reach = *reaches.get(rng.random_range(0..5)).unwrap();
                let at = now + rng.random_range(0..reach);
                number += 1;
                schedule.push(Instant::from_micros(at), number);
                model.insert((at, number));
            } else {
                let end = now + rng.random_range(0..400_000);
                let expected = model.first().copied().filter(|(at, _)| *at <= end);
                let found = schedule.pop_until(Instant::from_micros(end));
                assert_eq!(found.map(|(at, what)| (at.as_micros(), what)), expected);
                match expected {
                    Some(first) => {
                        model.remove(&first);
                        now = first.0;
                    }
                    None => now = end,
                }
            }
            assert_eq!(schedule.len(), model.len());
        }
        while let Some(first) = model.pop_first() {
            let (at, what) = schedule.pop_until(Instant::from_micros(u64::MAX)).unwrap();
            assert_eq!((at.as_micros(), what), first);
        }
        assert!(schedule.pop_until(Instant::from_micros(u64::MAX)).is_none());
    }
}
