#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use proptest::prelude::*;

use super::*;
use crate::evidence::Tag;
use crate::identity::{Signature, Uid};
use crate::wire::Frame;
use slotmesh_map::fixture::{keypair, map};

fn id(map: &Map, n: usize) -> MemberId {
    map.members[n].id()
}

fn suspect(map: &Map, observer: u16, subjects: &[usize], sequence: u64) -> Evidence {
    let subjects: Vec<MemberId> = subjects.iter().map(|n| id(map, *n)).collect();
    let (signer, key) = (id(map, observer.into()), keypair(observer));
    Evidence::sign(map, signer, &subjects, false, sequence, &key)
}

fn insert(store: &mut EvidenceStore, map: &Map, evidence: Evidence) -> Option<Change> {
    store.insert(evidence, &Graph::of(map)).unwrap()
}

#[test]
fn the_newest_statement_of_a_signer_stands() {
    let map = map(5);
    let mut store = EvidenceStore::default();
    let change = insert(&mut store, &map, suspect(&map, 0, &[1, 2], 4)).unwrap();
    assert_eq!(change.reported, [id(&map, 1), id(&map, 2)]);
    assert_eq!((change.cleared.len(), change.leaves), (0, false));
    assert_eq!(insert(&mut store, &map, suspect(&map, 0, &[3], 3)), None);
    let change = insert(&mut store, &map, suspect(&map, 0, &[2, 3], 5)).unwrap();
    assert_eq!(change.reported, [id(&map, 3)]);
    assert_eq!(change.cleared, [id(&map, 1)]);
    let reports: Vec<_> = store.reports().collect();
    assert_eq!(reports, [2, 3].map(|n| (id(&map, 0), id(&map, n))));
    assert_eq!((store.len(), store.reported()), (1, 2));
    let reporters_of = |n| {
        store
            .tally()
            .reporters_of(&Graph::of(&map), id(&map, n).uid)
    };
    assert_eq!([1, 3].map(reporters_of), [0, 1]);
}

#[test]
fn whoever_leaves_says_so_once() {
    let map = map(3);
    let mut store = EvidenceStore::default();
    let leave = |sequence| Evidence::sign(&map, id(&map, 0), &[], true, sequence, &keypair(0));
    assert!(insert(&mut store, &map, leave(1)).unwrap().leaves);
    assert!(!insert(&mut store, &map, leave(2)).unwrap().leaves);
    assert_eq!(store.leaving().collect::<Vec<_>>(), [id(&map, 0)]);
}

#[test]
fn what_was_said_of_the_gone_no_longer_counts() {
    let map = map(5);
    let mut store = EvidenceStore::default();
    insert(&mut store, &map, suspect(&map, 0, &[1, 2, 3], 1));
    insert(&mut store, &map, suspect(&map, 4, &[1], 1));
    let mut newer = map.clone();
    newer.members.remove(4);
    newer.members.remove(3);
    newer.members[2].incarnation = 90;
    store.adapt_to(&newer, &Graph::of(&newer));
    assert_eq!(
        store.reports().collect::<Vec<_>>(),
        [(id(&map, 0), id(&map, 1))]
    );
    assert_eq!((store.len(), store.reported()), (1, 1));
    let tag = |n| SignerTag::of(id(&map, n));
    assert_eq!(store.of_signer(tag(0)).unwrap().sequence, 1);
    assert_eq!(
        store.of_signer(tag(4)),
        None,
        "and of its own words nothing is left"
    );
    let mut fresh = EvidenceStore::default();
    insert(&mut fresh, &newer, suspect(&map, 0, &[1, 2, 3], 1));
    assert_eq!(store.digest(), fresh.digest());
}

/// Statements may come from an epoch further on: they count once the map that they speak of is there.
#[test]
fn a_statement_about_somebody_unknown_counts_when_the_map_lists_it() {
    let later = map(5);
    let mut now = later.clone();
    now.members.remove(4);
    let mut store = EvidenceStore::default();
    let change = insert(&mut store, &now, suspect(&later, 0, &[4], 1)).unwrap();
    assert_eq!((change.reported.len(), store.reported()), (0, 0));
    let graph = Graph::of(&later);
    store.adapt_to(&later, &graph);
    assert_eq!(store.tally().reporters_of(&graph, id(&later, 4).uid), 1);
}

#[test]
fn the_operators_words_go_where_it_may_not_observe() {
    let (small, large) = (map(3), map(4));
    let mut store = EvidenceStore::default();
    let reported = [id(&small, 0)];
    let said = Evidence::sign(&small, MemberId::OPERATOR, &reported, false, 1, &keypair(9));
    insert(&mut store, &small, said);
    assert_eq!(store.reported_by(MemberId::OPERATOR), reported);
    store.adapt_to(&large, &Graph::of(&large));
    assert!(store.is_empty());
    assert_eq!(store.digest(), EvidenceStore::default().digest());
}

