#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use proptest::prelude::*;
use slotmesh_mesh::slot::Slot;

use crate::life::Life;
use crate::life::tests::*;
use crate::seam::FrozenCause;

/// Number of the member that owns slot 0.
fn owner_of_slot_0(life: &Life) -> u8 {
    let map = life.map().unwrap();
    let (member, _) = map.owner_of(Slot::new(0).unwrap()).unwrap();
    member.uid.as_bytes()[0]
}

/// Kills the owner of slot 0 at these times; returns who died.
fn chase(life: &mut Life, times: &[u64]) -> Vec<u8> {
    let mut dead = Vec::new();
    for ms in times {
        let owner = owner_of_slot_0(life);
        dead.push(owner);
        die(life, *ms, [owner]);
        step(life, ms + 300);
    }
    dead
}

#[test]
fn the_third_of_a_sequence_keeps_its_slots() {
    let mut life = running(8);
    let dead = chase(&mut life, &[2000, 4000, 6000]);
    assert_eq!(causes(&life), [FrozenCause::OwnersDyingInSequence]);
    let message = &life.frozen()[&FrozenCause::OwnersDyingInSequence];
    for n in &dead {
        assert!(message.contains(&format!("agent-{n:03}")), "{message}");
    }
    assert_eq!(owner_of_slot_0(&life), dead[2], "nothing was re-homed");
    assert!(life.map().unwrap().member(uid(dead[2])).unwrap().failed);

    // Back again, but the rest is not over.
    life.join(at(10_000), candidate(dead[2], 100));
    let back = step(&mut life, 10_300);
    assert_eq!((back.recovered.len(), back.moves), (1, 0));
    assert_eq!(causes(&life), [FrozenCause::OwnersDyingInSequence]);
    assert!(life.next_deadline().is_some());
    let rested = 6300 + 60_000;
    life.propose(at(rested - 1), 0, 0).unwrap();
    assert_eq!(causes(&life).len(), 1);
    life.propose(at(rested), 0, 0).unwrap();
    assert!(life.frozen().is_empty());
}

#[test]
fn it_thaws_when_the_pod_is_gone_and_not_before() {
    let mut life = running(8);
    let dead = chase(&mut life, &[2000, 4000, 6000]);
    assert_eq!(life.propose(at(200_000), 0, 0), Ok(None));
    assert_eq!(causes(&life).len(), 1);
    life.pod_gone(at(200_000), uid(dead[2]));
    let thawed = step(&mut life, 200_300);
    assert!(life.frozen().is_empty());
    assert_eq!(
        (thawed.dropped.len(), thawed.map.served_slots()),
        (1, 16384)
    );
}

#[test]
fn deaths_long_after_the_fail_over_are_no_sequence() {
    let mut life = running(8);
    chase(&mut life, &[2000, 40_000, 80_000, 120_000]);
    assert!(life.frozen().is_empty());
    // Two of a new sequence, the third too late.
    let mut life = running(8);
    chase(&mut life, &[2000, 4000, 40_000]);
    assert!(life.frozen().is_empty());
}

#[test]
fn who_is_a_member_again_is_no_link_of_the_chain() {
    let mut life = running(8);
    let dead = chase(&mut life, &[2000, 4000]);
    life.join(at(5000), candidate(dead[0], 100));
    step(&mut life, 5300);
    chase(&mut life, &[6000]);
    assert!(life.frozen().is_empty());
}

#[test]
fn a_planned_move_begins_anew() {
    let mut life = running(4);
    chase(&mut life, &[2000, 4000]);
    let holder = owner_of_slot_0(&life);
    let mut pods: Vec<(u8, u8, bool)> = Vec::new();
    for member in &life.map().unwrap().members {
        let n = member.uid.as_bytes()[0];
        pods.push((n, n, true));
    }
    let mut drained = inventory(2, &pods);
    drained.pods.get_mut(&uid(holder)).unwrap().capacity = 0;
    life.set_inventory(at(5000), &drained);
    step(&mut life, 5300);
    assert_ne!(owner_of_slot_0(&life), holder, "it moved by plan");
    chase(&mut life, &[6000]);
    assert!(life.frozen().is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3))]

    #[test]
    fn random_kills_with_returns_never_look_like_a_sequence(
        kills in prop::collection::vec((1_u8..=8, 400_u64..1500), 60),
    ) {
        let mut life = running(8);
        for (round, (victim, away)) in (1_u64..).zip(kills) {
            let begin = 2000 * round;
            die(&mut life, begin, [victim]);
            step(&mut life, begin + 300);
            life.join(at(begin + away), candidate(victim, 100 + u8::try_from(round).unwrap()));
            step(&mut life, begin + away + 300);
            prop_assert!(life.frozen().is_empty());
            prop_assert_eq!(life.map().unwrap().served_slots(), 16384);
        }
    }
}
