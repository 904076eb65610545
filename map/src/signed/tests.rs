#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use proptest::prelude::*;

use super::*;
use crate::fixture::{after_a_death, as_json, keypair, map, member, realistic, uid};
use crate::map::Member;
use crate::slot::SlotSet;

fn operator() -> Keypair {
    keypair(u16::MAX)
}

fn keys() -> [PublicKey; 1] {
    [operator().public()]
}

fn signed(map: Map) -> SignedMap {
    SignedMap::sign(map, &operator()).unwrap()
}

fn decompress(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::decompress(bytes, limits::FRAME_BYTES_MAX).unwrap()
}

/// The next epoch: member 1 died, member 999 joined, member 0 took over slots.
fn next(base: &Map) -> Map {
    let mut map = base.clone();
    let dead = map.members.remove(1);
    map.members[0].owners[0].slots = map.members[0].owners[0].slots.union(&dead.slots());
    map.members.push(Member {
        incarnation: 101,
        ..member(999, "")
    });
    map.epoch = 101;
    map
}

#[test]
fn a_whole_map_round_trips_and_shrinks() {
    let map = signed(map(250));
    let bytes = map.encode();
    assert_eq!(
        SignedMap::decode(&bytes, map.map().cluster, &keys()).unwrap(),
        map
    );
    assert!(bytes.len() < map.map().canonical().len());
}

#[test]
fn a_difference_leads_to_the_same_map_and_is_small() {
    let old = signed(map(100));
    let new = signed(next(old.map()));
    let difference = new.difference_from(&old);
    assert_eq!(SignedMap::apply(&old, &difference, &keys()).unwrap(), new);
    assert!(
        difference.len() * 10 < new.encode().len(),
        "{}",
        difference.len()
    );
    assert_eq!(
        SignedMap::apply(&new, &difference, &keys()),
        Err(MapError::NotNewer),
        "a second copy"
    );
    assert_eq!(
        SignedMap::apply(&signed(map(99)), &difference, &keys()),
        Err(MapError::WrongBase)
    );
}

#[test]
fn signing_is_deterministic() {
    assert_eq!(signed(map(9)).encode(), signed(map(9)).encode());
}

#[test]
fn strangers_maps_are_refused() {
    let good = signed(map(3));
    let cluster = good.map().cluster;
    let forged = SignedMap::sign(map(3), &keypair(1)).unwrap();
    assert_eq!(
        SignedMap::decode(&forged.encode(), cluster, &keys()),
        Err(MapError::BadSignature)
    );
    assert_eq!(
        SignedMap::decode(&good.encode(), uid(1), &keys()),
        Err(MapError::WrongCluster)
    );
    assert_eq!(
        SignedMap::decode(&good.encode(), cluster, &[]),
        Err(MapError::BadSignature)
    );
    assert!(SignedMap::decode(&[], cluster, &keys()).is_err());
}

/// Whoever can connect can send a map: only one with a good signature is worth the work of checks.
#[test]
fn the_signature_is_checked_before_the_map() {
    let mut broken = map(3);
    broken.members[1].owners[0].slots = SlotSet::full();
    let cluster = broken.cluster;
    let sha256 = broken.sha256();
    let whole = |key: &Keypair| {
        let whole = Whole {
            signature: key.sign(DOMAIN, &[cluster.as_bytes(), &sha256]),
            map: broken.canonical(),
        };
        compress(&postcard::to_stdvec(&whole).unwrap())
    };
    let by_anybody = SignedMap::decode(&whole(&keypair(1)), cluster, &keys());
    assert_eq!(by_anybody, Err(MapError::BadSignature));
    let by_the_operator = SignedMap::decode(&whole(&operator()), cluster, &keys());
    assert!(matches!(by_the_operator, Err(MapError::Inconsistent(_))));
}

#[test]
fn golden_signature() {
    let signature = signed(map(3)).signature;
    let hex: String = signature.as_bytes()[..16]
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    assert_eq!(hex, "ffe1b60c92d08972ef8d7b2000270f1d");
}

