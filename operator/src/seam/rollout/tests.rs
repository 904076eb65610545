use slotmesh_mesh::identity::Uid;

use super::*;
use crate::seam::MemberStatus;

fn on(nodes: &[(&str, bool)]) -> CellStatus {
    let member = |(node, failed): &(&str, bool)| MemberStatus {
        name: "a".into(),
        uid: Uid::NIL,
        incarnation: 1,
        node: (*node).into(),
        failed: *failed,
        owners: 1,
        slots: 1,
    };
    CellStatus {
        members: nodes.iter().map(member).collect(),
        ..CellStatus::default()
    }
}

#[test]
fn a_node_with_a_member_and_its_heir_is_seen() {
    assert!(!on(&[("a", false), ("b", false)]).has_two_members_on_a_node());
    assert!(on(&[("a", false), ("b", false), ("a", false)]).has_two_members_on_a_node());
    assert!(!on(&[("a", false), ("a", true)]).has_two_members_on_a_node());
}

#[test]
fn sums_are_told_from_the_beginning_of_a_rollout() {
    let sums = |inherited, changed_node| SlotTotals {
        inherited,
        changed_node,
    };
    assert_eq!(sums(9, 5).since(sums(4, 5)), sums(5, 0));
    assert_eq!(sums(1, 0).since(sums(4, 5)), sums(0, 0));
}
