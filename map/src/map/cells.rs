//! What a map says of other cells: to whom its slots were delegated, and where the rest of the cluster is.
//!
//! ```text
//!   parent, epoch e ──▶ e+1 with delegation ──┬─▶ child A, first map at its start epoch
//!                       (its last map)        └─▶ child B, first map at its start epoch
//! ```
//!
//! Together a map and its directory cover all 16384 slots, so any member locates any slot in one hop.
//! A map of a cluster with one cell says nothing here, and is written as if these fields did not exist.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::identity::Epoch;
use crate::limits;
use crate::slot::{Slot, SlotSet};

use super::{Map, MapError, inconsistent, limit, text};

/// Part of a cell that has become a cell of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delegation {
    /// Name of the child.
    pub cell: String,
    /// Its slots.
    pub slots: SlotSet,
    /// SHA-256 of its first map's canonical form.
    pub first_map_sha256: [u8; 32],
    /// Epoch of its first map; larger than any of the parent's.
    pub start_epoch: Epoch,
}

/// Another cell of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryEntry {
    /// Name of the cell.
    pub cell: String,
    /// Its slots.
    pub slots: SlotSet,
    /// Local APIs of some of its members.
    pub entries: Vec<SocketAddr>,
}

/// Both, as they travel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cells {
    pub(super) delegation: Vec<Delegation>,
    pub(super) directory: Vec<DirectoryEntry>,
}

impl Map {
    /// The other cell that a slot belongs to.
    #[must_use]
    pub fn elsewhere(&self, slot: Slot) -> Option<&DirectoryEntry> {
        self.directory
            .iter()
            .find(|entry| entry.slots.contains(slot))
    }

    /// The child of that name, once this cell has been split.
    #[must_use]
    pub fn delegated_to(&self, cell: &str) -> Option<&Delegation> {
        self.delegation.iter().find(|part| part.cell == cell)
    }

    /// Whether a cell of that name is a part of this one, or another of the cluster.
    #[must_use]
    pub fn knows_cell(&self, cell: &str) -> bool {
        self.delegated_to(cell).is_some() || self.directory.iter().any(|entry| entry.cell == cell)
    }
}

/// Limits, order, and that no slot has two cells.
pub(super) fn validate(map: &Map) -> Result<(), MapError> {
    validate_delegation(map)?;
    limit("cells", map.directory.len(), limits::OTHER_CELLS_MAX)?;
    let mut taken = map.slots.clone();
    let mut last = "";
    for entry in &map.directory {
        text("a cell's name", &entry.cell)?;
        limit("entries", entry.entries.len(), limits::CELL_ENTRIES_MAX)?;
        if entry.cell.as_str() <= last || entry.cell == map.cell {
            let what = "other cells are not sorted by unique names";
            return Err(inconsistent(what, &entry.cell));
        }
        last = &entry.cell;
        take(&mut taken, &entry.slots, &entry.cell)?;
    }
    Ok(())
}

fn validate_delegation(map: &Map) -> Result<(), MapError> {
    if map.delegation.is_empty() {
        return Ok(());
    }
    let mut given = SlotSet::empty();
    let mut last = "";
    for part in &map.delegation {
        text("a cell's name", &part.cell)?;
        if part.cell.as_str() <= last || part.cell == map.cell {
            return Err(inconsistent(
                "parts are not sorted by unique names",
                &part.cell,
            ));
        }
        last = &part.cell;
        if part.start_epoch <= map.epoch || part.start_epoch > limits::EPOCH_MAX {
            return Err(inconsistent(
                "a part does not start after its parent",
                &part.cell,
            ));
        }
        take(&mut given, &part.slots, &part.cell)?;
    }
    if map.delegation.len() != limits::DELEGATION_PARTS || given != map.slots {
        return Err(MapError::Inconsistent(
            "a delegation gives away all slots, to two cells".into(),
        ));
    }
    Ok(())
}

fn take(taken: &mut SlotSet, slots: &SlotSet, cell: &str) -> Result<(), MapError> {
    for (first, last) in slots.ranges() {
        if taken.overlaps_range(first, last) {
            return Err(inconsistent("a slot has two cells", cell));
        }
        taken.insert_range(first, last);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
