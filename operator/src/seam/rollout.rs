//! What a rollout can be told by: who is being replaced, and what became of the slots.

use std::collections::BTreeSet;

use super::CellStatus;

/// Sums over the maps that a cell recorded since it was started: what came of a rollout is the
/// difference between its end and its beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlotTotals {
    /// Slots that a pod handed to its heir on the same node.
    pub inherited: u64,
    /// Slots that had an owner and got one on another node.
    pub changed_node: u64,
}

impl SlotTotals {
    /// What was added since; nothing where a cell was started anew in between and counts from zero.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            inherited: self.inherited.saturating_sub(before.inherited),
            changed_node: self.changed_node.saturating_sub(before.changed_node),
        }
    }
}

impl CellStatus {
    /// Whether an agent is being replaced: its successor on the node is a member already.
    #[must_use]
    pub fn has_two_members_on_a_node(&self) -> bool {
        let listed = self.members.iter().filter(|member| !member.failed);
        let mut nodes = BTreeSet::new();
        listed
            .map(|member| member.node.as_str())
            .any(|node| !nodes.insert(node))
    }
}

#[cfg(test)]
mod tests;
