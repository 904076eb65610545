#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::str::FromStr;

use proptest::prelude::*;
use slotmesh_mesh::identity::Keypair;
use slotmesh_mesh::map::{Owner, Protocol};

use super::*;

pub(crate) fn uid(n: u16) -> Uid {
    Uid::from_str(&format!("00000000-0000-4000-8000-{n:012}")).unwrap()
}

fn member(n: u16, zone: &str, slots: SlotSet) -> Member {
    let mut seed = [1; 32];
    seed[..2].copy_from_slice(&n.to_be_bytes());
    let [high, low] = n.to_be_bytes();
    let name = format!("agent-{n:04}");
    Member {
        name: name.clone(),
        uid: uid(n),
        incarnation: 100,
        key: Keypair::from_seed(seed).public(),
        node: format!("node-{n:04}"),
        zone: zone.into(),
        address: format!("10.1.{high}.{low}:7400").parse().unwrap(),
        failed: false,
        owners: vec![Owner {
            name,
            uid: uid(n),
            address: format!("10.1.{high}.{low}:7402").parse().unwrap(),
            capacity: 100,
            slots,
        }],
    }
}

/// `holders` members share all slots, slot by slot in rounds of `run`; `idle` more hold none.
pub(crate) fn map(holders: u16, idle: u16, zones: u16, run: u16) -> Map {
    let mut shares = vec![SlotSet::empty(); holders.into()];
    let mut left = SlotSet::full();
    for share in (0..usize::from(holders)).cycle() {
        if left.is_empty() {
            break;
        }
        shares[share] = shares[share].union(&left.take_lowest(run.min(left.len())));
    }
    shares.resize(usize::from(holders + idle), SlotSet::empty());
    let members = (0..).zip(shares);
    let members = members.map(|(n, slots)| member(n, &format!("zone-{}", n % zones), slots));
    Map {
        cluster: uid(9999),
        cell: "sessions-bcdfg".into(),
        era: 0,
        epoch: 1_790_000_412,
        slots: SlotSet::full(),
        protocol: Protocol::default(),
        members: members.collect(),
        delegation: Vec::new(),
        directory: Vec::new(),
    }
}

fn split(map: &Map) -> (Map, Vec<Map>) {
    let parent = delegate(map, "sessions", &BTreeSet::new())
        .unwrap()
        .unwrap();
    let parts = first_maps(&parent).unwrap();
    (parent, parts)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whoever owned a slot owns it afterwards, and every slot is in exactly one part.
    #[test]
    fn no_slot_moves(holders in 8_u16..60, idle in 0_u16..6, zones in 1_u16..4, run in 20_u16..3000) {
        let map = map(holders, idle, zones, run);
        prop_assume!(halves(&map).is_some());
        let (parent, parts) = split(&map);
        prop_assert_eq!(&parent.members, &map.members);
        prop_assert_eq!(parent.epoch, map.epoch + 1);
        for slot in SlotSet::full().iter().step_by(97) {
            let owners: Vec<_> = parts.iter().filter_map(|part| part.owner_of(slot)).collect();
            let before = map.owner_of(slot);
            prop_assert_eq!(owners.len(), usize::from(before.is_some()));
            prop_assert_eq!(owners.first().copied(), before);
        }
        let listed: usize = parts.iter().map(|part| part.members.len()).sum();
        prop_assert_eq!(listed, map.members.len());
        prop_assert!(parts.iter().all(|part| part.members.len() >= PART_MEMBERS_MIN));
    }

    /// Whoever goes on with it comes to the same maps: their hashes stand in the parent's record.
    #[test]
    fn the_parents_record_says_it_all(holders in 8_u16..30, idle in 0_u16..6) {
        let (parent, parts) = split(&map(holders, idle, 2, 500));
        for (part, delegation) in parts.iter().zip(&parent.delegation) {
            prop_assert_eq!(part.sha256(), delegation.first_map_sha256);
            prop_assert_eq!(&part.cell, &delegation.cell);
            prop_assert_eq!(part.epoch, delegation.start_epoch);
        }
        let read = Map::from_canonical(&parent.canonical()).unwrap();
        prop_assert_eq!(first_maps(&read).unwrap(), parts);
    }
}

#[test]
fn halves_are_even_and_have_members_of_every_zone() {
    let (_, parts) = split(&map(12, 0, 3, 16384 / 12));
    for part in &parts {
        assert_eq!(part.members.len(), 6);
        let zones: BTreeSet<&str> = part.members.iter().map(|m| m.zone.as_str()).collect();
        assert_eq!(zones.len(), 3);
    }
    let (_, parts) = split(&map(12, 0, 1, 2000));
    let ranges = |part: &Map| part.slots.ranges().count();
    assert!(parts.iter().all(|part| ranges(part) <= 2), "few ranges");
}

#[test]
fn every_part_knows_where_the_other_is() {
    let mut parent = map(8, 0, 1, 2048);
    parent.slots = parent.slots.difference(&"0-9".parse().unwrap());
    parent.members[0].owners[0]
        .slots
        .remove(&"0-9".parse().unwrap());
    parent.directory = vec![DirectoryEntry {
        cell: "sessions-zzzzz".into(),
        slots: "0-9".parse().unwrap(),
        entries: vec!["10.9.9.9:7402".parse().unwrap()],
    }];
    let (_, parts) = split(&parent);
    for (here, there) in [(0, 1), (1, 0)] {
        let slot = parts[there].slots.iter().next().unwrap();
        let entry = parts[here].elsewhere(slot).unwrap();
        assert_eq!(entry.cell, parts[there].cell);
        assert_eq!(entry.entries.len(), 3);
        assert!(parts[here].knows_cell("sessions-zzzzz"));
    }
}

#[test]
fn only_a_whole_cell_at_rest_is_split() {
    let well = map(12, 0, 1, 1366);
    assert!(is_due(&well, 11));
    assert!(!is_due(&well, 12), "not above the limit");
    let small = map(7, 0, 1, 3000);
    assert!(!is_due(&small, 1), "no half under 4");
    let mut failed = well.clone();
    failed.members[0].failed = true;
    assert!(!is_due(&failed, 11));
    let mut ownerless = well.clone();
    ownerless.members[0].owners[0].slots = SlotSet::empty();
    assert!(!is_due(&ownerless, 11));
    let few_holders = map(3, 9, 1, 6000);
    assert!(is_due(&few_holders, 11), "the idle fill up the halves");
    assert!(!is_due(&split(&well).0, 11), "it was split already");
}

#[test]
fn a_name_that_is_taken_is_not_given_again() {
    let map = map(8, 0, 1, 2048);
    let (first, _) = split(&map);
    let taken: BTreeSet<String> = first
        .delegation
        .iter()
        .map(|part| part.cell.clone())
        .collect();
    let second = delegate(&map, "sessions", &taken).unwrap().unwrap();
    assert!(
        second
            .delegation
            .iter()
            .all(|part| !taken.contains(&part.cell))
    );
}

#[test]
fn good_entries_stay() {
    let mut map = map(8, 0, 1, 2048);
    let first = entry_of(&map, None);
    map.members.remove(7);
    assert_eq!(entry_of(&map, Some(&first)), first, "a death elsewhere");
    map.members.remove(1);
    let next = entry_of(&map, Some(&first));
    assert_eq!(next.entries[..2], [first.entries[0], first.entries[2]]);
    assert_eq!(next.entries.len(), 3);
}
