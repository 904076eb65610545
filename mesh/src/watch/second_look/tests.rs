#![allow(clippy::indexing_slicing)]

use super::*;

fn id(n: u8) -> MemberId {
    MemberId {
        uid: Uid::from_bytes([n; 16]),
        incarnation: 1,
    }
}

fn at(seconds: u64) -> Instant {
    Instant::from_micros(seconds * 1_000_000)
}

#[test]
fn silence_counts_from_the_finding_and_starts_afresh_with_an_answer() {
    let mut look = SecondLook::default();
    look.set(at(10), &BTreeSet::from([id(1), id(2)]));
    look.set(at(12), &BTreeSet::from([id(1), id(2)]));
    look.hear(at(13), id(2).uid);
    let expected = vec![
        (id(1), Duration::from_secs(5)),
        (id(2), Duration::from_secs(2)),
    ];
    assert_eq!(look.silence(at(15)), expected);
}

#[test]
fn who_is_found_no_more_is_looked_at_no_more() {
    let mut look = SecondLook::default();
    look.set(at(0), &BTreeSet::from([id(1), id(2)]));
    look.set(at(1), &BTreeSet::from([id(2)]));
    assert!(!look.contains(id(1).uid));
    // Found again: its silence counts from then.
    look.set(at(9), &BTreeSet::from([id(1), id(2)]));
    assert_eq!(look.silence(at(9))[0], (id(1), Duration::ZERO));
}

#[test]
fn an_operator_that_slept_holds_nothing_against_anybody() {
    let mut look = SecondLook::default();
    look.set(at(0), &BTreeSet::from([id(1)]));
    look.forget_silence(at(60));
    assert_eq!(look.silence(at(61)), vec![(id(1), Duration::from_secs(1))]);
}

#[test]
fn no_more_are_looked_at_than_the_limit() {
    let mut look = SecondLook::default();
    let many = |from: u8| (from..200).map(id).collect::<BTreeSet<_>>();
    look.set(at(0), &many(0));
    assert_eq!(look.silence(at(0)).len(), limits::SECOND_LOOKS_MAX);
}
