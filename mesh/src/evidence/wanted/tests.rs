#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;
use crate::identity::{MemberId, Uid};

const A: ConnectionId = ConnectionId(1);
const B: ConnectionId = ConnectionId(2);
const C: ConnectionId = ConnectionId(3);

fn at(ms: u64) -> Instant {
    Instant::from_micros(ms * 1000)
}

fn signer(n: u64) -> SignerTag {
    SignerTag::of(MemberId {
        uid: Uid::from_bytes(u128::from(n).to_be_bytes()),
        incarnation: 1,
    })
}

fn entry(n: u64, sequence: u64) -> SummaryEntry {
    let signer = signer(n);
    SummaryEntry { signer, sequence }
}

/// How many of these are to be asked for.
fn offer(wanted: &mut Wanted, now: Instant, from: ConnectionId, entries: &[SummaryEntry]) -> usize {
    wanted.offer(now, from, entries.iter().copied()).len()
}

fn again(wanted: &mut Wanted, now: Instant) -> Vec<(ConnectionId, Vec<SignerTag>)> {
    wanted.ask_again(now, |_| true).into_iter().collect()
}

#[test]
fn what_several_offer_is_asked_for_once() {
    let mut wanted = Wanted::default();
    assert_eq!(offer(&mut wanted, at(0), A, &[entry(1, 1), entry(2, 1)]), 2);
    assert_eq!(offer(&mut wanted, at(1), B, &[entry(1, 1), entry(3, 1)]), 1);
    for n in 1..=3 {
        wanted.settle(entry(n, 1));
    }
    assert!(wanted.is_empty());
    assert_eq!(wanted.deadline(), None);
}

#[test]
fn who_does_not_send_it_is_followed_by_the_next_that_offered_it_and_patience_grows() {
    let mut wanted = Wanted::default();
    for from in [A, B, B, C] {
        offer(&mut wanted, at(0), from, &[entry(1, 1)]);
    }
    let first = at(0) + limits::WANTED_PATIENCE;
    assert_eq!(wanted.deadline(), Some(first));
    assert_eq!(again(&mut wanted, at(1)), []);
    assert_eq!(again(&mut wanted, first), [(B, vec![signer(1)])]);
    let second = first + limits::WANTED_PATIENCE * 2;
    assert_eq!(wanted.deadline(), Some(second));
    let gone = wanted.ask_again(second, |peer| peer != C);
    assert!(gone.is_empty() && wanted.is_empty(), "nobody is left");
    assert_eq!(offer(&mut wanted, at(900), A, &[entry(1, 1)]), 1);
}

#[test]
fn what_came_meanwhile_is_not_asked_for_again_and_what_is_newer_is() {
    let mut wanted = Wanted::default();
    offer(&mut wanted, at(0), A, &[entry(1, 1), entry(2, 1)]);
    offer(&mut wanted, at(0), B, &[entry(1, 1), entry(2, 2)]);
    wanted.settle(entry(1, 1));
    wanted.settle(entry(2, 1));
    assert_eq!(again(&mut wanted, at(900)), [(B, vec![signer(2)])]);
}

/// It offers more and more of what it never sends, and sends something old.
#[test]
fn a_liar_neither_ends_the_search_nor_makes_it_longer() {
    let mut wanted = Wanted::default();
    assert_eq!(offer(&mut wanted, at(0), A, &[entry(1, u64::MAX - 99)]), 1);
    for ms in 1..49 {
        assert_eq!(
            offer(&mut wanted, at(ms), A, &[entry(1, u64::MAX - 50 + ms)]),
            0
        );
        offer(&mut wanted, at(ms), B, &[entry(1, 7)]);
        wanted.settle(entry(1, 6));
    }
    let asked_of = [(); 2].map(|()| {
        let due = wanted.deadline().unwrap();
        again(&mut wanted, due)[0].0
    });
    assert_eq!(asked_of, [B, A], "it has had its turn");
}

#[test]
fn beyond_the_limit_is_asked_and_not_remembered() {
    let mut wanted = Wanted::default();
    let many: Vec<_> = (0..limits::WANTED_MAX as u64)
        .map(|n| entry(n, 1))
        .collect();
    assert_eq!(offer(&mut wanted, at(0), A, &many), limits::WANTED_MAX);
    let more = entry(1 << 40, 1);
    for from in [A, B] {
        assert_eq!(offer(&mut wanted, at(1), from, &[more, more]), 1);
    }
    assert_eq!(wanted.len(), limits::WANTED_MAX);
}
