//! Some members leave, and their processes may have ended already.

use super::*;

/// Some of the members, by number.
fn numbers(ids: &[MemberId], found: &BTreeSet<MemberId>) -> Vec<usize> {
    (0..ids.len())
        .filter(|n| found.contains(&ids[*n]))
        .collect()
}

/// Who is away is reported by all the others, but not by those that leave, and nobody reports those.
fn reports_while(map: &Map, graph: &Graph, away: &[usize], leaving: &[usize]) -> Reports {
    let mut reports = reports_of(map, graph, away, false);
    let ids = ids(map);
    reports.leaving = leaving.iter().map(|n| ids[*n]).collect();
    let stays = |id: &MemberId| !reports.leaving.contains(id);
    reports
        .edges
        .retain(|(observer, subject)| stays(observer) && stays(subject));
    reports
}

/// Three have gone and told so, the operator has not made a map of it, and three others die. Those who left report nobody:
/// that is no reason to wait for their word.
#[test]
fn the_silence_of_those_that_leave_says_nothing() {
    let map = map(10);
    let graph = Graph::of(&map);
    for (dead, leaving) in [([7, 8, 9], [0, 1, 2]), ([0, 4, 8], [3, 5, 9])] {
        let reports = reports_while(&map, &graph, &dead, &leaving);
        let failed = verdict(&map, &graph, &reports).failed;
        assert_eq!(numbers(&ids(&map), &failed), dead);
    }
}

/// Each member is on one side, on the other, or leaves; both sides know who does.
#[test]
fn of_the_sides_of_a_cut_one_speaks_at_most_whoever_leaves() {
    let mut spoke = 0;
    for count in 3_u16..=8 {
        let map = map(count);
        let graph = Graph::of(&map);
        for case in 0..3_u32.pow(count.into()) {
            let side = |n: u32| case / 3_u32.pow(n) % 3;
            let of = |wanted: u32| -> Vec<usize> {
                let members = (0..u32::from(count)).filter(|n| side(*n) == wanted);
                members.map(|n| n as usize).collect()
            };
            let leaving = of(2);
            let speaks = |others: u32| {
                let reports = reports_while(&map, &graph, &of(others), &leaving);
                !verdict(&map, &graph, &reports).failed.is_empty()
            };
            let (one, other) = (speaks(1), speaks(0));
            assert!(!(one && other), "{:?} and {:?} of {count}", of(0), of(1));
            spoke += u32::from(one || other);
        }
    }
    assert!(spoke > 2000, "{spoke} times somebody spoke");
}

/// They are listed as failed: the cell is without them already.
#[test]
fn who_is_listed_as_failed_leaves_no_second_time() {
    let mut map = map(10);
    let members = map.members.iter_mut().take(4);
    members.for_each(|member| member.failed = true);
    let graph = Graph::of(&map);
    let reports = reports_while(&map, &graph, &[4, 5], &[0, 1, 2, 3]);
    let found = verdict(&map, &graph, &reports);
    assert_eq!(numbers(&ids(&map), &found.failed), [4, 5]);
}
