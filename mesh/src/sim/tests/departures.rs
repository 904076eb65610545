//! A member leaves, and tells so.

use super::*;

#[test]
fn a_member_that_leaves_is_let_go_without_a_verdict() {
    for members in [2, 3, 5, 10, 30] {
        let mut simulation = settled(19, members);
        simulation.inflict(&Fault::Leave(NodeId(2)));
        simulation.run_for(Duration::from_secs(5));
        assert_eq!(verdicts(&simulation), [], "n = {members}");
        let changes = simulation.map_changes();
        assert_eq!(changes.len(), 1, "n = {members}: {changes:?}");
        assert_eq!(changes[0].removed, [NodeId(2)]);
        // Another pod takes its place.
        simulation.inflict(&Fault::Return(NodeId(2)));
        simulation.run_for(Duration::from_secs(35));
        assert_eq!(simulation.map_changes().len(), 2, "n = {members}");
        assert_sound(&simulation);
    }
}

/// Nobody makes a map of those who left, and then others die: those who left are not waited for.
#[test]
fn the_dead_are_found_though_others_left_while_no_operator_was_there() {
    let mut simulation = settled(19, 10);
    simulation.inflict(&Fault::OperatorDown);
    (1..=3).for_each(|n| simulation.inflict(&Fault::Leave(NodeId(n))));
    simulation.run_for(Duration::from_secs(10));
    assert_eq!(verdicts(&simulation), []);
    (4..=6).for_each(|n| simulation.inflict(&Fault::Crash(NodeId(n))));
    simulation.run_for(Duration::from_secs(5));
    let events = simulation.events().iter();
    let found_all = events.filter(
        |record| matches!(&record.event, Event::Verdict { failed, .. } if failed.len() == 3),
    );
    let found_all: BTreeSet<NodeId> = found_all.map(|record| record.node).collect();
    assert_eq!(found_all, (7..=10).map(NodeId).collect());
}
