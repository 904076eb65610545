#![allow(clippy::unwrap_used)]

use super::*;

const NOW: Instant = Instant::from_micros(1_000_000);

fn peer(number: u64) -> ConnectionId {
    ConnectionId(number)
}

#[test]
fn the_nearest_is_asked_at_once_and_only_once() {
    let mut pull = Pull::default();
    let later = NOW + Duration::from_millis(20);
    pull.offer((0, 7), peer(1), later);
    assert_eq!((pull.ask(NOW), pull.deadline()), (None, Some(later)));
    pull.offer((0, 7), peer(2), NOW);
    pull.offer((0, 7), peer(2), NOW);
    assert_eq!(pull.ask(NOW), Some(peer(2)));
    assert_eq!(pull.asked_at(peer(2)), Some(NOW));
    assert_eq!((pull.asked_at(peer(1)), pull.ask(NOW)), (None, None));
}

#[test]
fn who_does_not_answer_is_not_waited_for_and_pauses_double() {
    let mut pull = Pull::default();
    (1..=4).for_each(|number| pull.offer((0, 7), peer(number), NOW));
    assert!(pull.ask(NOW).is_some());
    let second = NOW + limits::PULL_PAUSE_MIN;
    assert_eq!(pull.deadline(), Some(second));
    assert!(pull.ask(second).is_some());
    assert_eq!(pull.deadline(), Some(second + limits::PULL_PAUSE_MIN * 2));
}

#[test]
fn the_map_settles_it_and_an_older_one_does_not() {
    let mut pull = Pull::default();
    pull.offer((0, 7), peer(1), NOW);
    pull.settle((0, 6));
    assert!(pull.deadline().is_some());
    pull.settle((0, 7));
    assert_eq!((pull.deadline(), pull.len()), (None, 0));
    pull.offer((0, 8), peer(1), NOW);
    pull.settle((1, 0));
    assert_eq!(pull.deadline(), None, "a later era is newer");
}

/// Somebody who claims an epoch far ahead is asked in vain; the others are asked all the same.
#[test]
fn a_false_offer_hides_no_true_one() {
    let mut pull = Pull::default();
    pull.offer((0, u64::MAX), peer(1), NOW);
    pull.offer((0, 7), peer(2), NOW);
    assert_eq!(pull.ask(NOW), Some(peer(1)));
    assert_eq!(pull.ask(NOW + limits::PULL_PAUSE_MIN), Some(peer(2)));
}

#[test]
fn offers_are_bounded() {
    let mut pull = Pull::default();
    for number in 0..1000 {
        pull.offer((0, number), peer(number), NOW);
        assert!(pull.len() <= limits::CONNECTIONS_MAX);
    }
}
