#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use proptest::prelude::*;

use super::*;
use slotmesh_map::fixture::{keypair, map};

fn suspect(map: &Map, observer: u16, subject: u16, sequence: u64) -> Evidence {
    let id = |n: u16| map.members[usize::from(n)].id();
    Evidence::sign(
        map,
        id(observer),
        id(subject),
        Claim::Suspect,
        sequence,
        &keypair(observer),
    )
}

fn grounds<'a>(map: &'a Map, graph: &'a Graph, operator: &'a [PublicKey]) -> Grounds<'a> {
    Grounds {
        map,
        graph,
        operator,
        interner: None,
    }
}

#[test]
fn only_sound_evidence_passes() {
    let map = map(4);
    let graph = Graph::of(&map);
    let good = suspect(&map, 0, 1, 1);
    assert_eq!(good.check(grounds(&map, &graph, &[])), Ok(()));

    let mut other_cell = map.clone();
    other_cell.cell = "other".into();
    assert_eq!(
        good.check(grounds(&other_cell, &graph, &[])),
        Err(EvidenceError::BadSignature)
    );
    let replayed = Evidence {
        sequence: 2,
        ..good
    };
    assert_eq!(
        replayed.check(grounds(&map, &graph, &[])),
        Err(EvidenceError::BadSignature)
    );
    let forged = Evidence {
        signer: map.members[2].id(),
        ..good
    };
    assert_eq!(
        forged.check(grounds(&map, &graph, &[])),
        Err(EvidenceError::BadSignature)
    );
    let about_itself = Evidence {
        subject: good.signer,
        ..good
    };
    assert_eq!(
        about_itself.check(grounds(&map, &graph, &[])),
        Err(EvidenceError::NoSuchEdge)
    );

    let mut restarted = map.clone();
    restarted.members[1].incarnation = 99;
    assert_eq!(
        good.check(grounds(&restarted, &graph, &[])),
        Err(EvidenceError::UnknownSubject)
    );
    restarted.members.remove(0);
    let of_the_removed = Evidence {
        subject: restarted.members[0].id(),
        ..good
    };
    assert_eq!(
        of_the_removed.check(grounds(&restarted, &Graph::of(&restarted), &[])),
        Err(EvidenceError::UnknownSigner)
    );
}

#[test]
fn the_operator_reports_in_small_cells_only() {
    let operator = keypair(500);
    for (members, expected) in [(3, Ok(())), (4, Err(EvidenceError::NoSuchEdge))] {
        let map = map(members);
        let report = Evidence::sign(
            &map,
            MemberId::OPERATOR,
            map.members[0].id(),
            Claim::Suspect,
            1,
            &operator,
        );
        assert_eq!(
            report.check(grounds(&map, &Graph::of(&map), &[operator.public()])),
            expected
        );
    }
}

#[test]
fn evidence_about_the_gone_is_dropped() {
    let map = map(4);
    let mut store = EvidenceStore::default();
    for subject in 1..4 {
        store
            .insert(suspect(&map, 0, subject, u64::from(subject)))
            .unwrap();
    }
    let mut newer = map.clone();
    newer.members.remove(3);
    newer.members[2].incarnation = 90;
    store.retain_for(&newer, &Graph::of(&newer));
    assert_eq!(
        store.reports().collect::<Vec<_>>(),
        [(map.members[0].id(), map.members[1].id())]
    );
}

#[test]
fn summaries_find_what_is_missing() {
    let map = map(5);
    let (mut a, mut b) = (EvidenceStore::default(), EvidenceStore::default());
    a.insert(suspect(&map, 0, 1, 1)).unwrap();
    a.insert(suspect(&map, 0, 2, 5)).unwrap();
    b.insert(suspect(&map, 0, 2, 4)).unwrap();
    b.insert(suspect(&map, 3, 2, 1)).unwrap();
    assert!(a.lacks_something_of(&b.summary()) && b.lacks_something_of(&a.summary()));
    let (to_b, to_a) = (a.missing_from(&b.summary()), b.missing_from(&a.summary()));
    assert_eq!((to_b.len(), to_a.len()), (2, 1));
    to_b.into_iter()
        .for_each(|evidence| assert!(b.insert(evidence).unwrap()));
    to_a.into_iter()
        .for_each(|evidence| assert!(a.insert(evidence).unwrap()));
    assert_eq!(a.digest(), b.digest());
}

