#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use proptest::prelude::*;

use super::*;
use crate::fixture::map;

#[test]
fn a_sound_map_round_trips() {
    for count in [0, 1, 2, 10, 300] {
        let map = map(count);
        map.validate().unwrap();
        assert_eq!(Map::from_canonical(&map.canonical()).unwrap(), map);
        assert_eq!(map.served_slots(), if count == 0 { 0 } else { 16384 });
    }
}

#[test]
fn slots_of_the_failed_are_not_served() {
    let mut map = map(4);
    let held = map.members[1].slots().len();
    map.members[1].failed = true;
    map.validate().unwrap();
    assert_eq!(map.served_slots(), 16384 - held);
    assert_eq!(map.active().count(), 3);
}

#[test]
fn every_slot_finds_its_owner() {
    let map = map(7);
    for number in 0..16384 {
        let slot = Slot::new(number).unwrap();
        let (_, owner) = map.owner_of(slot).unwrap();
        assert!(owner.slots.contains(slot));
    }
}

#[test]
fn contradictions_are_refused() {
    type Case = (&'static str, fn(&mut Map));
    let cases: [Case; 14] = [
        ("unsorted", |map| map.members.swap(0, 1)),
        ("same uid", |map| map.members[1].uid = map.members[0].uid),
        ("nil uid", |map| map.members[1].uid = Uid::NIL),
        ("same key", |map| map.members[1].key = map.members[0].key),
        ("same owner", |map| {
            map.members[1].owners[0].uid = map.members[0].owners[0].uid
        }),
        ("slot twice", |map| {
            map.members[1].owners[0].slots = "0-9".parse().unwrap()
        }),
        ("foreign slot", |map| map.slots = "0-99".parse().unwrap()),
        ("future member", |map| map.members[0].incarnation = 101),
        ("no incarnation", |map| map.members[0].incarnation = 0),
        ("epoch", |map| map.epoch = limits::EPOCH_MAX + 1),
        ("slot twice, far apart", |map| {
            map.members[2].owners[0].slots = "3,9000-16383".parse().unwrap()
        }),
        ("interval", |map| map.protocol.heartbeat_interval_ms = 1),
        ("long name", |map| map.cell = "x".repeat(254)),
        ("capacity", |map| map.members[0].owners[0].capacity = 10_001),
    ];
    for (name, break_it) in cases {
        let mut map = map(3);
        break_it(&mut map);
        assert!(map.validate().is_err(), "{name}");
        assert!(Map::from_canonical(&map.canonical()).is_err(), "{name}");
    }
}

#[test]
fn a_map_has_one_byte_form() {
    let map = map(2);
    let bytes = map.canonical();
    let era = 16 + 1 + map.cell.len();
    assert_eq!(bytes[era], 0);
    let mut padded = bytes[..era].to_vec();
    padded.extend([0x80, 0]); // the same zero, spelled in two bytes
    padded.extend(&bytes[era + 1..]);
    assert_eq!(
        Map::from_canonical(&padded),
        Err(MapError::Malformed("the bytes are not the canonical form"))
    );
}

/// Records are sealed and maps are signed over these bytes: another hash here means that a newer
/// operator takes the records of an older one for tampered with.
#[test]
fn golden_canonical_form() {
    let mut map = map(3);
    map.members[1].failed = true;
    map.members[1].zone = "eu-1a".into();
    map.members[2].address = "[fd00::7]:7400".parse().unwrap();
    let hex: String = map.sha256().iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(
        hex,
        "b4c8961057575dc29785bf4eb1f53d3b0fb3c68fae8366c47f8f1c9e5f8de585"
    );
}

proptest! {
    #[test]
    fn damaged_bytes_are_refused_or_sound(position in 0_usize..600, value: u8, cut in 0_usize..600) {
        let mut bytes = map(4).canonical();
        let length = bytes.len();
        bytes[position % length] = value;
        bytes.truncate(length - cut % length);
        if let Ok(map) = Map::from_canonical(&bytes) {
            map.validate().unwrap();
        }
    }

    #[test]
    fn any_bytes_are_refused_or_sound(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(map) = Map::from_canonical(&bytes) {
            map.validate().unwrap();
        }
    }
}
