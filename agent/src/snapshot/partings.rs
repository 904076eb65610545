//! Why members that are still listed will be gone, as far as the mesh said. A map can follow on the
//! heels of what it is made from, so this is told by events, in their order, and not by comparing
//! snapshots.

use std::collections::BTreeMap;

use slotmesh_mesh::identity::MemberId;
use slotmesh_mesh::machine::Event;
use slotmesh_mesh::map::Map;

#[derive(Debug, Default)]
pub(crate) struct Partings(BTreeMap<MemberId, &'static str>);

impl Partings {
    pub(crate) fn note(&mut self, event: &Event) {
        match event {
            Event::Leaving { member } => {
                self.0.insert(*member, "Left");
            }
            Event::Verdict { failed, .. } => {
                self.withdraw();
                for member in failed {
                    self.0.entry(*member).or_insert("Failed");
                }
            }
            Event::VerdictWithdrawn { .. } => self.withdraw(),
            _ => {}
        }
    }

    fn withdraw(&mut self) {
        self.0.retain(|_, reason| *reason != "Failed");
    }

    pub(super) fn reason(&self, member: MemberId) -> &'static str {
        self.0.get(&member).copied().unwrap_or("Removed")
    }

    /// Others have departed by now.
    pub(crate) fn retain_for(&mut self, map: &Map) {
        self.0.retain(|member, _| map.lists(*member));
    }
}
