//! Every rule can fail: each is shown a history that breaks it, and one that does not.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::time::Duration;

use super::*;
use crate::identity::MemberId;
use crate::limits;
use crate::machine::Event;
use crate::member::Loads;
use crate::sim::{Fault, NodeId, Settings, Simulation};
use slotmesh_map::fixture::map;

#[test]
fn an_older_map_in_force_is_seen() {
    let mut rule = EpochsNeverDecrease::default();
    let (here, there) = (NodeId(1), NodeId(2));
    for (node, version) in [
        (here, (0, 7)),
        (here, (0, 7)),
        (there, (0, 3)),
        (here, (0, 8)),
    ] {
        rule.observe(node, version).unwrap();
    }
    rule.observe(here, (1, 2)).unwrap();
    assert!(rule.observe(here, (0, 9)).is_err());
    assert!(rule.observe(there, (0, 2)).is_err());
}

#[test]
fn the_alarm_of_two_maps_is_seen() {
    let node = NodeId(1);
    NoMapConflict::observe(node, &Event::MapApplied { epoch: 7 }).unwrap();
    assert!(NoMapConflict::observe(node, &Event::MapConflict { epoch: 7 }).is_err());
}

#[test]
fn a_healthy_member_found_failed_or_dropped_is_seen() {
    let mut map = map(3);
    let ids: Vec<MemberId> = map.members.iter().map(|member| member.id()).collect();
    let mut rule = NoHealthyRemoved::default();
    ids.iter().for_each(|id| rule.admit(*id));
    rule.disturb(ids[1]);
    rule.observe_verdict(&[ids[1]]).unwrap();
    assert!(rule.observe_verdict(&[ids[1], ids[2]]).is_err());

    map.members.remove(1);
    rule.observe_map(&map).unwrap();
    // A healthy process that another one takes the place of is dropped, too.
    map.members[1].incarnation -= 1;
    assert!(rule.observe_map(&map).is_err());
    map.members.remove(1);
    assert!(rule.observe_map(&map).is_err());
}

#[test]
fn every_load_beyond_its_limit_is_seen() {
    let full = Loads {
        connections: limits::CONNECTIONS_MAX + limits::OPERATORS_MAX + limits::STRANGERS_MAX,
        strangers: limits::STRANGERS_MAX,
        parted: limits::PARTED_MAX,
        evidence: limits::EVIDENCE_MAX,
        outputs: limits::OUTPUTS_MAX,
        edges: limits::CONNECTIONS_MAX,
        offers: limits::CONNECTIONS_MAX,
        wanted: limits::WANTED_MAX,
    };
    let mut rule = QueuesWithinLimits::default();
    rule.observe(NodeId(1), &full).unwrap();
    let increments: [fn(&mut Loads); 8] = [
        |loads| loads.connections += 1,
        |loads| loads.strangers += 1,
        |loads| loads.parted += 1,
        |loads| loads.evidence += 1,
        |loads| loads.outputs += 1,
        |loads| loads.edges += 1,
        |loads| loads.offers += 1,
        |loads| loads.wanted += 1,
    ];
    for increment in increments {
        let mut beyond = full;
        increment(&mut beyond);
        assert!(rule.observe(NodeId(1), &beyond).is_err(), "{beyond:?}");
    }
    assert_eq!(rule.largest().unwrap().outputs, limits::OUTPUTS_MAX + 1);
}

#[test]
fn a_view_that_stays_different_is_seen() {
    let second = |number| Instant::ZERO + Duration::from_secs(number);
    let view = |node| View {
        node: NodeId(node),
        is_member: true,
        epoch: 9,
        map_sha256: [9; 32],
        evidence: 4,
        failed: 0,
        reported: 0,
    };
    let changes: [fn(&mut View); 5] = [
        |view| view.is_member = false,
        |view| view.map_sha256 = [8; 32],
        |view| view.evidence = 5,
        |view| view.failed = 1,
        |view| view.reported = 1,
    ];
    for change in changes {
        let mut rule = ViewsConverge::within(Duration::from_secs(10));
        let (equal, mut different) = ([view(1), view(2)], [view(1), view(2)]);
        change(&mut different[1]);
        look(&mut rule, second(0), different.clone()).unwrap();
        look(&mut rule, second(9), equal.clone()).unwrap();
        assert_eq!(rule.took(), Some(Duration::from_secs(9)));
        // A fault gives time again; what lasts longer than that does not.
        rule.disturb();
        look(&mut rule, second(20), different.clone()).unwrap();
        look(&mut rule, second(30), different.clone()).unwrap();
        assert!(look(&mut rule, second(31), different.clone()).is_err());
    }
}

#[test]
fn at_heavy_loss_reports_may_stand_and_nothing_else() {
    let view = View {
        node: NodeId(1),
        is_member: true,
        epoch: 9,
        map_sha256: [9; 32],
        evidence: 4,
        failed: 0,
        reported: 1,
    };
    let mut rule = ViewsConverge::within(Duration::ZERO);
    let at = Instant::from_micros;
    rule.at_loss(10);
    look(&mut rule, at(1), [view.clone()]).unwrap();
    assert!(look(&mut rule, at(2), [view.clone()]).is_err());
    rule.at_loss(100);
    look(&mut rule, at(3), [view.clone()]).unwrap();
    let wrong = View { failed: 1, ..view };
    assert!(look(&mut rule, at(4), [wrong]).is_err());
}

/// The rules are looked at while a simulation runs: one that is told of a member that there never was
/// misses it in the next map.
#[test]
fn a_simulation_looks_at_the_rules() {
    let mut simulation = Simulation::new(Settings::new(1, 4)).unwrap();
    simulation.run_for(Duration::from_secs(3));
    simulation.invariants.healthy.admit(MemberId::OPERATOR);
    simulation.inflict(&Fault::Crash(NodeId(1)));
    simulation.run_for(Duration::from_secs(3));
    let rules: Vec<&str> = simulation.violations().iter().map(|v| v.rule).collect();
    assert_eq!(rules, ["NoHealthyRemoved"]);
}

fn look<const N: usize>(
    rule: &mut ViewsConverge,
    now: Instant,
    views: [View; N],
) -> Result<(), String> {
    let compared = rule.compare(&[9; 32], views);
    rule.observe(now, compared)
}
