#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use proptest::prelude::*;

use super::*;
use crate::evidence::{Evidence, EvidenceStore};
use crate::map::Map;
use slotmesh_map::fixture::{keypair, map};

fn state(map: &Map, signer: usize, subjects: &[usize], leaves: bool, sequence: u64) -> Evidence {
    let id = |n: usize| map.members.get(n).map_or(MemberId::OPERATOR, |m| m.id());
    let subjects: Vec<MemberId> = subjects.iter().map(|n| id(*n)).collect();
    Evidence::sign(map, id(signer), &subjects, leaves, sequence, &keypair(0))
}

proptest! {
    /// Whatever is stated, taken back, and forgotten with a map: what is kept beside the statements is what they say.
    #[test]
    fn it_follows_from_the_statements_in_force(
        most in prop::sample::select(vec![3_usize, 6, 14]),
        steps in prop::collection::vec(
            (0..15_usize, prop::collection::vec(0..14_usize, 0..4), 0..20_u64, 0..4_usize, 0..5_u8),
            1..40,
        ),
    ) {
        let whole = map(u16::try_from(most).unwrap());
        let mut store = EvidenceStore::default();
        for (signer, subjects, sequence, fewer, leaves) in steps {
            let mut map = whole.clone();
            map.members.truncate((most - fewer).max(2));
            let graph = Graph::of(&map);
            store.adapt_to(&map, &graph);
            let signer = signer.min(map.members.len());
            let subjects: Vec<usize> = subjects.into_iter().filter(|n| *n < most).collect();
            if signer < map.members.len() || graph.operator_may_observe() {
                let leaves = leaves == 0 && signer < map.members.len();
                let signed = state(&map, signer, &subjects, leaves, sequence);
                store.insert(signed, &graph).unwrap();
            }
            let tally = store.tally();
            let edges: Vec<Edge> = store.reports().collect();
            prop_assert_eq!(&tally.edges(&graph, |_| true), &edges);
            prop_assert_eq!(tally.reports(), edges.len());
            for place in 0..graph.places() {
                let (said, id) = (tally.at(place), graph.at(place).unwrap());
                prop_assert_eq!(said.speaks, !store.reported_by(id).is_empty());
                prop_assert_eq!(said.leaves, store.leaving().any(|leaving| leaving == id));
            }
        }
    }
}
