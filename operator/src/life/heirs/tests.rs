#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use crate::life::tests::*;
use crate::life::{Life, Policy};
use slotmesh_api::Automation;

/// A cell of four, and on the node of the first its heir.
fn surge() -> Life {
    let mut life = running(4);
    life.join(at(2000), successor(11, 1));
    let joined = step(&mut life, 2300);
    assert_eq!(
        (joined.joined.len(), joined.moves),
        (1, 0),
        "no quota while the elder is there"
    );
    life
}

#[test]
fn a_rollout_by_surge_moves_no_slot_between_nodes() {
    for balancing in [Automation::Automatic, Automation::Disabled] {
        let mut life = running(8);
        let policy = Policy {
            balancing,
            ..Policy::default()
        };
        life.set_policy(at(1000), policy);
        let (mut inherited, mut now) = (0, 2000);
        for n in 1..=8 {
            life.join(at(now), successor(20 + n, n));
            let joined = step(&mut life, now + 300);
            assert_eq!(
                (joined.moves, joined.inherited, joined.changed_node),
                (0, 0, 0)
            );
            let leaver = id(&life, n);
            life.leave(at(now + 1000), leaver);
            let left = step(&mut life, now + 1300);
            assert_eq!(
                (left.moves, left.minimum_moves, left.failed_over),
                (0, 0, 0)
            );
            assert_eq!((left.changed_node, left.left.len()), (0, 1));
            assert_eq!(left.inherited_from, [format!("agent-{n:03}")]);
            inherited += u32::from(left.inherited);
            now += 2000;
        }
        assert_eq!(inherited, 16384);
        assert_eq!(life.map().unwrap().members.len(), 8);
    }
}

#[test]
fn the_heir_takes_over_from_the_dead_and_the_vanished() {
    for gone in [false, true] {
        let mut life = surge();
        let held = slots(&life, 1);
        if gone {
            life.pod_gone(at(3000), uid(1));
        } else {
            die(&mut life, 3000, [1]);
        }
        let proposal = step(&mut life, 3300);
        assert_eq!((proposal.inherited, proposal.moves), (held.len(), 0));
        assert_eq!(
            (proposal.left.len(), proposal.failed.len()),
            (usize::from(gone), usize::from(!gone))
        );
        assert_eq!(slots(&life, 11), held);
    }
}

#[test]
fn half_the_elders_dead_is_no_mass_failure_where_heirs_are_ready() {
    let mut life = running(4);
    for n in 1..=3 {
        life.join(at(2000), successor(10 + n, n));
    }
    step(&mut life, 2300);
    die(&mut life, 3000, 1..=3);
    let proposal = step(&mut life, 3300);
    assert!(life.frozen().is_empty());
    assert_eq!(
        (proposal.inherited_from.len(), proposal.changed_node),
        (3, 0)
    );
}

#[test]
fn an_elder_that_restarts_is_still_the_elder() {
    let mut life = surge();
    let held = slots(&life, 1);
    life.join(at(3000), candidate(1, 101));
    let restarted = step(&mut life, 3300);
    assert_eq!((restarted.moves, slots(&life, 1)), (0, held.clone()));
    assert_eq!(slots(&life, 11).len(), 0);
    let leaver = id(&life, 1);
    life.leave(at(4000), leaver);
    step(&mut life, 4300);
    assert_eq!(slots(&life, 11), held);
}

#[test]
fn the_heir_dies_before_it_inherits() {
    let mut life = surge();
    assert!(
        !life.is_at_rest(),
        "who waits to inherit is not to be parted from its elder"
    );
    die(&mut life, 3000, [11]);
    let proposal = step(&mut life, 3300);
    assert_eq!(
        (proposal.failed.len(), proposal.moves, proposal.failed_over),
        (1, 0, 0)
    );
}

#[test]
fn of_two_pods_that_start_together_the_one_being_deleted_is_the_elder() {
    let mut life = life();
    life.set_inventory(
        at(0),
        &inventory(2, &[(1, 1, true), (2, 2, false), (3, 2, true)]),
    );
    life.join(at(0), candidate(1, 1));
    life.join(at(0), candidate(2, 2));
    life.join(at(0), successor(3, 2));
    let first = life.propose(at(300), 2, 0).unwrap().unwrap();
    life.recorded(first.map, at(300));
    assert_eq!((slots(&life, 2).len(), slots(&life, 3).len()), (8192, 0));
    let leaver = id(&life, 2);
    life.leave(at(1000), leaver);
    let left = step(&mut life, 1300);
    assert_eq!((left.inherited, left.moves), (8192, 0));
}

#[test]
fn what_an_heir_may_not_keep_moves_by_plan_and_is_told_as_moved() {
    let mut life = surge();
    let mut pods = inventory(
        4,
        &[
            (1, 1, true),
            (11, 1, true),
            (2, 2, true),
            (3, 3, true),
            (4, 4, true),
        ],
    );
    life.set_inventory(at(2500), &pods);
    pods.pods.get_mut(&uid(11)).unwrap().capacity = 0;
    life.set_inventory(at(3000), &pods);
    let leaver = id(&life, 1);
    life.leave(at(3000), leaver);
    let proposal = step(&mut life, 3300);
    assert_eq!(
        (proposal.inherited, proposal.moves, proposal.changed_node),
        (0, 4096, 4096)
    );
}