#[test]
fn nobody_reports_who_is_listed_as_failed() {
    let operator = keypair(500);
    let mut map = map(3);
    let subject = map.members[1].id();
    let report = Evidence::sign(
        &map,
        MemberId::OPERATOR,
        subject,
        Claim::Suspect,
        1,
        &operator,
    );
    let mut store = EvidenceStore::default();
    store.insert(report).unwrap();
    store.retain_for(&map, &Graph::of(&map));
    assert_eq!(store.len(), 1);
    map.members[1].failed = true;
    let graph = Graph::of(&map);
    assert_eq!(
        report.check(grounds(&map, &graph, &[operator.public()])),
        Err(EvidenceError::NoSuchEdge)
    );
    store.retain_for(&map, &graph);
    assert!(store.is_empty());
    assert_eq!(store.digest(), EvidenceStore::default().digest());
}

#[test]
fn golden_evidence() {
    let signature = suspect(&map(3), 0, 1, 7).signature;
    let hex: String = signature.as_bytes()[..16]
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    assert_eq!(hex, "0a6ac5e9c54e8f770175fc2a0b41ee9e");
}

/// An unsigned statement about the n-th edge of a large cell: stores take only checked ones.
fn unsigned(n: u32, claim: Claim, sequence: u64) -> Evidence {
    let id = |n: u32| MemberId {
        uid: crate::identity::Uid::from_bytes(u128::from(n).to_be_bytes()),
        incarnation: limits::EPOCH_MAX,
    };
    Evidence {
        signer: id(n),
        subject: id(n + 1),
        claim,
        epoch: limits::EPOCH_MAX,
        sequence,
        signature: Signature::from_bytes([0; 64]),
    }
}

#[test]
fn a_full_store_is_repaired_part_by_part_and_takes_no_more() {
    let count = u32::try_from(limits::EVIDENCE_MAX).unwrap();
    let (mut full, mut behind) = (EvidenceStore::default(), EvidenceStore::default());
    for n in 0..count {
        full.insert(unsigned(n, Claim::Suspect, u64::MAX)).unwrap();
        if n >= 2000 {
            behind
                .insert(unsigned(n, Claim::Suspect, u64::MAX))
                .unwrap();
        }
    }
    assert_eq!(
        full.insert(unsigned(count, Claim::Suspect, 1)),
        Err(EvidenceError::Full)
    );
    let summary = crate::wire::Frame::Summary {
        reply: false,
        entries: full.summary(),
    };
    let bytes = summary.encode();
    assert_eq!(crate::wire::Frame::decode(&bytes), Ok(summary));

    let mut parts = 0;
    while full.digest() != behind.digest() {
        let part = full.missing_from(&behind.summary());
        assert!(!part.is_empty() && part.len() <= limits::EVIDENCE_PER_FRAME_MAX);
        for evidence in part {
            assert!(behind.insert(evidence).unwrap(), "only what was missing");
        }
        parts += 1;
    }
    assert_eq!(parts, 2000_usize.div_ceil(limits::EVIDENCE_PER_FRAME_MAX));
}

proptest! {
    #[test]
    fn order_does_not_matter(order in Just((0_u64..12).collect::<Vec<_>>()).prop_shuffle()) {
        let map = map(5);
        let all: Vec<Evidence> =
            (0..12).map(|i| suspect(&map, (i % 3) as u16, 3 + (i % 2) as u16, i)).collect();
        let (mut sorted, mut shuffled) = (EvidenceStore::default(), EvidenceStore::default());
        for i in 0..12 {
            sorted.insert(all[i]).unwrap();
            shuffled.insert(all[order[i] as usize]).unwrap();
            shuffled.insert(all[order[i] as usize]).unwrap();
        }
        prop_assert_eq!(sorted.digest(), shuffled.digest());
        prop_assert!(sorted.iter().eq(shuffled.iter()));
    }

    /// Merging is commutative, associative and idempotent, also where signers state two things at one
    /// sequence.
    #[test]
    fn stores_merge_in_any_order(
        order in Just((0..48_usize).collect::<Vec<_>>()).prop_shuffle(),
        again in prop::collection::vec(0..48_usize, 0..20),
    ) {
        let claims = [Claim::Suspect, Claim::Clear, Claim::Leave];
        let all: Vec<Evidence> = (0..48_u32)
            .map(|i| unsigned(i % 4, claims[(i / 4 % 3) as usize], u64::from(i / 12)))
            .collect();
        let fill = |order: &[usize]| {
            let mut store = EvidenceStore::default();
            order.iter().for_each(|i| { store.insert(all[*i]).unwrap(); });
            store
        };
        let repeated: Vec<usize> = order.iter().chain(&again).copied().collect();
        let sorted: Vec<usize> = (0..48).collect();
        let (sorted, shuffled) = (fill(&sorted), fill(&repeated));
        prop_assert!(sorted.iter().eq(shuffled.iter()));
        prop_assert_eq!(sorted.digest(), shuffled.digest());
    }
}
