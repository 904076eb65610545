//! Who of a new cell has applied one of its maps: until all have, the cell that it was split from must
//! stay on record.
//!
//! The operator otherwise talks to a few reporters; now it dials everybody once, a few at a time, hands
//! them the map and waits for their word. Whoever a newer map no longer lists need not be asked.

use std::collections::BTreeSet;

use crate::identity::{Epoch, Uid};
use crate::limits;
use crate::map::Map;

/// Members that have not yet said that they applied a map of this cell.
#[derive(Clone, Debug, Default)]
pub(super) struct Census {
    missing: BTreeSet<Uid>,
    /// What they have to have applied at least.
    version: (u32, Epoch),
}

impl Census {
    /// Of everybody in that map.
    pub(super) fn of(map: &Map) -> Self {
        Self {
            missing: map.active().map(|member| member.uid).collect(),
            version: map.version(),
        }
    }

    /// A member told what it has applied. Returns whether it was the word that was waited for.
    pub(super) fn hear(&mut self, uid: Uid, version: (u32, Epoch)) -> bool {
        version >= self.version && self.missing.remove(&uid)
    }

    /// A newer map: whoever joined since got it when it joined, and so will those that are listed as failed when they
    /// join again.
    pub(super) fn retain_for(&mut self, map: &Map) {
        let takes_part = |uid| map.member(uid).is_some_and(|member| !member.failed);
        self.missing.retain(|uid| takes_part(*uid));
    }

    /// Whom to be connected to now. Those that just failed to answer do not hold the others up.
    pub(super) fn next(&self, rests: impl Fn(Uid) -> bool) -> Vec<Uid> {
        let ready = self.missing.iter().filter(|uid| !rests(**uid));
        ready.take(limits::CENSUS_DIALS).copied().collect()
    }

    pub(super) fn missing(&self) -> usize {
        self.missing.len()
    }
}

#[cfg(test)]
mod tests;
