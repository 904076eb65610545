#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;
use crate::fixture::map;

fn part(cell: &str, slots: &str) -> Delegation {
    Delegation {
        cell: cell.into(),
        slots: slots.parse().unwrap(),
        first_map_sha256: [7; 32],
        start_epoch: 101,
    }
}

fn entry(cell: &str, slots: &str) -> DirectoryEntry {
    DirectoryEntry {
        cell: cell.into(),
        slots: slots.parse().unwrap(),
        entries: vec!["10.0.0.1:7402".parse().unwrap()],
    }
}

/// A cell with the upper half of the slots that was split, and another cell beside it.
fn split() -> Map {
    let mut map = map(2);
    map.slots = "8192-16383".parse().unwrap();
    map.members.remove(0);
    map.directory = vec![entry("other-x", "0-8191")];
    map.delegation = vec![part("a", "8192-9999"), part("b", "10000-16383")];
    map.validate().unwrap();
    map
}

#[test]
fn both_travel_in_the_canonical_form() {
    let map = split();
    assert_eq!(Map::from_canonical(&map.canonical()).unwrap(), map);
    let mut longer = map.canonical();
    longer.push(0);
    assert!(Map::from_canonical(&longer).is_err());
}

/// A map that knows of no other cell is spelled as if these fields did not exist, and in no other way.
#[test]
fn nothing_to_say_takes_no_bytes() {
    let plain = map(2).canonical();
    assert_eq!(plain, postcard::to_stdvec(&map(2)).unwrap());
    let mut spelled_out = plain;
    spelled_out.extend([0, 0]);
    assert_eq!(
        Map::from_canonical(&spelled_out),
        Err(MapError::Malformed("the bytes are not the canonical form"))
    );
}

#[test]
fn slots_are_found_elsewhere() {
    let map = split();
    let slot = |number| Slot::new(number).unwrap();
    assert_eq!(map.elsewhere(slot(5)).unwrap().cell, "other-x");
    assert_eq!(map.elsewhere(slot(9000)), None);
    assert!(map.knows_cell("a") && map.knows_cell("other-x") && !map.knows_cell("sessions-bcdfg"));
}

#[test]
fn contradictions_are_refused() {
    type Change = fn(&mut Map);
    let changes: [(&str, Change); 9] = [
        ("a slot has two cells", |map| {
            map.directory[0] = entry("other-x", "0-8192");
        }),
        ("a slot has two cells", |map| {
            map.delegation[0] = part("a", "8192-10000");
        }),
        ("gives away all slots", |map| {
            map.delegation[0] = part("a", "8192-9998");
        }),
        ("gives away all slots", |map| {
            map.delegation = vec![part("a", "8192-16383")];
        }),
        ("not sorted by unique names", |map| {
            map.delegation.swap(0, 1);
        }),
        ("not sorted by unique names", |map| {
            map.directory.push(entry("other-x", ""));
        }),
        ("not sorted by unique names", |map| {
            map.cell = "other-x".into();
        }),
        ("does not start after", |map| {
            map.delegation[1].start_epoch = 100;
        }),
        ("exceeds its limit of 3", |map| {
            map.directory[0].entries = vec!["10.0.0.1:1".parse().unwrap(); 4];
        }),
    ];
    for (expected, change) in changes {
        let mut map = split();
        change(&mut map);
        let error = map.validate().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}, not {expected}");
    }
}
