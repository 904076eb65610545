#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use slotmesh_map::fixture::{keypair, map};

use super::*;
use crate::identity::MemberId;
use crate::machine::{Machine, Output};
use crate::signed::SignedMap;
use crate::watch::WatchConfig;

const fn at(ms: u64) -> Instant {
    Instant::from_micros(ms * 1000)
}

const USUAL: Duration = limits::USUAL_INTERVAL;

#[test]
fn a_verdict_waits_while_reports_of_many_more_are_coming() {
    let mut patience = Patience::default();
    assert!(!patience.waits(at(0), USUAL, 0, 0), "nobody is reported");
    for ms in [0, 50, 140] {
        patience.last_report = at(ms);
        assert!(patience.waits(at(ms), USUAL, 3, 7), "{ms}");
        assert_eq!(patience.deadline(), Some(at(ms) + limits::REPORTS_QUIET));
    }
    let quiet = at(140) + limits::REPORTS_QUIET;
    assert!(!patience.waits(quiet, USUAL, 3, 7), "no report for a while");
    assert_eq!(patience.deadline(), None);
}

#[test]
fn it_waits_for_nobody_when_most_of_the_reported_are_found_or_few_are_not() {
    let mut patience = Patience {
        last_report: at(10),
        ..Patience::default()
    };
    assert!(!patience.waits(at(10), USUAL, 1, 1));
    assert!(!patience.waits(at(10), USUAL, 1, 3));
    assert!(patience.waits(at(10), USUAL, 1, 4));
    assert!(!patience.waits(at(10), USUAL, 30, 40));
    assert!(patience.waits(at(10), USUAL, 30, 41));
}

#[test]
fn reports_that_never_end_do_not_hold_it_back_for_ever() {
    let mut patience = Patience::default();
    let last = limits::REPORTS_PATIENCE.as_millis() as u64;
    for ms in (0..last).step_by(50) {
        patience.last_report = at(ms);
        assert!(patience.waits(at(ms), USUAL, 0, 3), "{ms}");
    }
    patience.last_report = at(last);
    assert!(!patience.waits(at(last), USUAL, 0, 3));
    // Once it is found the next time counts anew.
    assert!(!patience.waits(at(last), USUAL, 3, 3));
    patience.last_report = at(last + 1);
    assert!(patience.waits(at(last + 1), USUAL, 0, 3));
}

/// At a tenth of the usual pace all comes ten times as late.
#[test]
fn where_beats_are_slow_it_waits_longer() {
    let slow = USUAL * 10;
    let mut patience = Patience::default();
    assert!(patience.waits(at(0), slow, 3, 7));
    assert_eq!(
        patience.deadline(),
        Some(at(0) + limits::REPORTS_QUIET * 10)
    );
    let last = limits::REPORTS_PATIENCE.as_millis() as u64 * 10;
    patience.last_report = at(last - 1);
    assert!(patience.waits(at(last - 1), slow, 3, 7));
    assert!(!patience.waits(at(last), slow, 3, 7));
}

/// What the watch said of verdicts since it was last asked: how many it found failed, 0 when it withdrew, none when it
/// waits for more.
fn said(watch: &mut Watch) -> Vec<Option<usize>> {
    let outputs = std::iter::from_fn(|| watch.poll_output());
    let verdicts = outputs.filter_map(|output| match output {
        Output::Event(Event::Verdict { failed, .. }) => Some(Some(failed.len())),
        Output::Event(Event::VerdictWithdrawn { .. }) => Some(Some(0)),
        Output::Event(Event::VerdictAwaited { .. }) => Some(None),
        _ => None,
    });
    verdicts.collect()
}

/// A verdict on one stands. Then single reports of many others come, and the one is cleared: that is told at once.
#[test]
fn whoever_is_cleared_is_told_though_reports_are_coming() {
    let map = map(24);
    let ids: Vec<MemberId> = map.members.iter().map(crate::map::Member::id).collect();
    let config = WatchConfig {
        keypair: keypair(500),
        first_sequence: 1,
        take_census: false,
    };
    let signed = SignedMap::sign(map.clone(), &keypair(500)).unwrap();
    let mut watch = Watch::new(config, signed, at(0));
    let graph = watch.graph.clone();
    let number = |uid| ids.iter().position(|id| id.uid == uid).unwrap();
    let mut sequence = 0;
    let mut state = |observer: usize, subjects: &[usize]| {
        sequence += 1;
        let key = keypair(u16::try_from(observer).unwrap());
        let subjects: Vec<MemberId> = subjects.iter().map(|n| ids[*n]).collect();
        Evidence::sign(&map, ids[observer], &subjects, false, sequence, &key)
    };
    let observers: Vec<usize> = graph
        .observers(ids[0].uid)
        .iter()
        .map(|uid| number(*uid))
        .collect();
    let reports = observers.iter().map(|observer| state(*observer, &[0]));
    let reports: Vec<Evidence> = reports.collect();
    watch.on_evidence(at(10), reports);
    assert_eq!(said(&mut watch), [Some(1)]);
    let others: Vec<usize> = (1..24).filter(|n| !observers.contains(n)).take(6).collect();
    let single = others.iter().map(|subject| {
        let observer = number(graph.observers(ids[*subject].uid)[0]);
        let also_the_first = observers.contains(&observer).then_some(0);
        let subjects: Vec<usize> = also_the_first.into_iter().chain([*subject]).collect();
        state(observer, &subjects)
    });
    let single: Vec<Evidence> = single.collect();
    watch.on_evidence(at(20), single);
    assert_eq!(said(&mut watch), [None]);
    let clears = observers.iter().map(|observer| state(*observer, &[]));
    let clears: Vec<Evidence> = clears.collect();
    watch.on_evidence(at(30), clears);
    assert_eq!(said(&mut watch), [Some(0), None], "it still waits");
}
