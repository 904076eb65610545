#![allow(clippy::unwrap_used)]

use super::*;
use slotmesh_map::fixture::{map, uid};

#[test]
fn everybody_has_to_say_that_it_has_the_map() {
    let mut census = Census::of(&map(3));
    assert!(!census.hear(uid(0), (0, 99)), "an older map");
    assert!(census.hear(uid(0), (0, 100)));
    assert!(!census.hear(uid(0), (0, 101)), "once is enough");
    assert!(census.hear(uid(1), (1, 1)));
    assert_eq!(census.missing(), 1);
    census.retain_for(&map(2));
    assert_eq!(census.missing(), 0);
}

#[test]
fn failed_members_are_not_waited_for() {
    let mut map = map(3);
    map.members.last_mut().unwrap().failed = true;
    assert_eq!(Census::of(&map).missing(), 2);
    let mut before = Census::of(&slotmesh_map::fixture::map(3));
    before.retain_for(&map);
    assert_eq!(before.missing(), 2, "nor those that failed since");
}

#[test]
fn a_few_are_asked_at_a_time_and_the_silent_hold_nobody_up() {
    let census = Census::of(&map(40));
    let first = census.next(|_| false);
    assert_eq!(first.len(), limits::CENSUS_DIALS);
    let others = census.next(|uid| first.contains(&uid));
    assert!(others.iter().all(|uid| !first.contains(uid)));
    assert_eq!(others.len(), limits::CENSUS_DIALS);
}
