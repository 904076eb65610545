#![allow(clippy::unwrap_used)]

use super::*;
use crate::member::settled::{agent, at};

const NOW: Instant = at(1000);

#[test]
fn what_was_used_up_is_kept_and_leaks() {
    let mut parted = Parted::default();
    let mut allowance = parted.recall(NOW, agent(1));
    let all = limits::SERVED_BURST as usize;
    assert_eq!(allowance.serve(NOW, all), all);
    parted.remember(agent(1), allowance);
    let mut other = parted.recall(NOW, agent(2));
    assert_eq!(other.serve(NOW, all), all, "each has its own");
    let mut back = parted.recall(NOW, agent(1));
    assert_eq!((back.serve(NOW, all), parted.len()), (0, 0));
    parted.remember(agent(1), back);
    let mut later = parted.recall(NOW + limits::SERVED_REFILL / 2, agent(1));
    let half = later.serve(NOW + limits::SERVED_REFILL / 2, all);
    assert!((all / 2 - 2..=all / 2 + 2).contains(&half), "{half}");
}

/// Each of the four, and the summary.
#[test]
fn what_has_leaked_is_forgotten() {
    let use_up: [fn(&mut Allowance); 5] = [
        |it| assert_eq!(it.serve(NOW, 1), 1),
        |it| it.send_map(NOW, WHOLE_MAP),
        |it| assert!(it.read_map(NOW)),
        |it| it.forge(NOW, limits::FORGED_MAX),
        |it| assert!(it.summarize(NOW)),
    ];
    for (number, use_up) in (1..).zip(use_up) {
        let (mut parted, mut allowance) = (Parted::default(), Allowance::default());
        use_up(&mut allowance);
        parted.remember(agent(number), allowance);
        let _ = parted.recall(NOW, agent(99));
        assert_eq!(parted.len(), 1, "the number {number} is kept");
        let longest = limits::FORGED_PAUSE * (limits::FORGED_MAX + limits::FORGED_MAP_WEIGHT);
        assert_eq!(longest.as_secs(), 20);
        let _ = parted.recall(NOW + longest, agent(99));
        assert_eq!(parted.len(), 0, "the number {number} has leaked");
    }
}

#[test]
fn so_many_are_remembered_at_most_and_no_operators() {
    let mut parted = Parted::default();
    let mut used = Allowance::default();
    used.forge(NOW, limits::FORGED_MAX);
    parted.remember(PeerIdentity::Operator, used.clone());
    assert_eq!(parted.len(), 0);
    let most = u16::try_from(limits::PARTED_MAX).unwrap();
    (0..=most).for_each(|number| parted.remember(agent(number), used.clone()));
    assert_eq!(parted.len(), limits::PARTED_MAX);
    assert!(!parted.recall(NOW, agent(0)).is_forger(NOW), "the oldest");
    assert!(parted.recall(NOW, agent(1)).is_forger(NOW));
}
