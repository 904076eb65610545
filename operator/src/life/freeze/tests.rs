#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;
use crate::life::tests::*;
use crate::life::{Life, Proposal};
use crate::seam::Inventory;

const REPLACED_MS: u64 = 60_000;
const CALM_MS: u64 = 30_000;

/// Five of ten are found dead.
fn frozen() -> (Life, Proposal) {
    let mut life = running(10);
    die(&mut life, 2000, 1..=5);
    let proposal = step(&mut life, 2300);
    (life, proposal)
}

fn percent(max_unhealthy_percent: u8) -> Policy {
    Policy {
        max_unhealthy_percent,
        ..Policy::default()
    }
}

/// Each of ten pods on its node, but those.
fn without(missing: std::ops::RangeInclusive<u8>, wanted: usize) -> Inventory {
    let pods: Vec<(u8, u8, bool)> = (1..=10)
        .filter(|n| !missing.contains(n))
        .map(|n| (n, n, true))
        .collect();
    inventory(wanted, &pods)
}

#[test]
fn a_mass_failure_is_recorded_and_nothing_is_re_homed() {
    let (mut life, proposal) = frozen();
    assert_eq!(causes(&life), [FrozenCause::MassFailure]);
    assert_eq!(
        (proposal.failed.len(), proposal.moves, proposal.failed_over),
        (5, 0, 0)
    );
    assert_eq!(proposal.map.members.len(), 10);
    assert_eq!(proposal.map.active().count(), 5);
    let held: u16 = (6..=10).map(|n| slots(&life, n).len()).sum();
    assert_eq!(
        proposal.map.served_slots(),
        held,
        "slots of the failed are not served"
    );
    let message = &life.frozen()[&FrozenCause::MassFailure];
    assert!(
        message.contains("5 of 10") && message.contains("agent-001"),
        "{message}"
    );
    assert!(message.contains("kubectl"), "{message}");
    assert_eq!(life.propose(at(9000), 0, 0), Ok(None), "recorded once");
}

#[test]
fn who_returns_keeps_its_slots_and_when_all_have_it_thaws() {
    let (mut life, before) = frozen();
    for n in 1..=5 {
        life.join(at(5000), candidate(n, 100 + n));
    }
    let back = step(&mut life, 5300);
    assert_eq!(
        (back.recovered.len(), back.moves, back.changed_node),
        (5, 0, 0)
    );
    assert_eq!(back.map.served_slots(), 16384);
    for n in 1..=10 {
        let slots_before = before.map.member(uid(n)).unwrap().slots();
        assert_eq!(slots(&life, n), slots_before);
    }
    assert!(life.frozen().is_empty());
}

#[test]
fn the_limit_itself_is_no_mass_failure_and_neither_is_one_of_one() {
    let mut life = running(10);
    die(&mut life, 2000, 1..=4);
    assert_eq!(step(&mut life, 2300).failed.len(), 4);
    assert!(life.frozen().is_empty());
    let mut pair = running(2);
    let dead = id(&pair, 2);
    pair.presume_dead(at(2000), dead);
    assert_eq!(step(&mut pair, 2300).presumed.len(), 1);
    assert!(pair.frozen().is_empty());
}

#[test]
fn who_asks_to_join_again_in_the_same_batch_does_not_count() {
    let mut life = running(10);
    die(&mut life, 2000, 1..=5);
    life.join(at(2100), candidate(1, 101));
    let proposal = step(&mut life, 2300);
    assert!(life.frozen().is_empty());
    assert_eq!(proposal.failed.len(), 4);
}

#[test]
fn who_raises_the_limit_does_not_wait() {
    let (mut life, _) = frozen();
    life.set_policy(at(5000), percent(60));
    let thawed = step(&mut life, 5300);
    assert!(life.frozen().is_empty());
    assert_eq!((thawed.dropped.len(), thawed.failed.len()), (5, 0));
    assert_eq!(
        (thawed.map.members.len(), thawed.map.served_slots()),
        (5, 16384)
    );
    assert_eq!(thawed.moves, thawed.failed_over);
    assert!(life.lost().contains(&uid(1)), "it may return");
}

