#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use proptest::prelude::*;

use super::*;
use crate::fixture::{keypair, map, member};
use crate::slot::Slot;

fn between(base: &Map, map: &Map) -> Difference {
    let signature = keypair(0).sign("test", &[]);
    Difference::between(base, base.sha256(), map, signature)
}

#[test]
fn a_move_names_neither_uid_nor_key() {
    let base = map(5);
    let mut next = base.clone();
    next.epoch += 1;
    let given = next.members[1].owners[0].slots.take_lowest(3);
    let heir = &mut next.members[3].owners[0].slots;
    *heir = heir.union(&given);
    let difference = between(&base, &next);
    assert!(difference.changed.is_empty());
    let moves: Vec<_> = difference
        .moved
        .iter()
        .map(|m| (m.member, m.owner))
        .collect();
    assert_eq!(moves, [(1, 0), (3, 0)]);
    assert_eq!(
        (&difference.moved[0].lost, &difference.moved[1].gained),
        (&given, &given)
    );
    assert_eq!(difference.apply_to(&base), Ok(next));
}

#[test]
fn who_fails_and_stays_listed_travels_as_a_place() {
    let base = map(5);
    let mut next = base.clone();
    next.epoch += 1;
    next.members[1].failed = true;
    next.members[4].failed = true;
    let given = next.members[4].owners[0].slots.take_lowest(3);
    let heir = &mut next.members[3].owners[0].slots;
    *heir = heir.union(&given);
    let there = between(&base, &next);
    assert_eq!((&there.marked, &there.changed), (&vec![1, 4], &vec![]));
    assert_eq!(there.apply_to(&base), Ok(next.clone()));
    let back = between(&next, &base);
    assert_eq!((&back.marked, &back.changed), (&vec![1, 4], &vec![]));
    assert_eq!(back.apply_to(&next), Ok(base));
}

#[test]
fn places_that_do_not_exist_are_refused() {
    let base = map(3);
    for (member, owner) in [(3, 0), (0, 1), (u16::MAX, 0)] {
        let mut difference = between(&base, &base);
        let slots = SlotSet::empty;
        difference.moved.push(Moved {
            member,
            owner,
            gained: slots(),
            lost: slots(),
        });
        assert!(matches!(
            difference.apply_to(&base),
            Err(MapError::Malformed(_))
        ));
    }
    let mut difference = between(&base, &base);
    difference.removed.push(99);
    difference.marked.push(99);
    assert_eq!(difference.apply_to(&base), Ok(base), "that is nobody");
}

/// One change of a map; what comes out need not be sound.
fn change(map: &mut Map, (kind, place, slot): (u8, usize, u16)) {
    let count = map.members.len().max(1);
    let slot = Slot::new(slot).unwrap();
    match (kind, map.members.get_mut(place % count)) {
        (0, Some(_)) => drop(map.members.remove(place % count)),
        (1, Some(member)) => member.owners[0].slots.insert(slot),
        (2, Some(member)) => {
            let gone: SlotSet = [(slot.number(), u16::MAX)].into_iter().collect();
            member.owners[0].slots.remove(&gone);
        }
        (3, Some(member)) => member.failed ^= true,
        (4, Some(member)) => member.owners[0].capacity += 1,
        (5, Some(found)) => {
            let mut second = member(900, "").owners.remove(0);
            second.slots.insert(slot);
            found.owners.push(second);
        }
        (6, _) => map.slots = [(0, slot.number())].into_iter().collect(),
        _ => {
            let number = 500 + u16::try_from(place).unwrap();
            if map
                .members
                .iter()
                .all(|held| held.uid != member(number, "").uid)
            {
                map.members.push(member(number, ""));
            }
        }
    }
    map.members.sort_by(|a, b| a.name.cmp(&b.name));
    map.epoch += 1;
}

proptest! {
    /// Whatever happened between two maps, their difference leads from one to the other, and through
    /// its bytes as well.
    #[test]
    fn any_difference_leads_there(
        changes in prop::collection::vec((0_u8..8, 0_usize..60, 0_u16..16384), 0..20),
    ) {
        let base = map(12);
        let mut next = base.clone();
        changes.into_iter().for_each(|what| change(&mut next, what));
        let difference = between(&base, &next);
        let bytes = postcard::to_stdvec(&difference).unwrap();
        let read: Difference = postcard::from_bytes(&bytes).unwrap();
        prop_assert_eq!(&read, &difference);
        prop_assert_eq!(read.apply_to(&base), Ok(next));
    }
}
