#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use proptest::prelude::*;

use super::checker::{PlanError, check};
use super::*;

fn uid(n: usize) -> Uid {
    Uid::from_bytes([u8::try_from(n).unwrap(); 16])
}

/// Owners 1.. with these capacities, slots dealt out by the pattern.
fn snapshot(capacities: &[u16], deal: &[usize]) -> Snapshot {
    let mut owners: BTreeMap<Uid, Holding> = capacities
        .iter()
        .enumerate()
        .map(|(n, capacity)| {
            (
                uid(n + 1),
                Holding {
                    capacity: *capacity,
                    slots: SlotSet::empty(),
                },
            )
        })
        .collect();
    let run = 16_384 / deal.len().max(1);
    for (index, owner) in deal.iter().enumerate() {
        let (first, last) = (
            index * run,
            if index + 1 == deal.len() {
                16_383
            } else {
                (index + 1) * run - 1
            },
        );
        if let Some(owner) = owners.get_mut(&uid(*owner)) {
            owner
                .slots
                .insert_range(u16::try_from(first).unwrap(), u16::try_from(last).unwrap());
        }
    }
    Snapshot {
        parent_epoch: 7,
        slots: SlotSet::full(),
        owners,
    }
}

fn planned(snapshot: &Snapshot) -> (Plan, BTreeMap<Uid, SlotSet>) {
    let plan = plan(snapshot, Reach::Everything);
    assert_eq!(check(snapshot, Reach::Everything, &plan), Ok(()));
    let mut held: BTreeMap<Uid, SlotSet> = snapshot
        .owners
        .iter()
        .map(|(uid, owner)| (*uid, owner.slots.clone()))
        .collect();
    for step in &plan.moves {
        if let Some(from) = step.from {
            held.get_mut(&from).unwrap().remove(&step.slots);
        }
        let to = held.get_mut(&step.to).unwrap();
        *to = to.union(&step.slots);
    }
    (plan, held)
}

#[test]
fn a_first_map_deals_out_all_slots_evenly() {
    let (plan, held) = planned(&snapshot(&[100; 3], &[]));
    assert_eq!(plan.moved_slots(), 16_384);
    let counts: Vec<u16> = held.values().map(SlotSet::len).collect();
    assert_eq!(counts, [5462, 5461, 5461]);
    assert!(
        held.values().all(|slots| slots.ranges().count() == 1),
        "one run each"
    );
}

#[test]
fn a_joiner_takes_only_its_share() {
    let (plan, _) = planned(&snapshot(&[100; 4], &[1, 2]));
    assert_eq!(
        plan.moved_slots(),
        8192,
        "two that hold half each give half of that away"
    );
    assert!(plan.moves.iter().all(|step| step.to > uid(2)));
}

#[test]
fn a_death_moves_only_what_the_dead_held() {
    let mut snapshot = snapshot(&[100; 4], &[1, 2, 3, 4]);
    snapshot.owners.remove(&uid(2));
    let (plan, _) = planned(&snapshot);
    assert_eq!(plan.moved_slots(), 4096);
    assert!(plan.moves.iter().all(|step| step.from.is_none()));
}

#[test]
fn balance_within_rounding_is_left_alone() {
    let (_, held) = planned(&snapshot(&[100; 3], &[]));
    let mut settled = snapshot(&[100; 3], &[]);
    // The rounded-up seat lies elsewhere than a fresh plan would put it.
    let order = [uid(2), uid(3), uid(1)];
    for ((_, slots), to) in held.into_iter().zip(order) {
        settled.owners.get_mut(&to).unwrap().slots = slots;
    }
    assert!(planned(&settled).0.moves.is_empty());
}

#[test]
fn capacity_weighs_and_zero_drains() {
    let (_, held) = planned(&snapshot(&[300, 100, 0], &[3]));
    assert_eq!(
        held.values().map(SlotSet::len).collect::<Vec<_>>(),
        [12_288, 4096, 0]
    );
}

#[test]
fn without_capacity_nothing_moves() {
    assert!(planned(&snapshot(&[0, 0], &[1, 2])).0.moves.is_empty());
    assert!(planned(&snapshot(&[], &[])).0.moves.is_empty());
}