#[test]
fn below_the_limit_it_thaws_after_a_calm_while() {
    let (mut life, _) = frozen();
    life.join(at(5000), candidate(1, 101));
    let back = step(&mut life, 5300);
    assert_eq!((back.recovered.len(), back.moves), (1, 0));
    assert_eq!(causes(&life), [FrozenCause::MassFailure]);
    assert_eq!(life.propose(at(5600), 0, 0), Ok(None));
    let thaws = 5300 + CALM_MS;
    assert_eq!(life.next_deadline(), Some(at(thaws)));
    assert_eq!(life.propose(at(thaws - 1), 0, 0), Ok(None));
    let thawed = step(&mut life, thaws);
    assert!(life.frozen().is_empty());
    assert_eq!(thawed.dropped.len(), 4);
    assert_eq!(thawed.map.served_slots(), 16384);
}

#[test]
fn while_frozen_newcomers_are_listed_and_hold_nothing() {
    let (mut life, _) = frozen();
    life.join(at(5000), candidate(11, 11));
    let joined = step(&mut life, 5300);
    assert_eq!(
        (joined.joined.len(), joined.moves, slots(&life, 11).len()),
        (1, 0, 0)
    );
}

#[test]
fn while_frozen_a_leaver_goes_and_its_slots_wait() {
    let (mut life, _) = frozen();
    let (leaver, held) = (id(&life, 6), slots(&life, 6));
    life.leave(at(5000), leaver);
    let left = step(&mut life, 5300);
    assert_eq!((left.left.len(), left.moves), (1, 0));
    life.set_policy(at(6000), percent(80));
    let thawed = step(&mut life, 6300);
    assert_eq!(thawed.map.served_slots(), 16384);
    assert!(thawed.moves >= held.len());
}

#[test]
fn all_pods_deleted_and_made_again_never_freeze() {
    let mut life = running(10);
    let before: Vec<_> = (1..=10).map(|n| slots(&life, n)).collect();
    life.set_inventory(at(1000), &without(1..=10, 10));
    for n in 1..=10 {
        life.pod_gone(at(2000), uid(n));
    }
    assert_eq!(
        life.propose(at(2300), 0, 0),
        Ok(None),
        "others will take over"
    );
    let made: Vec<_> = (1..=10).map(|n| (20 + n, n, true)).collect();
    life.set_inventory(at(3000), &inventory(10, &made));
    for (batch, ms) in [(1..=3, 5000), (4..=10, 8000)] {
        for n in batch.clone() {
            life.join(at(ms), successor(20 + n, n));
        }
        let proposal = step(&mut life, ms + 300);
        assert!(life.frozen().is_empty());
        assert_eq!((proposal.moves, proposal.changed_node), (0, 0));
        assert_eq!(proposal.inherited_from.len(), batch.count());
    }
    for n in 1..=10 {
        assert_eq!(slots(&life, 20 + n), before[usize::from(n) - 1]);
    }
}

#[test]
fn replacements_that_never_come_are_failures_after_a_minute() {
    let mut life = running(10);
    for n in 1..=5 {
        life.pod_gone(at(2000), uid(n));
    }
    let made: Vec<_> = (1..=10)
        .map(|n| (if n > 5 { n } else { 20 + n }, n, true))
        .collect();
    life.set_inventory(at(2000), &inventory(10, &made));
    assert_eq!(life.propose(at(2300), 0, 0), Ok(None));
    assert_eq!(life.next_deadline(), Some(at(2000 + REPLACED_MS)));
    let proposal = step(&mut life, 2000 + REPLACED_MS);
    assert_eq!(causes(&life), [FrozenCause::MassFailure]);
    assert_eq!((proposal.overdue.len(), proposal.moves), (5, 0));
    assert_eq!(proposal.dead(), proposal.overdue, "there was no verdict");
    // One by one they come after all.
    for n in 1..=5 {
        life.join(at(70_000), successor(20 + n, n));
    }
    let back = step(&mut life, 70_300);
    assert!(life.frozen().is_empty());
    assert_eq!((back.changed_node, back.map.members.len()), (0, 10));
}