#[test]
fn summaries_find_what_is_missing() {
    let map = map(5);
    let (mut a, mut b) = (EvidenceStore::default(), EvidenceStore::default());
    insert(&mut a, &map, suspect(&map, 0, &[1], 1));
    insert(&mut a, &map, suspect(&map, 1, &[2], 5));
    insert(&mut b, &map, suspect(&map, 1, &[2, 3], 4));
    insert(&mut b, &map, suspect(&map, 3, &[2], 1));
    let lacking = |store: &EvidenceStore, theirs: &EvidenceStore| {
        let lines = theirs.summary();
        lines.iter().filter(|line| store.lacks(line)).count()
    };
    assert_eq!((lacking(&b, &a), lacking(&a, &b)), (2, 1));
    let (to_b, to_a) = (a.missing_from(&b.summary()), b.missing_from(&a.summary()));
    assert_eq!((to_b.len(), to_a.len()), (2, 1));
    for (store, missing) in [(&mut b, to_b), (&mut a, to_a)] {
        for evidence in missing {
            assert!(insert(store, &map, evidence).is_some());
        }
    }
    assert_eq!(a.digest(), b.digest());
}

/// An unsigned statement: stores take only checked ones.
fn unsigned(signer: u32, sequence: u64, reported: u8, leaves: bool) -> Evidence {
    Evidence {
        signer: MemberId {
            uid: Uid::from_bytes(u128::from(signer).to_be_bytes()),
            incarnation: limits::EPOCH_MAX,
        },
        epoch: limits::EPOCH_MAX,
        sequence,
        leaves,
        reported: vec![Tag([reported; 4])],
        signature: Signature::from_bytes([0; 64]),
    }
}

#[test]
fn a_full_store_is_repaired_part_by_part_and_takes_no_more() {
    const BEHIND: usize = 600;
    let graph = Graph::of(&map(1));
    let (mut full, mut behind) = (EvidenceStore::default(), EvidenceStore::default());
    for n in 0..limits::EVIDENCE_MAX {
        let item = unsigned(u32::try_from(n).unwrap(), u64::MAX, 1, false);
        full.insert(item.clone(), &graph).unwrap();
        if n >= BEHIND {
            behind.insert(item, &graph).unwrap();
        }
    }
    assert_eq!(
        full.insert(unsigned(u32::MAX, 1, 1, false), &graph),
        Err(EvidenceError::Full)
    );
    let summary = Frame::Summary(full.summary());
    assert_eq!(Frame::decode(&summary.encode()), Ok(summary));

    let mut parts = 0;
    while full.digest() != behind.digest() {
        let part = full.missing_from(&behind.summary());
        assert!(!part.is_empty() && part.len() <= limits::EVIDENCE_PER_FRAME_MAX);
        for evidence in part {
            let taken = behind.insert(evidence, &graph).unwrap();
            assert!(taken.is_some(), "only what was missing");
        }
        parts += 1;
    }
    assert_eq!(parts, BEHIND.div_ceil(limits::EVIDENCE_PER_FRAME_MAX));
}

proptest! {
    /// Merging is commutative, associative and idempotent, also where signers state several things at one
    /// sequence.
    #[test]
    fn stores_merge_in_any_order(
        order in Just((0..48_usize).collect::<Vec<_>>()).prop_shuffle(),
        again in prop::collection::vec(0..48_usize, 0..20),
    ) {
        let graph = Graph::of(&map(1));
        let all: Vec<Evidence> = (0..48_u32)
            .map(|i| unsigned(i % 4, u64::from(i / 16), (i / 4 % 2) as u8, i / 8 % 2 == 0))
            .collect();
        let fill = |order: &[usize]| {
            let mut store = EvidenceStore::default();
            for i in order {
                store.insert(all[*i].clone(), &graph).unwrap();
            }
            store
        };
        let repeated: Vec<usize> = order.iter().chain(&again).copied().collect();
        let sorted: Vec<usize> = (0..48).collect();
        let (sorted, shuffled) = (fill(&sorted), fill(&repeated));
        prop_assert!(sorted.iter().eq(shuffled.iter()));
        prop_assert_eq!(sorted.digest(), shuffled.digest());
    }

    /// However statements come and maps change in between, the counts are those of what is held.
    #[test]
    fn counts_follow_from_what_is_held(
        steps in prop::collection::vec((0..6_u16, prop::collection::vec(0..6_usize, 0..4), 0..20_u64, 3..=6_usize), 1..40),
    ) {
        let whole = map(6);
        let mut store = EvidenceStore::default();
        for (observer, subjects, sequence, members) in steps {
            let mut map = whole.clone();
            map.members.truncate(members);
            let graph = Graph::of(&map);
            store.adapt_to(&map, &graph);
            if usize::from(observer) < members {
                store.insert(suspect(&whole, observer, &subjects, sequence), &graph).unwrap();
            }
            let subjects: std::collections::BTreeSet<Uid> =
                store.reports().map(|(_, subject)| subject.uid).collect();
            prop_assert_eq!(store.reported(), subjects.len());
            let reporters_of = |uid: &Uid| store.tally().reporters_of(&graph, *uid);
            prop_assert!(subjects.iter().all(|uid| reporters_of(uid) > 0));
            let mut fresh = EvidenceStore::default();
            for held in store.iter() {
                fresh.insert(held.clone(), &graph).unwrap();
            }
            prop_assert_eq!(fresh.digest(), store.digest());
            prop_assert!(fresh.reports().eq(store.reports()));
        }
    }
}