#[test]
fn the_checker_refuses_every_kind_of_wrong_plan() {
    let snapshot = snapshot(&[100; 3], &[1, 2]);
    let good = plan(&snapshot, Reach::Everything);
    type Case = (&'static str, fn(&mut Plan), fn(&PlanError) -> bool);
    let cases: [Case; 9] = [
        (
            "wrong parent",
            |p| p.parent_epoch += 1,
            |e| matches!(e, PlanError::WrongParent { .. }),
        ),
        (
            "nothing done",
            |p| p.moves.clear(),
            |e| matches!(e, PlanError::Unfair { .. }),
        ),
        (
            "half done",
            |p| {
                p.moves.pop();
            },
            |e| matches!(e, PlanError::Unfair { .. }),
        ),
        (
            "to a stranger",
            |p| p.moves[0].to = uid(9),
            |e| matches!(e, PlanError::NoReceiver(_)),
        ),
        (
            "from another",
            |p| p.moves[0].from = Some(uid(2)),
            |e| matches!(e, PlanError::NotThere(_)),
        ),
        (
            "from nobody",
            |p| p.moves[0].from = None,
            |e| matches!(e, PlanError::NotThere(_)),
        ),
        (
            "to itself",
            |p| p.moves[0].to = uid(1),
            |e| matches!(e, PlanError::Idle(_)),
        ),
        (
            "twice",
            |p| p.moves.push(p.moves[0].clone()),
            |e| matches!(e, PlanError::Idle(_)),
        ),
        (
            "boasting",
            |p| p.minimum_moves -= 1,
            |e| matches!(e, PlanError::Wasteful { .. }),
        ),
    ];
    for (name, break_it, expected) in cases {
        let mut bad = good.clone();
        break_it(&mut bad);
        let error = check(&snapshot, Reach::Everything, &bad).unwrap_err();
        assert!(expected(&error), "{name}: {error}");
    }
    // Two survivors that swap: fair, and more than needed.
    let mut swapped = good.clone();
    let one = "0".parse::<SlotSet>().unwrap();
    let other = "16383".parse::<SlotSet>().unwrap();
    assert!(
        swapped.moves.iter().all(
            |step| step.slots.intersection(&one.union(&other)).is_empty() || step.to == uid(3)
        )
    );
    let free = |slots: &SlotSet| {
        !good
            .moves
            .iter()
            .any(|step| !step.slots.intersection(slots).is_empty())
    };
    let (one, other) = if free(&one) && free(&other) {
        (one, other)
    } else {
        ("1".parse().unwrap(), "8192".parse().unwrap())
    };
    swapped.moves.push(Move {
        from: Some(uid(1)),
        to: uid(2),
        slots: one,
    });
    swapped.moves.push(Move {
        from: Some(uid(2)),
        to: uid(1),
        slots: other,
    });
    assert!(matches!(
        check(&snapshot, Reach::Everything, &swapped),
        Err(PlanError::Wasteful { .. })
    ));
}

#[test]
fn the_checker_knows_what_may_move() {
    let mut snapshot = snapshot(&[100, 100, 0], &[1, 2, 3, 3]);
    snapshot.owners.remove(&uid(1));
    let whole = plan(&snapshot, Reach::Everything);
    assert!(matches!(
        check(&snapshot, Reach::Ownerless, &whole),
        Err(PlanError::OutOfReach(_))
    ));
    let small = plan(&snapshot, Reach::Ownerless);
    assert!(matches!(
        check(&snapshot, Reach::Everything, &small),
        Err(PlanError::Unfair { .. })
    ));
    // All to one of two that could share: the receiver ends above its share.
    let mut snapshot = self::snapshot(&[100, 100], &[1, 9]);
    let mut greedy = plan(&snapshot, Reach::Ownerless);
    assert_eq!(check(&snapshot, Reach::Ownerless, &greedy), Ok(()));
    greedy.moves[0].to = uid(1);
    assert!(matches!(
        check(&snapshot, Reach::Ownerless, &greedy),
        Err(PlanError::Unfair { .. })
    ));
    snapshot.parent_epoch += 1;
    assert!(matches!(
        check(&snapshot, Reach::Ownerless, &greedy),
        Err(PlanError::WrongParent { .. })
    ));
}

proptest! {
    #[test]
    fn any_cluster_gets_a_plan_that_passes(
        capacities in prop::collection::vec(prop_oneof![Just(0_u16), Just(100), 1_u16..500], 1..12),
        deal in prop::collection::vec(0_usize..14, 0..40),
    ) {
        let snapshot = snapshot(&capacities, &deal);
        for reach in [Reach::Everything, Reach::Ownerless] {
            let plan = plan(&snapshot, reach);
            prop_assert_eq!(check(&snapshot, reach, &plan), Ok(()));
        }
    }

    #[test]
    fn only_the_ownerless_move_where_nothing_else_may(
        capacities in prop::collection::vec(prop_oneof![Just(0_u16), Just(100), 1_u16..500], 1..12),
        deal in prop::collection::vec(0_usize..14, 0..40),
    ) {
        let snapshot = snapshot(&capacities, &deal);
        let plan = plan(&snapshot, Reach::Ownerless);
        prop_assert!(plan.moves.iter().all(|step| step.from.is_none()));
        let homeless = if capacities.iter().all(|c| *c == 0) { 0 } else { snapshot.ownerless().len() };
        prop_assert_eq!((plan.moved_slots(), plan.minimum_moves), (homeless, homeless));
    }

    #[test]
    fn a_plan_carried_out_leaves_nothing_to_do(
        capacities in prop::collection::vec(1_u16..500, 1..12),
        deal in prop::collection::vec(0_usize..14, 0..40),
    ) {
        let before = snapshot(&capacities, &deal);
        let (_, held) = planned(&before);
        let mut after = before.clone();
        for (uid, slots) in held {
            after.owners.get_mut(&uid).unwrap().slots = slots;
        }
        prop_assert!(plan(&after, Reach::Everything).moves.is_empty());
    }
}
