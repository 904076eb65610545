#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

#[test]
fn keys_fall_into_the_slots_of_the_redis_specification() {
    assert_eq!(crc16(b"123456789"), 0x31c3);
    assert_eq!(slot_of_key(b"foo").number(), 12182);
    assert_eq!(slot_of_key(b""), Slot(0));
    assert_eq!(
        slot_of_key(b"{user1000}.following"),
        slot_of_key(b"{user1000}.followers")
    );
    assert_eq!(
        slot_of_key(b"foo{}{bar}").number(),
        crc16(b"foo{}{bar}") % SLOT_COUNT
    );
    assert_eq!(
        slot_of_key(b"foo{{bar}}zap").number(),
        crc16(b"{bar") % SLOT_COUNT
    );
    assert_eq!(
        slot_of_key(b"foo{bar}{zap}").number(),
        crc16(b"bar") % SLOT_COUNT
    );
    assert_eq!(
        slot_of_key(b"foo{bar").number(),
        crc16(b"foo{bar") % SLOT_COUNT
    );
}

#[test]
fn text_in_redis_notation() {
    for text in ["", "0", "0-16383", "0-5460,7000,7002-7003"] {
        assert_eq!(text.parse::<SlotSet>().unwrap().to_string(), text);
    }
    for bad in [
        "-", "a", "1-", "16384", "5-3", "0-5,6", "7,3", "0,,2", "+1", " 1", "0-5,5-6",
    ] {
        assert!(bad.parse::<SlotSet>().is_err(), "{bad}");
    }
}

#[test]
fn full_and_empty() {
    assert_eq!(SlotSet::full().len(), SLOT_COUNT);
    assert!(SlotSet::full().difference(&SlotSet::full()).is_empty());
    assert_eq!(SlotSet::empty().len(), 0);
}

fn sets() -> impl Strategy<Value = SlotSet> {
    prop::collection::vec((0_u16..80, 0_u16..12), 0..12).prop_map(|ranges| {
        ranges
            .into_iter()
            .map(|(start, length)| (start, start + length))
            .collect()
    })
}

fn numbers(set: &SlotSet) -> BTreeSet<u16> {
    set.iter().map(Slot::number).collect()
}

proptest! {
    #[test]
    fn sets_behave_as_sets(a in sets(), b in sets(), count in 0_u16..120) {
        let (x, y) = (numbers(&a), numbers(&b));
        prop_assert_eq!(usize::from(a.len()), x.len());
        prop_assert_eq!(numbers(&a.union(&b)), x.union(&y).copied().collect::<BTreeSet<_>>());
        prop_assert_eq!(numbers(&a.intersection(&b)), x.intersection(&y).copied().collect::<BTreeSet<_>>());
        prop_assert_eq!(numbers(&a.difference(&b)), x.difference(&y).copied().collect::<BTreeSet<_>>());
        prop_assert_eq!(numbers(&a.lowest(count)), x.iter().take(count.into()).copied().collect::<BTreeSet<_>>());
        for slot in 0..100 {
            prop_assert_eq!(a.contains(Slot(slot)), x.contains(&slot));
        }
        for first in (0..96).step_by(5) {
            for last in (0..100).step_by(7) {
                let expected = x.iter().any(|slot| (first..=last).contains(slot));
                prop_assert_eq!(a.overlaps_range(first, last), expected, "{} in {}-{}", a, first, last);
            }
        }
        prop_assert_eq!(a.to_string().parse::<SlotSet>().unwrap(), a.clone());
        let bytes = postcard::to_stdvec(&a).unwrap();
        prop_assert_eq!(postcard::from_bytes::<SlotSet>(&bytes).unwrap(), a);
    }

    #[test]
    fn any_text_is_parsed_or_refused(text in ".{0,40}") {
        if let Ok(set) = text.parse::<SlotSet>() {
            prop_assert_eq!(set.to_string().parse::<SlotSet>().unwrap(), set);
        }
    }
}
