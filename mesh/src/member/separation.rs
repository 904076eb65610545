//! A cell that was split: each member goes over to the part that lists it.
//!
//! ```text
//!                  first map of a part, not yet known to be one
//!   in the parent ───────────────────────────────────────────────▶ kept (the newest one only)
//!     │    │                                                         │ the delegation arrives
//!     │    └── the delegation, then a map of the part that lists us ─┴─▶ in the part
//!     └─ the delegation: nothing that is found of this cell counts any more, nobody is accused
//! ```
//!
//! What made the operator's signature good for the parent makes it good for the part; the delegation
//! says which parts there are, from which epoch on, and which first map is the right one. Evidence stays
//! behind: it speaks of edges of another graph. The delegation is kept: the operator hands it to a few
//! reporters only, so a member that missed it has nobody else to ask than those that went over.

use crate::evidence::{EvidenceStore, Wanted};
use crate::identity::Epoch;
use crate::machine::Event;
use crate::map::Map;
use crate::signed::SignedMap;
use crate::time::Instant;

use super::Mesh;
use super::spread::outbox::Outbox;

/// What a map of another cell is to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    /// Our part of the cell.
    Ours,
    /// Another part, or another cell of the cluster.
    Others,
    /// It lists us and is newer than what we have: perhaps the delegation is still on its way.
    Early,
    /// None of that.
    Foreign,
    /// It says that it is the first map of a part, and is another one.
    WrongFirstMap,
}

impl Mesh {
    /// A sound map of a cell that is not ours (yet).
    pub(super) fn on_map_of_another_cell(&mut self, now: Instant, map: SignedMap) {
        match self.relation(&map) {
            Relation::Ours => self.separate(now, map),
            Relation::Others => {}
            Relation::Early => self.early = Some(map),
            Relation::Foreign => self.refuse("WrongCell"),
            Relation::WrongFirstMap => self.refuse("WrongFirstMap"),
        }
    }

    fn relation(&self, map: &SignedMap) -> Relation {
        let (ours, theirs): (&Map, &Map) = (self.map(), map.map());
        let lists_us = Self::find(theirs, &self.config).is_some();
        let Some(part) = ours.delegated_to(&theirs.cell) else {
            return if ours.knows_cell(&theirs.cell) {
                Relation::Others
            } else if lists_us && theirs.version() > ours.version() {
                Relation::Early
            } else {
                Relation::Foreign
            };
        };
        if theirs.era != ours.era || theirs.epoch < part.start_epoch {
            Relation::Foreign
        } else if theirs.epoch == part.start_epoch && *map.sha256() != part.first_map_sha256 {
            Relation::WrongFirstMap
        } else if lists_us {
            Relation::Ours
        } else {
            Relation::Others
        }
    }

    /// Whether this cell was split: its map is its last.
    pub(super) fn is_split(&self) -> bool {
        !self.map().delegation.is_empty()
    }

    /// After a map was applied: the part's map may have been there before it.
    pub(super) fn separate_if_early(&mut self, now: Instant) {
        if self.is_split()
            && let Some(map) = self.early.take()
        {
            self.on_map_of_another_cell(now, map);
        }
    }

    fn separate(&mut self, now: Instant, map: SignedMap) {
        let (from_cell, to_cell) = (self.map().cell.clone(), map.map().cell.clone());
        self.early = None;
        self.delegation = Some(self.signed.clone());
        self.install(now, map);
        // A difference between two cells does not exist.
        self.older.clear();
        self.reports.clear();
        self.evidence = EvidenceStore::default();
        // What was to be told, or asked for, is signed for the other cell: here it holds for nobody.
        self.outbox = Outbox::default();
        self.wanted = Wanted::default();
        self.repair = None;
        self.verdict = crate::verdict::Verdict::default();
        self.caution = crate::verdict::Caution::default();
        self.settle(now);
        self.event(Event::Separated {
            from: from_cell,
            to: to_cell,
        });
        if std::mem::take(&mut self.leaving) {
            self.leave();
        }
    }

    /// What a peer with a map of that version must have before it can go over to this part.
    pub(super) fn missed_delegation(&self, theirs: (u32, Epoch)) -> Option<&SignedMap> {
        let delegation = self.delegation.as_ref();
        delegation.filter(|last| theirs < last.map().version())
    }
}

#[cfg(test)]
mod tests;
