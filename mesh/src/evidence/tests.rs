#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use proptest::prelude::*;

use super::*;
use crate::map::tests::{keypair, map};

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

#[test]
fn only_sound_evidence_passes() {
    let map = map(4);
    let graph = Graph::of(&map);
    let good = suspect(&map, 0, 1, 1);
    assert_eq!(good.check(&map, &graph, &[]), Ok(()));

    let mut other_cell = map.clone();
    other_cell.cell = "other".into();
    assert_eq!(
        good.check(&other_cell, &graph, &[]),
        Err(EvidenceError::BadSignature)
    );
    let replayed = Evidence {
        sequence: 2,
        ..good
    };
    assert_eq!(
        replayed.check(&map, &graph, &[]),
        Err(EvidenceError::BadSignature)
    );
    let forged = Evidence {
        signer: map.members[2].id(),
        ..good
    };
    assert_eq!(
        forged.check(&map, &graph, &[]),
        Err(EvidenceError::BadSignature)
    );
    let about_itself = Evidence {
        subject: good.signer,
        ..good
    };
    assert_eq!(
        about_itself.check(&map, &graph, &[]),
        Err(EvidenceError::NoSuchEdge)
    );

    let mut restarted = map.clone();
    restarted.members[1].incarnation = 99;
    assert_eq!(
        good.check(&restarted, &graph, &[]),
        Err(EvidenceError::UnknownSubject)
    );
    restarted.members.remove(0);
    let of_the_removed = Evidence {
        subject: restarted.members[0].id(),
        ..good
    };
    assert_eq!(
        of_the_removed.check(&restarted, &graph, &[]),
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
            report.check(&map, &Graph::of(&map), &[operator.public()]),
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
}