#[test]
fn a_difference_tells_every_kind_of_change() {
    type Change = (&'static str, fn(&mut Map));
    let changes: [Change; 8] = [
        ("nothing but the epoch", |_| {}),
        ("protocol", |map| map.protocol.heartbeat_interval_ms = 500),
        ("era", |map| map.era = 1),
        ("failed", |map| map.members[2].failed = true),
        ("incarnation and key", |map| {
            map.members[2].incarnation = 101;
            map.members[2].key = keypair(77).public();
        }),
        ("renamed, so sorted elsewhere", |map| {
            map.members[0].name = "z".into();
            map.members.sort_by(|a, b| a.name.cmp(&b.name));
        }),
        ("slots of the cell", |map| {
            map.members.iter_mut().for_each(|m| m.owners.clear());
            map.slots = "0-8191".parse().unwrap();
        }),
        ("all gone", |map| map.members.clear()),
    ];
    let old = signed(map(5));
    for (name, change) in changes {
        let mut newer = map(5);
        newer.epoch = 101;
        change(&mut newer);
        let new = signed(newer);
        let applied = SignedMap::apply(&old, &new.difference_from(&old), &keys());
        assert_eq!(applied, Ok(new), "{name}");
    }
}

/// What cells of usual sizes cost on the wire. (Row P4b of `mesh-sim bench` shows more.)
#[test]
fn maps_are_small_on_the_wire() {
    const WHOLE_OF_1000_MAX: usize = 96 * 1024;
    const DEATH_MAX: usize = 2 * 1024;
    for (members, owners) in [(250, 1), (1000, 1), (1000, 4)] {
        let map = signed(realistic(members, owners));
        let next = signed(after_a_death(map.map(), members / 2));
        let (whole, death) = (map.encode().len(), next.difference_from(&map).len());
        let json = as_json(map.map()).len();
        println!("{members} x {owners}: JSON {json} B, whole {whole} B, one death {death} B");
        assert!(whole * 3 < json, "{whole} of {json}");
        assert!(death <= DEATH_MAX, "{death}");
        assert!(owners > 1 || whole <= WHOLE_OF_1000_MAX, "{whole}");
    }
}

/// The forms themselves, before zstd (whose bytes may differ between its versions).
#[test]
fn golden_wire_forms() {
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|b| format!("{b:02x}")).collect() };
    let old = signed(map(2));
    let whole = decompress(&old.encode());
    let canonical = old.map().canonical();
    assert_eq!(&whole[..64], old.signature.as_bytes());
    assert_eq!(
        whole[64..66],
        [
            (canonical.len() % 128 + 128) as u8,
            (canonical.len() / 128) as u8
        ]
    );
    assert_eq!(whole[66..], canonical);
    let difference = decompress(&signed(after_a_death(old.map(), 1)).difference_from(&old));
    let head = [
        signed(after_a_death(old.map(), 1)).signature.as_bytes(),
        &old.sha256[..],
    ]
    .concat();
    assert_eq!(difference[..96], head);
    // era 0, epoch 101, slots and protocol as before, removed [1], nobody marked, moved [(0, 0, 8192-16383, none)],
    // nobody changed, delegation and directory as before
    assert_eq!(
        hex(&difference[96..]),
        "00650000010100010000018040ff7f00000000"
    );
}

/// A difference of nothing but moves, with nobody's signature, before it is compressed.
fn moves(base: &SignedMap, moves: &[[u8; 2]]) -> Vec<u8> {
    let mut plain = [&[0; 64][..], &base.sha256, &[0, 101], &[0; 4]].concat();
    plain.extend(postcard::to_stdvec(&moves.len()).unwrap());
    plain.extend(moves.iter().flat_map(|place| [place[0], place[1], 0, 0]));
    plain.extend([0; 3]);
    compress(&plain)
}

#[test]
fn moves_ascend_and_name_each_owner_once() {
    let base = signed(map(5));
    let refusal =
        |places: &[[u8; 2]]| SignedMap::apply(&base, &moves(&base, places), &keys()).unwrap_err();
    // Sound, but for the signature.
    assert_eq!(refusal(&[[0, 0], [1, 0], [4, 0]]), MapError::BadSignature);
    let out_of_order = MapError::Malformed("moves that do not ascend");
    assert_eq!(refusal(&[[0, 0], [0, 0]]), out_of_order);
    assert_eq!(refusal(&[[1, 0], [0, 0]]), out_of_order);
    let nobody = MapError::Malformed("slots of a member that does not exist");
    assert_eq!(refusal(&[[4, 0], [5, 0]]), nobody);
    let no_owner = MapError::Malformed("slots of an owner that does not exist");
    assert_eq!(refusal(&[[0, 0], [0, 1]]), no_owner);
    let too_many = vec![[0, 0]; 2 * usize::from(crate::slot::SLOT_COUNT) + 1];
    let unread = MapError::Malformed("the bytes do not decode");
    assert_eq!(refusal(&too_many), unread);
    assert_eq!(refusal(&too_many[1..]), out_of_order);
}

#[test]
fn a_bomb_is_refused() {
    let bomb = compress(&vec![0; limits::FRAME_BYTES_MAX + 1]);
    assert!(bomb.len() < 4096);
    assert!(matches!(
        SignedMap::decode(&bomb, uid(1), &keys()),
        Err(MapError::Malformed(_))
    ));
}

proptest! {
    #[test]
    fn damaged_bytes_never_verify(position in 0_usize..10_000, flip in 1_u8..=255) {
        let old = signed(map(6));
        let new = signed(next(old.map()));
        let mut bytes = new.encode();
        let length = bytes.len();
        bytes[position % length] ^= flip;
        if let Ok(map) = SignedMap::decode(&bytes, old.map().cluster, &keys()) {
            prop_assert_eq!(map, new.clone());
        }
        let mut bytes = new.difference_from(&old);
        let length = bytes.len();
        bytes[position % length] ^= flip;
        if let Ok(map) = SignedMap::apply(&old, &bytes, &keys()) {
            prop_assert_eq!(map, new);
        }
    }

    /// Whatever is compressed well: a difference that the operator did not sign leads nowhere.
    #[test]
    fn whatever_a_difference_says_it_never_verifies(
        rest in proptest::collection::vec(any::<u8>(), 0..200),
        length in 0_usize..400,
        position in 0_usize..400,
    ) {
        let old = signed(map(6));
        let new = signed(next(old.map()));
        let plain = decompress(&new.difference_from(&old));
        // Bytes of one's own from the start, after a head that is believed, and in the midst of a sound one.
        let head = [plain[..96].to_vec(), vec![0, 101]].concat();
        let position = position % plain.len();
        let (before, after) = plain.split_at(position);
        let after = after.get(rest.len()..).unwrap_or_default();
        let cut = plain[..length.min(plain.len() - 1)].to_vec();
        for bytes in [
            rest.clone(),
            [&head[..], &rest].concat(),
            [before, &rest, after].concat(),
            cut,
        ] {
            let applied = SignedMap::apply(&old, &compress(&bytes), &keys());
            prop_assert!(applied.is_err() || applied == Ok(new.clone()));
            prop_assert!(applied.is_err() || bytes == plain, "{bytes:?}");
        }
    }
}
