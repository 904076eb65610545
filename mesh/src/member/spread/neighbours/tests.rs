#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use slotmesh_map::fixture::{map, uid};

use super::*;

/// A map whose members are in so many zones by turns.
fn zoned(members: u16, zones: usize) -> Map {
    let mut map = map(members);
    for (n, member) in map.members.iter_mut().enumerate() {
        member.zone = format!("zone-{}", n % zones);
    }
    map
}

#[test]
fn without_zones_everybody_is_near() {
    let map = map(50);
    let neighbours = Neighbours::of(&map, &Graph::of(&map), uid(0));
    assert!(neighbours.far.is_empty() && neighbours.near.len() >= 10);
    assert_eq!(neighbours.to_tell().count(), limits::ANNOUNCED_MAX);
}

#[test]
fn a_map_is_told_within_the_zone_and_to_the_lonely() {
    let map = zoned(300, 3);
    let graph = Graph::of(&map);
    let mut told_outside = 0;
    for member in &map.members {
        let neighbours = Neighbours::of(&map, &graph, member.uid);
        let zone = |uid: Uid| &map.member(uid).unwrap().zone;
        assert!(neighbours.near.iter().all(|uid| *zone(*uid) == member.zone));
        let outside = neighbours
            .to_tell()
            .filter(|uid| *zone(*uid) != member.zone);
        for uid in outside.filter(|_| !neighbours.near.is_empty()) {
            told_outside += 1;
            let around = each_once(&graph, uid).into_iter();
            assert!(
                around.filter(|other| zone(*other) == zone(uid)).count() < limits::LONELY_BELOW
            );
        }
    }
    assert!(
        told_outside > 0,
        "some are lonely in a graph of 300 in three zones"
    );
}

#[test]
fn who_is_alone_in_its_zone_tells_and_asks_anybody() {
    let map = zoned(4, 4);
    let neighbours = Neighbours::of(&map, &Graph::of(&map), uid(2));
    assert_eq!(neighbours.to_tell().count(), 3);
    assert!(neighbours.is_near(uid(0)));
}
