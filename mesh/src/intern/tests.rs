#![allow(clippy::unwrap_used)]

use super::*;
use crate::identity::Keypair;
use crate::map::Map;
use slotmesh_map::fixture;

fn signed(map: Map) -> SignedMap {
    SignedMap::sign(map, &Keypair::from_seed([1; 32])).unwrap()
}

#[test]
fn equal_maps_share_their_memory() {
    let interner = Interner::default();
    let (first, graph) = interner.intern(signed(fixture::map(3)));
    let (second, same) = interner.intern(signed(fixture::map(3)));
    assert!(Arc::ptr_eq(first.map(), second.map()));
    assert!(Arc::ptr_eq(&graph, &same));
    let (other, another) = interner.intern(signed(fixture::map(4)));
    assert!(!Arc::ptr_eq(first.map(), other.map()));
    assert_eq!(another.len(), 4);
}

#[test]
fn only_the_newest_are_kept() {
    let interner = Interner::default();
    let (first, _) = interner.intern(signed(fixture::map(3)));
    for epoch in 0..KEPT_MAX {
        let mut map = fixture::map(3);
        map.epoch += 1 + epoch as u64;
        let _ = interner.intern(signed(map));
    }
    assert_eq!(interner.kept().maps.len(), KEPT_MAX);
    let (again, _) = interner.intern(signed(fixture::map(3)));
    assert!(!Arc::ptr_eq(first.map(), again.map()));
}

#[test]
fn a_signature_is_verified_once_and_a_bad_one_each_time() {
    let interner = Interner::default();
    let key = Keypair::from_seed([1; 32]);
    let parts: [&[u8]; 2] = [b"some", b"thing"];
    let signature = key.sign("test", &parts);
    let mut asked = 0;
    let mut ask = |parts: &[&[u8]], holds: bool| {
        interner.verified(&key.public(), parts, &signature, || {
            asked += 1;
            holds
        })
    };
    assert!(!ask(&parts, false));
    assert!(ask(&parts, true));
    assert!(ask(&parts, false), "it holds already");
    assert!(!ask(&[b"somet", b"hing"], false), "something else");
    assert_eq!(asked, 3);
}

fn next(map: &SignedMap) -> SignedMap {
    let mut next = map.map().as_ref().clone();
    next.epoch += 1;
    signed(next)
}

#[test]
fn a_difference_is_applied_once() {
    let interner = Interner::default();
    let first = signed(fixture::map(3));
    let (second, other) = (next(&first), next(&signed(fixture::map(4))));
    let bytes = second.difference_from(&first);
    let mut asked = 0;
    let mut apply = |base: &SignedMap, bytes: &[u8]| {
        interner.applied(base, bytes, || {
            asked += 1;
            SignedMap::apply(base, bytes, &[Keypair::from_seed([1; 32]).public()])
        })
    };
    assert_eq!(apply(&first, &bytes).unwrap(), second);
    assert_eq!(apply(&first, &bytes).unwrap(), second);
    // What comes to nothing is found out each time, and another base is another question.
    assert_eq!(apply(&other, &bytes), Err(MapError::NotNewer));
    assert_eq!(apply(&other, &bytes), Err(MapError::NotNewer));
    assert!(apply(&first, b"").is_err());
    assert_eq!(asked, 4);
    for _ in 0..2 {
        assert_eq!(interner.difference(&first, &second), bytes);
    }
    assert_ne!(interner.difference(&second, &next(&second)), bytes);
    assert_eq!(interner.kept().differences.len(), 2);
}

#[test]
fn few_differences_are_kept() {
    let interner = Interner::default();
    let mut map = signed(fixture::map(3));
    for _ in 0..2 * DIFFERENCES_MAX {
        let newer = next(&map);
        let bytes = interner.difference(&map, &newer);
        let _ = interner.applied(&map, &bytes, || Ok(newer.clone()));
        map = newer;
    }
    let kept = interner.kept();
    assert_eq!(kept.differences.len(), DIFFERENCES_MAX);
    assert_eq!(kept.applied.len(), DIFFERENCES_MAX);
}
