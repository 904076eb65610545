//! How long a verdict waits for its map.

use super::*;

#[test]
fn a_verdict_counts_from_the_first_one_on_those_whom_the_map_drops() {
    let mut life = running(10);
    die(&mut life, 2000, [2]);
    die(&mut life, 2100, [2, 3]);
    die(&mut life, 2200, [2, 3]);
    let proposal = step(&mut life, 2300);
    assert_eq!(
        (proposal.failed.len(), proposal.verdict_at),
        (2, Some(at(2000)))
    );
}

#[test]
fn a_verdict_that_was_withdrawn_is_over() {
    let mut life = running(10);
    die(&mut life, 2000, [2, 3]);
    die(&mut life, 2100, [3]);
    die(&mut life, 2200, [2, 3]);
    die(&mut life, 2250, [2]);
    let proposal = step(&mut life, 2300);
    assert_eq!(
        proposal.verdict_at,
        Some(at(2200)),
        "the one on whom it still holds"
    );
}

/// No map carries that verdict, so none may tell how long it took.
#[test]
fn a_map_that_drops_nobody_carries_no_verdict() {
    let mut life = running(4);
    die(&mut life, 2000, [2]);
    life.join(at(2100), candidate(2, 22));
    let proposal = step(&mut life, 2400);
    assert_eq!(
        (
            proposal.recovered.len() + proposal.joined.len(),
            proposal.verdict_at
        ),
        (1, None)
    );
    life.presume_dead(at(9000), id(&life, 3));
    let proposal = step(&mut life, 9300);
    assert_eq!(
        (proposal.presumed.len(), proposal.verdict_at),
        (1, None),
        "nor one on others"
    );
}

/// Marked once: whoever is dropped later was told already.
#[test]
fn a_map_that_marks_the_failed_carries_the_verdict() {
    let mut life = running(10);
    die(&mut life, 2000, 1..=5);
    assert_eq!(step(&mut life, 2300).verdict_at, Some(at(2000)));
    life.set_policy(
        at(3000),
        Policy {
            max_unhealthy_percent: 100,
            ..Policy::default()
        },
    );
    let proposal = step(&mut life, 3300);
    assert_eq!((proposal.dropped.len(), proposal.verdict_at), (5, None));
}
