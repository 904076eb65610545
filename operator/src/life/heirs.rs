//! Two members on one node: a rollout by surge starts the new agent before it ends the old one.
//!
//! ```text
//!   old alone ──▶ old + heir (no quota) ──▶ old leaves, fails or is gone ──▶ heir alone
//!     quota            quota stays with old      heir takes exactly old's slots    quota
//! ```
//!
//! The heir takes over before anything is planned, so a rollout moves no slot between nodes. Who of the
//! two is the heir must not depend on who joined last: the old process may restart during the rollout
//! and is then the newer one. So whose pod is being deleted is the elder; else who holds slots; else
//! who was admitted first.

use std::collections::{BTreeMap, BTreeSet};

use slotmesh_mesh::identity::Uid;
use slotmesh_mesh::map::{Map, Member};
use slotmesh_mesh::slot::SlotSet;

use super::Life;

/// What a removed member leaves.
#[derive(Clone, Debug)]
pub(super) struct Estate {
    pub(super) name: String,
    pub(super) node: String,
    pub(super) slots: SlotSet,
}

/// What heirs took over: whose slots, and who took them.
#[derive(Clone, Debug, Default)]
pub(super) struct Inherited {
    pub(super) from: Vec<String>,
    /// Heir (the owner) -> slots it took over.
    pub(super) slots: BTreeMap<Uid, SlotSet>,
}

impl Life {
    /// Members that are to hold nothing but what they hold: an elder lives on their node.
    pub(super) fn heirs(&self, map: &Map) -> BTreeSet<Uid> {
        let mut by_node: BTreeMap<&str, Vec<&Member>> = BTreeMap::new();
        for member in map.active().filter(|member| !member.node.is_empty()) {
            by_node.entry(&member.node).or_default().push(member);
        }
        let mut heirs = BTreeSet::new();
        for mut members in by_node.into_values() {
            members.sort_by_key(|member| self.seniority(member));
            heirs.extend(members.iter().skip(1).map(|member| member.uid));
        }
        heirs
    }

    /// Hands each estate to who lives on its node.
    pub(super) fn hand_over(&self, map: &mut Map, estates: Vec<Estate>) -> Inherited {
        let mut inherited = Inherited::default();
        for estate in estates {
            if estate.slots.is_empty() || estate.node.is_empty() {
                continue;
            }
            let members = map.members.iter_mut();
            let there = members.filter(|member| member.node == estate.node && !member.failed);
            let by_fitness =
                |member: &&mut Member| (self.is_away(member.uid), self.seniority(member));
            let Some(heir) = there.min_by_key(by_fitness) else {
                continue;
            };
            let Some(owner) = heir.owners.first_mut() else {
                continue;
            };
            owner.slots = owner.slots.union(&estate.slots);
            let taken = inherited.slots.entry(owner.uid).or_default();
            *taken = taken.union(&estate.slots);
            inherited.from.push(estate.name);
        }
        inherited
    }

    fn seniority(&self, member: &Member) -> (bool, bool, u64, Uid) {
        let away = self.is_away(member.uid);
        let empty_handed = member.owners.iter().all(|owner| owner.slots.is_empty());
        (!away, empty_handed, member.incarnation, member.uid)
    }
}

#[cfg(test)]
mod tests;
