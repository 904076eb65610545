#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use crate::life::tests::{at, candidate, die, id, life, running, step};

#[test]
fn a_crowd_is_listed_at_once_and_a_death_does_not_wait_for_it() {
    let mut life = running(4);
    for n in 5..=8 {
        life.join(at(2000 + u64::from(n - 5) * 250), candidate(n, n));
    }
    assert_eq!(
        life.next_deadline(),
        Some(at(3050)),
        "300 ms after the last"
    );
    life.verdict(at(2800), BTreeSet::from([id(&life, 2)]));
    assert_eq!(life.next_deadline(), Some(at(3050)), "no later");
    let proposal = step(&mut life, 3050);
    assert_eq!((proposal.joined.len(), proposal.failed.len()), (4, 1));

    let mut life = running(4);
    for n in 5..=12 {
        life.join(at(2000 + u64::from(n - 5) * 250), candidate(n, n));
    }
    assert_eq!(life.next_deadline(), Some(at(3500)), "not for ever");
    life.verdict(at(3100), BTreeSet::from([id(&life, 2)]));
    assert_eq!(
        life.next_deadline(),
        Some(at(3400)),
        "nor for long with a death"
    );
}

/// At a tenth of the usual pace a verdict ripens ten times as long; whoever leaves does not wait for that.
#[test]
fn where_beats_are_slow_a_verdict_waits_and_a_departure_does_not() {
    let mut life = life();
    life.settings.heartbeat_interval_ms = 2000;
    for n in 1..=4 {
        life.join(at(0), candidate(n, n));
    }
    let first = life.propose(at(300), 4, 0).unwrap().unwrap();
    life.recorded(first.map, at(1000));
    life.leave(at(2000), id(&life, 1));
    assert_eq!(life.next_deadline(), Some(at(2300)));
    step(&mut life, 2300);
    die(&mut life, 4000, [2]);
    assert_eq!(life.next_deadline(), Some(at(7000)));
    life.await_deaths(at(5000));
    assert_eq!(life.next_deadline(), Some(at(15_000)));
}

/// Somebody who touches the record again and again does not put off what is to be written.
#[test]
fn reading_the_same_record_again_does_not_keep_a_window_open() {
    let mut life = running(4);
    life.verdict(at(2000), BTreeSet::from([id(&life, 2)]));
    let same = life.map().cloned();
    for touched in [2100, 2200, 2299] {
        life.reload(same.clone(), at(touched));
    }
    assert_eq!(life.next_deadline(), Some(at(2300)));
    let proposal = life.propose(at(2300), 0, 0).unwrap().unwrap();
    // The write met another: it is tried again.
    life.reload(same, at(2301));
    assert_eq!(life.next_deadline(), Some(at(2601)));
    assert_eq!(step(&mut life, 2601).map, proposal.map);
}

/// Three of ten were found, and the mesh says that more are reported: all of them are one map.
#[test]
fn those_who_were_found_wait_for_those_who_are_reported() {
    let mut life = running(10);
    die(&mut life, 2000, [1, 4, 6]);
    life.await_deaths(at(2100));
    life.verdict(at(2200), [1, 4].map(|n| id(&life, n)).into());
    assert_eq!(life.next_deadline(), Some(at(2300)), "the verdict is made");
    die(&mut life, 2200, [1, 4, 6]);
    life.await_deaths(at(2250));
    assert_eq!(life.propose(at(2400), 0, 0), Ok(None));
    die(&mut life, 2700, [1, 4, 6, 9]);
    assert_eq!(step(&mut life, 2700).failed.len(), 4);
}
