#![allow(clippy::indexing_slicing)]

use proptest::prelude::*;
use slotmesh_map::fixture::map;

use super::*;

fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn counts(ages: &[u64]) -> Counts {
    let mut sum = Counts::default();
    ages.iter()
        .for_each(|ms| sum.add(&Counts::one(millis(*ms))));
    sum
}

#[test]
fn shares_are_read_off_the_buckets() {
    let mut told = Convergence::of(&map(10), &map(10), Instant::ZERO);
    assert_eq!(
        (told.members, told.reached(50), told.is_complete()),
        (10, None, false)
    );
    told.counts = counts(&[0, 3, 3, 4, 9, 9, 24, 24, 24]);
    assert_eq!(told.reached(50), Some(millis(10)));
    assert_eq!((told.reached(99), told.is_complete()), (None, false));
    told.counts.add(&Counts::one(millis(400)));
    assert_eq!(told.reached(100), Some(millis(500)));
    assert!(told.is_complete());
}

#[test]
fn what_took_longer_than_all_buckets_is_counted_without_a_time() {
    let mut told = Convergence::of(&map(1), &map(1), Instant::ZERO);
    told.counts = counts(&[10_001]);
    assert!(told.is_complete());
    assert_eq!(told.reached(100), None);
}

#[test]
fn only_who_stayed_has_to_apply_a_map() {
    let before = map(4);
    let mut after = map(5);
    after.members[0].failed = true;
    after.members[1].incarnation += 1;
    assert_eq!(Convergence::of(&before, &after, Instant::ZERO).members, 2);
    let nobody = Convergence::of(&map(0), &map(3), Instant::ZERO);
    assert_eq!(
        (nobody.members, nobody.reached(100)),
        (0, Some(Duration::ZERO))
    );
}

proptest! {
    /// Sums do not depend on the way that counts took.
    #[test]
    fn adding_commutes_and_associates(a in prop::collection::vec(0_u64..20_000, 0..9), b in prop::collection::vec(0_u64..20_000, 0..9), c in prop::collection::vec(0_u64..20_000, 0..9)) {
        let (a, b, c) = (counts(&a), counts(&b), counts(&c));
        let sum = |parts: [&Counts; 3]| {
            let mut sum = Counts::default();
            parts.into_iter().for_each(|part| sum.add(part));
            sum
        };
        prop_assert_eq!(sum([&a, &b, &c]), sum([&c, &a, &b]));
        prop_assert_eq!(sum([&a, &b, &c]), sum([&sum([&b, &c, &Counts::default()]), &a, &Counts::default()]));
        prop_assert_eq!(sum([&a, &b, &c]).total(), a.total() + b.total() + c.total());
    }
}
