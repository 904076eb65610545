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