#[test]
fn a_view_that_shows_too_little_plans_nothing_until_it_shows_more() {
    let mut life = running(10);
    life.set_inventory(at(1000), &without(1..=5, 10));
    for n in 1..=5 {
        life.pod_gone(at(2000), uid(n));
    }
    assert_eq!(life.propose(at(2300), 0, 0), Ok(None));
    let late = 2000 + REPLACED_MS;
    assert_eq!(
        life.propose(at(late), 0, 0),
        Ok(None),
        "nobody is marked: they may be well"
    );
    assert_eq!(causes(&life), [FrozenCause::PartialView]);
    life.set_inventory(at(late + 1000), &without(0..=0, 10));
    assert_eq!(life.propose(at(late + 1300), 0, 0), Ok(None));
    assert!(life.frozen().is_empty());
    assert_eq!(life.map().unwrap().served_slots(), 16384);
}

#[test]
fn both_causes_are_told_the_graver_first() {
    let mut life = running(10);
    life.set_policy(at(1000), percent(20));
    life.set_inventory(at(1000), &without(1..=3, 10));
    for n in 1..=3 {
        life.pod_gone(at(2000), uid(n));
    }
    assert_eq!(life.propose(at(2300), 0, 0), Ok(None));
    die(&mut life, 2000 + REPLACED_MS, 4..=6);
    step(&mut life, 2300 + REPLACED_MS);
    assert_eq!(
        causes(&life),
        [FrozenCause::PartialView, FrozenCause::MassFailure]
    );
}

#[test]
fn fewer_because_fewer_are_wanted_is_no_failure() {
    // To zero, to three, each without a word.
    for left in [0_u8, 3] {
        let mut life = running(10);
        life.set_inventory(at(1000), &without(left + 1..=10, left.into()));
        for n in left + 1..=10 {
            life.pod_gone(at(2000), uid(n));
        }
        let proposal = step(&mut life, 2300);
        assert!(life.frozen().is_empty());
        assert_eq!(proposal.left.len(), usize::from(10 - left));
    }
    // To zero, as they should: everybody says so.
    let mut life = running(10);
    for n in 1..=10 {
        let leaver = id(&life, n);
        life.leave(at(2000), leaver);
    }
    assert_eq!(step(&mut life, 2300).map.members.len(), 0);
    assert!(life.frozen().is_empty());
}

#[test]
fn dead_while_their_pods_are_being_deleted_are_awaited_too() {
    let mut life = running(10);
    let pods: Vec<_> = (1..=10).map(|n| (n, n, n > 5)).collect();
    life.set_inventory(at(1500), &inventory(10, &pods));
    die(&mut life, 2000, 1..=5);
    assert_eq!(life.propose(at(2300), 0, 0), Ok(None));
    assert!(life.frozen().is_empty());
}

#[test]
fn another_operator_goes_on_from_the_record() {
    let (life, proposal) = frozen();
    let mut next = Life::new(life.settings.clone(), Some(proposal.map.clone()), at(0));
    assert_eq!(causes(&next), [FrozenCause::MassFailure]);
    assert_eq!(next.propose(at(300), 0, 0), Ok(None));
    next.set_policy(at(1000), percent(60));
    assert_eq!(step(&mut next, 1300).dropped.len(), 5);

    // A single one is the last of a sequence; it is waited for.
    let mut map = proposal.map;
    map.members[1..5]
        .iter_mut()
        .for_each(|member| member.failed = false);
    let mut next = Life::new(life.settings, Some(map), at(0));
    assert_eq!(causes(&next), [FrozenCause::OwnersDyingInSequence]);
    assert_eq!(next.propose(at(120_000), 0, 0), Ok(None));
    next.pod_gone(at(121_000), uid(1));
    assert_eq!(step(&mut next, 121_300).dropped.len(), 1);
    assert!(next.frozen().is_empty());
}

#[test]
fn a_thaw_whose_write_failed_is_no_new_freeze() {
    let (mut life, proposal) = frozen();
    life.set_policy(at(5000), percent(60));
    assert!(life.propose(at(5300), 0, 0).unwrap().is_some());
    life.reload(Some(proposal.map), at(6000));
    assert!(life.frozen().is_empty());
    assert_eq!(step(&mut life, 6300).dropped.len(), 5);
}
