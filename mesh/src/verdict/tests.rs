#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod book;
mod half;
mod leaving;

use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::*;
use crate::evidence::Evidence;
use crate::identity::Uid;
use slotmesh_map::fixture::{keypair, map};

fn ids(map: &Map) -> Vec<MemberId> {
    map.members.iter().map(crate::map::Member::id).collect()
}

/// Everybody alive reports every dead member that it observes.
fn reports_of(map: &Map, graph: &Graph, dead: &[usize], operator: bool) -> Reports {
    let ids = ids(map);
    let dead: BTreeSet<MemberId> = dead.iter().map(|n| ids[*n]).collect();
    let mut edges = Vec::new();
    for subject in &dead {
        for observer in graph.observers(subject.uid) {
            let observer = map.member(*observer).unwrap().id();
            if !dead.contains(&observer) {
                edges.push((observer, *subject));
            }
        }
        if operator && graph.operator_may_observe() {
            edges.push((MemberId::OPERATOR, *subject));
        }
    }
    Reports {
        edges,
        operator,
        ..Reports::default()
    }
}

/// Five of eight are silent, then three of them are heard again, one after the other.
#[test]
fn what_is_left_of_a_cut_is_not_claimed() {
    let map = map(8);
    let graph = Graph::of(&map);
    let mut caution = Caution::default();
    let mut judge = |at_ms: u64, dead: &[usize]| {
        let mut verdict = verdict(&map, &graph, &reports_of(&map, &graph, dead, false));
        let now = Instant::from_micros(at_ms * 1000);
        if caution.withholds(now, &map, &verdict) {
            verdict.withhold();
        }
        (verdict.failed.len(), verdict.unclaimed.len())
    };
    assert_eq!(judge(0, &[5, 6, 7]), (3, 0));
    assert_eq!(judge(100, &[3, 4, 5, 6, 7]), (0, 5));
    assert_eq!(judge(200, &[5, 6, 7]), (0, 3));
    assert_eq!(judge(5_099, &[7]), (0, 1));
    assert_eq!(judge(5_100, &[7]), (1, 0));
}

#[test]
fn a_judge_rests_for_each_report_that_it_judged() {
    let map = map(8);
    let graph = Graph::of(&map);
    let mut evidence = EvidenceStore::default();
    let mut report = |observer: u16, subject: usize| {
        let (signer, subject) = (ids(&map)[usize::from(observer)], ids(&map)[subject]);
        let item = Evidence::sign(&map, signer, &[subject], false, 1, &keypair(observer));
        evidence.insert(item, &graph).unwrap();
        evidence.clone()
    };
    let mut judged = Judged::default();
    let now = Instant::from_micros(5);
    assert!(!judged.rests(now));
    assert_eq!(judged.deadline(), None);
    let _ = report(0, 6);
    let two = report(1, 6);
    let _ = judged.on(now, &map, &graph, &two, false);
    let due = now + limits::REST_FOR_EACH_REPORT * 2;
    assert_eq!(judged.deadline(), None, "nobody wants to judge");
    assert!(judged.rests(now));
    assert_eq!(judged.deadline(), Some(due));
    assert!(!judged.rests(due));
    assert_eq!(judged.deadline(), None, "whoever wanted to can");
}

fn failed_of(count: u16, dead: &[usize], operator: bool) -> Vec<usize> {
    let map = map(count);
    let graph = Graph::of(&map);
    let ids = ids(&map);
    let verdict = verdict(&map, &graph, &reports_of(&map, &graph, dead, operator));
    (0..ids.len())
        .filter(|n| verdict.failed.contains(&ids[*n]))
        .collect()
}

#[test]
fn small_cells() {
    let cases: [(u16, &[usize], bool, &[usize]); 9] = [
        (2, &[1], true, &[1]),
        (2, &[1], false, &[]),
        (3, &[1], false, &[1]),
        (3, &[1], true, &[1]),
        (3, &[0, 1], false, &[]),
        (4, &[2], false, &[2]),
        (5, &[1, 2], false, &[1, 2]),
        (8, &[1, 2, 3], false, &[1, 2, 3]),
        (10, &[0, 3, 6, 9], false, &[0, 3, 6, 9]),
    ];
    for (count, dead, operator, expected) in cases {
        assert_eq!(
            failed_of(count, dead, operator),
            expected,
            "{count} {dead:?} {operator}"
        );
    }
}

