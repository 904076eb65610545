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

fn offer(
    wanted: &mut Wanted,
    now: Instant,
    from: ConnectionId,
    entries: &[SummaryEntry],
) -> Vec<SignerTag> {
    wanted.offer(now, from, entries.iter().copied())
}

fn again(wanted: &mut Wanted, now: Instant) -> Vec<(ConnectionId, Vec<SignerTag>)> {
    wanted.ask_again(now, |_| true).into_iter().collect()
}

#[test]
fn what_several_offer_is_asked_for_once() {
    let mut wanted = Wanted::default();
    assert_eq!(
        offer(&mut wanted, at(0), A, &[entry(1, 1), entry(2, 1)]),
        [signer(1), signer(2)]
    );
    assert_eq!(
        offer(&mut wanted, at(1), B, &[entry(1, 1), entry(3, 1)]),
        [signer(3)]
    );
    assert_eq!(
        offer(&mut wanted, at(1), B, &[entry(2, 2)]),
        [signer(2)],
        "a newer one"
    );
    for n in 1..=3 {
        wanted.came(signer(n));
    }
    assert!(wanted.is_empty());
    assert_eq!(wanted.deadline(), None);
}

#[test]
fn who_does_not_send_it_is_followed_by_the_next_that_offered_it() {
    let mut wanted = Wanted::default();
    for from in [A, B, B, C] {
        offer(&mut wanted, at(0), from, &[entry(1, 1)]);
    }
    let patience = limits::WANTED_PATIENCE;
    assert_eq!(wanted.deadline(), Some(at(0) + patience));
    assert_eq!(again(&mut wanted, at(1)), []);
    assert_eq!(again(&mut wanted, at(0) + patience), [(B, vec![signer(1)])]);
    assert_eq!(wanted.deadline(), Some(at(0) + patience * 2));
    let gone = wanted.ask_again(at(0) + patience * 2, |peer| peer != C);
    assert!(gone.is_empty() && wanted.is_empty(), "nobody is left");
    assert_eq!(offer(&mut wanted, at(900), A, &[entry(1, 1)]), [signer(1)]);
}

#[test]
fn what_came_meanwhile_is_not_asked_for_again() {
    let mut wanted = Wanted::default();
    for from in [A, B] {
        offer(&mut wanted, at(0), from, &[entry(1, 1), entry(2, 1)]);
    }
    wanted.came(signer(2));
    assert_eq!(again(&mut wanted, at(900)), [(B, vec![signer(1)])]);
}

#[test]
fn beyond_the_limit_is_asked_and_not_remembered() {
    let mut wanted = Wanted::default();
    let many: Vec<_> = (0..limits::WANTED_MAX as u64)
        .map(|n| entry(n, 1))
        .collect();
    assert_eq!(
        offer(&mut wanted, at(0), A, &many).len(),
        limits::WANTED_MAX
    );
    let more = entry(1 << 40, 1);
    for from in [A, B] {
        assert_eq!(offer(&mut wanted, at(1), from, &[more]), [more.signer]);
    }
    for sequence in 2..9 {
        offer(&mut wanted, at(1), B, &[entry(1, sequence)]);
    }
    assert_eq!(wanted.len(), limits::WANTED_MAX);
}
