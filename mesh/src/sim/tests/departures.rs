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