#[test]
fn half_the_cell_needs_most_of_the_voters() {
    let graph = Graph::of(&map(8));
    let index = |uid: &Uid| map(8).members.iter().position(|m| m.uid == *uid).unwrap();
    let order: Vec<usize> = graph.ring(0).iter().map(index).collect();
    assert_eq!(
        failed_of(8, &order[4..], false).len(),
        4,
        "four of seven voters live"
    );
    assert_eq!(
        failed_of(8, &order[..4], false).len(),
        0,
        "three of seven voters live"
    );
}

#[test]
fn one_accuser_is_a_degraded_link_and_no_verdict() {
    for count in [3_u16, 4, 8, 30] {
        let map = map(count);
        let graph = Graph::of(&map);
        let subject = map.members[1].id();
        let observer = map.member(graph.observers(subject.uid)[0]).unwrap().id();
        let reports = Reports {
            edges: vec![(observer, subject)],
            ..Reports::default()
        };
        let verdict = verdict(&map, &graph, &reports);
        assert!(
            verdict.failed.is_empty() && verdict.unclaimed.is_empty(),
            "n = {count}"
        );
        assert_eq!(verdict.degraded, [(observer, subject)]);
    }
}

#[test]
fn two_that_accuse_each_other_need_the_operator() {
    let map = map(2);
    let graph = Graph::of(&map);
    let (a, b) = (map.members[0].id(), map.members[1].id());
    let mut reports = Reports {
        edges: vec![(a, b), (b, a)],
        operator: true,
        ..Reports::default()
    };
    assert!(verdict(&map, &graph, &reports).failed.is_empty());
    reports.edges.push((MemberId::OPERATOR, b));
    assert_eq!(verdict(&map, &graph, &reports).failed, BTreeSet::from([b]));
}

#[test]
fn a_liar_cannot_remove_anybody() {
    let map = map(30);
    let graph = Graph::of(&map);
    let liar = map.members[7].id();
    let edges = graph
        .subjects(liar.uid)
        .iter()
        .map(|s| (liar, map.member(*s).unwrap().id()));
    let reports = Reports {
        edges: edges.collect(),
        ..Reports::default()
    };
    assert!(verdict(&map, &graph, &reports).failed.is_empty());
}

/// Every cell from two members up, every set of dead, with and without the operator: exactly the dead
/// are found, and claimed by a majority; by half of the cell with most of the voters, in a cell of two
/// with the operator.
#[test]
fn every_small_cell_and_every_set_of_dead() {
    for count in 2_u16..=9 {
        let map = map(count);
        let graph = Graph::of(&map);
        let ids = ids(&map);
        for (dead_bits, operator) in
            (0_u32..1 << count).flat_map(|bits| [(bits, false), (bits, true)])
        {
            let dead: Vec<usize> = (0..ids.len()).filter(|n| dead_bits >> n & 1 == 1).collect();
            let expected: BTreeSet<MemberId> = dead.iter().map(|n| ids[*n]).collect();
            let found = verdict(&map, &graph, &reports_of(&map, &graph, &dead, operator));
            let living = ids.len() - dead.len();
            let voters = graph.voters();
            let living_voters = voters
                .iter()
                .filter(|v| expected.iter().all(|id| id.uid != **v));
            let claims = match (living * 2).cmp(&ids.len()) {
                std::cmp::Ordering::Greater => true,
                std::cmp::Ordering::Less => false,
                std::cmp::Ordering::Equal if count == 2 => operator,
                std::cmp::Ordering::Equal => living_voters.count() * 2 > voters.len(),
            };
            let case = format!("n = {count}, dead {dead:?}, operator {operator}");
            if claims {
                assert_eq!(found.failed, expected, "{case}");
                assert!(
                    found.unclaimed.is_empty() && found.degraded.is_empty(),
                    "{case}"
                );
            } else {
                assert!(found.failed.is_empty(), "{case}");
            }
        }
    }
}

#[test]
fn who_is_listed_as_failed_is_not_judged_again() {
    for already in 1..=3 {
        let mut map = map(3);
        let members = map.members.iter_mut().take(already);
        members.for_each(|member| member.failed = true);
        let failed = map.members.iter().filter(|member| member.failed);
        let reports = Reports {
            edges: failed.map(|m| (MemberId::OPERATOR, m.id())).collect(),
            operator: true,
            ..Reports::default()
        };
        let found = verdict(&map, &Graph::of(&map), &reports);
        assert!(
            found.failed.is_empty() && found.unclaimed.is_empty(),
            "{already}"
        );
    }
}

