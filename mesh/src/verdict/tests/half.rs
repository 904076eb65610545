//! A third to half of a cell dies at once.

use super::*;

/// The dead are reported by the living, and a share of all other edges by mistake.
fn reports(
    map: &Map,
    graph: &Graph,
    dead: &BTreeSet<Uid>,
    percent: u32,
    rng: &mut Pcg64Mcg,
) -> Vec<Edge> {
    let mut edges = Vec::new();
    for subject in graph.members() {
        for observer in graph
            .observers(subject)
            .iter()
            .filter(|o| !dead.contains(o))
        {
            if dead.contains(&subject) || rng.random_range(0..100) < percent {
                let id = |uid: Uid| map.member(uid).unwrap().id();
                edges.push((id(*observer), id(subject)));
            }
        }
    }
    edges
}

fn judge(map: &Map, graph: &Graph, edges: Vec<Edge>) -> Verdict {
    let reports = Reports {
        edges,
        ..Reports::default()
    };
    verdict(map, graph, &reports)
}

fn some(map: &Map, share: usize, rng: &mut Pcg64Mcg) -> BTreeSet<Uid> {
    let mut order = ids(map);
    for last in (1..order.len()).rev() {
        order.swap(last, rng.random_range(0..=last));
    }
    let count = order.len() * share / 100;
    order.into_iter().take(count).map(|id| id.uid).collect()
}

/// Nearly half of a cell, and what is reported of it.
pub(super) fn many_dead(map: &Map, rng: &mut Pcg64Mcg) -> (BTreeSet<Uid>, Vec<Edge>) {
    let dead = some(map, 49, rng);
    let edges = reports(map, &Graph::of(map), &dead, 2, rng);
    (dead, edges)
}

/// Some of them are observed by one of the living, or by none: they are left for the next epoch, and leave no others.
#[test]
fn the_dead_whom_nobody_observes_leave_no_others_behind() {
    let map = map(100);
    let graph = Graph::of(&map);
    let mut left = 0;
    for seed in 0..200 {
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        let dead = some(&map, 49, &mut rng);
        let edges = reports(&map, &graph, &dead, 0, &mut rng);
        let observers = |uid: &Uid| graph.observers(*uid).iter();
        let observed =
            |uid: &&Uid| observers(uid).filter(|o| !dead.contains(o)).count() >= limits::WITNESSES;
        let expected: BTreeSet<Uid> = dead.iter().filter(observed).copied().collect();
        left += dead.len() - expected.len();
        let failed = judge(&map, &graph, edges).failed;
        let failed: BTreeSet<Uid> = failed.iter().map(|id| id.uid).collect();
        assert_eq!(failed, expected, "seed {seed}");
    }
    assert!(left > 20, "{left} that nobody observes");
}

/// A member whose other observers are dead: two that report it are no verdict, and three are none if it reports
/// somebody itself.
#[test]
fn a_few_of_ten_observers_fail_nobody() {
    let map = map(100);
    let graph = Graph::of(&map);
    let subject = map.members[42].uid;
    let observers = graph.observers(subject).to_vec();
    for (liars, speaks) in (1..=5).flat_map(|liars| [(liars, false), (liars, true)]) {
        let dead = observers[liars..].iter().copied().collect();
        let mut rng = Pcg64Mcg::seed_from_u64(0);
        let mut edges = reports(&map, &graph, &dead, 0, &mut rng);
        let id = |uid: Uid| map.member(uid).unwrap().id();
        edges.retain(|(observer, _)| observer.uid != subject);
        let other = graph.subjects(subject).iter().find(|s| !dead.contains(s));
        edges.extend(speaks.then(|| (id(subject), id(*other.unwrap()))));
        edges.extend(observers[..liars].iter().map(|o| (id(*o), id(subject))));
        let found = judge(&map, &graph, edges).failed;
        let found: BTreeSet<Uid> = found.iter().map(|id| id.uid).collect();
        let (case, enough) = (format!("{liars}, speaks {speaks}"), 3 + usize::from(speaks));
        assert_eq!(found.contains(&subject), liars >= enough, "{case}");
        assert!(dead.is_subset(&found), "{case}");
    }
}

/// Of the living every second one has said whom it reports: the others still count as observers.
#[test]
fn nothing_is_found_while_many_have_yet_to_speak() {
    for seed in 0..50 {
        let (map, mut rng) = (map(100), Pcg64Mcg::seed_from_u64(seed));
        let (_, mut edges) = many_dead(&map, &mut rng);
        let late = some(&map, 50, &mut rng);
        edges.retain(|(observer, _)| !late.contains(&observer.uid));
        let found = judge(&map, &Graph::of(&map), edges);
        assert!(
            found.failed.len() < 20,
            "seed {seed}: {} found",
            found.failed.len()
        );
    }
}

#[test]
fn up_to_half_dead_are_found_in_two_epochs_and_the_healthy_stay() {
    for (count, runs, allowed) in [(10_u16, 200, 0), (30, 200, 0), (100, 200, 2)] {
        let mut removed_healthy = 0;
        for seed in 0..runs {
            let mut rng = Pcg64Mcg::seed_from_u64(seed);
            let mut map = map(count);
            let share = [33, 49][seed as usize % 2];
            let dead = some(&map, share, &mut rng);
            for _ in 0..2 {
                let graph = Graph::of(&map);
                let edges = reports(&map, &graph, &dead, 2, &mut rng);
                let verdict = judge(&map, &graph, edges);
                removed_healthy += verdict
                    .failed
                    .iter()
                    .filter(|id| !dead.contains(&id.uid))
                    .count();
                map.members
                    .retain(|member| !verdict.failed.contains(&member.id()));
            }
            assert!(
                map.members.iter().all(|m| !dead.contains(&m.uid)),
                "n = {count}, seed {seed}"
            );
        }
        assert!(
            removed_healthy <= allowed,
            "n = {count}: {removed_healthy} healthy removed"
        );
    }
}

/// They are cut off from 51 of 100, and some of those have too few observers on this side to be found.
#[test]
fn a_minority_claims_nothing_though_it_cannot_find_all_of_the_others() {
    let map = map(100);
    let graph = Graph::of(&map);
    let mut unclear = 0;
    for seed in 0..100 {
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        let away = some(&map, 51, &mut rng);
        let edges = reports(&map, &graph, &away, 0, &mut rng);
        let reported: BTreeSet<Uid> = edges.iter().map(|(_, subject)| subject.uid).collect();
        let found = judge(&map, &graph, edges);
        assert!(found.failed.is_empty(), "seed {seed}");
        // Those whom nobody reports may speak yet.
        if reported.len() == away.len() {
            assert!(!found.unclaimed.is_empty(), "seed {seed}");
            unclear += usize::from(found.unclaimed.len() < 50);
        }
    }
    assert!(unclear > 0, "no seed in which too few are found");
}
