//! Nobody is found failed, nor dropped from a map, to whom nothing happened.
//!
//! A false verdict moves slots and loses what a cache held: detection that is fast but wrong is worth
//! nothing. "Healthy" is a process that was never killed, paused or told to leave since it was admitted,
//! and that reached more than half of its cell, there and back, all the time; one broken link is no
//! excuse.

use std::collections::BTreeSet;

use crate::identity::MemberId;
use crate::map::Map;

/// Members to whom nothing happened.
#[derive(Debug, Default)]
pub struct NoHealthyRemoved {
    healthy: BTreeSet<MemberId>,
}

impl NoHealthyRemoved {
    /// A process became a member.
    pub fn admit(&mut self, id: MemberId) {
        self.healthy.insert(id);
    }

    /// Something happened to a process.
    pub fn disturb(&mut self, id: MemberId) {
        self.healthy.remove(&id);
    }

    /// A member, or the operator, comes to a verdict.
    ///
    /// # Errors
    /// Names the healthy members in it.
    pub fn observe_verdict(&self, failed: &[MemberId]) -> Result<(), String> {
        none(
            failed.iter().filter(|id| self.healthy.contains(id)),
            "found failed",
        )
    }

    /// The operator recorded a map.
    ///
    /// # Errors
    /// Names the healthy members that it does not list.
    pub fn observe_map(&self, map: &Map) -> Result<(), String> {
        let dropped = self.healthy.iter().filter(|id| !map.lists(**id));
        none(dropped, "dropped from the map")
    }
}

fn none<'a>(wrong: impl Iterator<Item = &'a MemberId>, what: &str) -> Result<(), String> {
    let names: Vec<String> = wrong.map(ToString::to_string).collect();
    if names.is_empty() {
        return Ok(());
    }
    Err(format!("{what} although healthy: {}", names.join(", ")))
}