/// Random reports: a few subjects are reported by most, others by some.
fn random_edges(map: &Map, graph: &Graph, operator: bool, rng: &mut Pcg64Mcg) -> Vec<Edge> {
    let mut edges = Vec::new();
    for member in &map.members {
        let chance = [0, 5, 30, 60, 75, 100][rng.random_range(0..6)];
        for observer in graph.observers(member.uid) {
            if rng.random_range(0..100) < chance {
                edges.push((map.member(*observer).unwrap().id(), member.id()));
            }
        }
        if operator && graph.operator_may_observe() && rng.random_range(0..100) < chance {
            edges.push((MemberId::OPERATOR, member.id()));
        }
    }
    edges
}

/// Half of the cell is listed as failed already. Of the other five, three fall silent: the two that are left, and those
/// listed as failed, are no majority.
#[test]
fn who_is_listed_as_failed_claims_nothing() {
    let mut map = map(10);
    let members = map.members.iter_mut().take(5);
    members.for_each(|member| member.failed = true);
    let graph = Graph::of(&map);
    for (dead, claimed) in [(&[5, 6][..], 2), (&[5, 6, 7], 0)] {
        let found = verdict(&map, &graph, &reports_of(&map, &graph, dead, false));
        assert_eq!(found.failed.len(), claimed, "{dead:?}");
        assert_eq!(found.failed.len() + found.unclaimed.len(), dead.len());
    }
}

proptest! {
    #[test]
    fn order_never_matters(seed: u64, order in Just((0..24_usize).collect::<Vec<_>>()).prop_shuffle()) {
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        let map = map(12);
        let graph = Graph::of(&map);
        let ids = ids(&map);
        let edges: Vec<Edge> = (0..24)
            .map(|_| {
                let subject = ids[rng.random_range(0..5)];
                let observers = graph.observers(subject.uid);
                let observer = observers[rng.random_range(0..observers.len())];
                (map.member(observer).unwrap().id(), subject)
            })
            .collect();
        let shuffled = order.iter().map(|i| edges[*i]).collect();
        let judge = |edges| verdict(&map, &graph, &Reports { edges, ..Reports::default() }).failed;
        prop_assert_eq!(judge(edges.clone()), judge(shuffled));
    }

    /// The same pods under other names, so in another order: the same verdict.
    #[test]
    fn the_order_of_members_never_matters(seed: u64, names in Just((0..20_usize).collect::<Vec<_>>()).prop_shuffle()) {
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        let map = map(20);
        let graph = Graph::of(&map);
        let edges = random_edges(&map, &graph, false, &mut rng);
        let mut renamed = map.clone();
        for (member, name) in renamed.members.iter_mut().zip(names) {
            member.name = format!("agent-{name:04}");
        }
        renamed.members.sort_by(|a, b| a.name.cmp(&b.name));
        renamed.validate().unwrap();
        let reports = Reports { edges, ..Reports::default() };
        prop_assert_eq!(
            verdict(&map, &graph, &reports),
            verdict(&renamed, &Graph::of(&renamed), &reports)
        );
    }
}

/// Each of them reports all its subjects, which is all that its edges let it; nobody else reports anybody.
#[test]
fn a_tenth_of_the_cell_lying_together_removes_nobody() {
    for (count, liars) in [(10, 1), (30, 3), (100, 10), (250, 25)] {
        let map = map(count);
        let graph = Graph::of(&map);
        let ids = ids(&map);
        let mut rng = Pcg64Mcg::seed_from_u64(u64::from(count));
        for _ in 0..100 {
            let liars: BTreeSet<usize> = std::iter::repeat_with(|| rng.random_range(0..ids.len()))
                .take(liars)
                .collect();
            let lies = liars.iter().flat_map(|liar| {
                let subjects = graph.subjects(ids[*liar].uid).iter();
                subjects.map(|uid| (ids[*liar], map.member(*uid).unwrap().id()))
            });
            let reports = Reports {
                edges: lies.collect(),
                ..Reports::default()
            };
            let found = verdict(&map, &graph, &reports);
            assert!(found.failed.is_empty(), "n = {count}, liars {liars:?}");
            assert_eq!(found.degraded.len(), reports.edges.len());
        }
    }
}
