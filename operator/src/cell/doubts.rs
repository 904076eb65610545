//! Doubts about the record itself. While there is one, no map is made at all; the record is read again
//! from time to time, and each doubt goes when what is read settles it.
//!
//! ```text
//!   RecordTampered   ── a record whose seal fits ───────────────────────────▶ settled
//!   EpochRegression  ── a record as new as the newest map the mesh showed ──▶ settled
//!   MapConflict      ── a record newer than the map of which there are two ─▶ settled
//! ```

use std::collections::BTreeMap;

use slotmesh_mesh::identity::Epoch;

use crate::seam::{CellSettings, FrozenCause};

/// (era, epoch) of a map.
type Version = (u32, Epoch);

/// What is doubtful about the record.
#[derive(Clone, Debug, Default)]
pub(super) struct Doubts {
    tampered: Option<String>,
    newer: Option<(Version, String)>,
    conflict: Option<(Version, String)>,
}

impl Doubts {
    pub(super) fn tampered(&mut self, message: String) {
        self.tampered = Some(message);
    }

    /// The mesh holds a newer map than the record.
    pub(super) fn newer_seen(&mut self, version: Version, message: String) {
        if self.newer.as_ref().is_none_or(|(seen, _)| *seen < version) {
            self.newer = Some((version, message));
        }
    }

    /// The mesh holds another map of that version.
    pub(super) fn conflict_seen(&mut self, version: Version, message: String) {
        if self
            .conflict
            .as_ref()
            .is_none_or(|(seen, _)| *seen < version)
        {
            self.conflict = Some((version, message));
        }
    }

    /// The record was read and can be used; None where there is none.
    pub(super) fn read(&mut self, version: Option<Version>) {
        self.tampered = None;
        let version = version.unwrap_or_default();
        self.newer.take_if(|(seen, _)| version >= *seen);
        self.conflict.take_if(|(seen, _)| version > *seen);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tampered.is_none() && self.newer.is_none() && self.conflict.is_none()
    }

    pub(super) fn causes(&self) -> BTreeMap<FrozenCause, String> {
        let newer = self.newer.as_ref().map(|(_, message)| message);
        let conflict = self.conflict.as_ref().map(|(_, message)| message);
        let causes = [
            (FrozenCause::RecordTampered, self.tampered.as_ref()),
            (FrozenCause::EpochRegression, newer),
            (FrozenCause::MapConflict, conflict),
        ];
        causes
            .into_iter()
            .filter_map(|(cause, message)| Some((cause, message?.clone())))
            .collect()
    }
}

/// What is doubtful, and how to look at it.
pub(super) fn describe(settings: &CellSettings, what: &str) -> String {
    format!(
        "{what}; no further map is made. Look at it: kubectl -n {} get gossipcell {} -o yaml",
        settings.cluster.namespace, settings.cell
    )
}

/// The same where this operator knows what the record should say, or can go on from what it says.
pub(super) fn describe_mendable(settings: &CellSettings, what: &str) -> String {
    let (namespace, cell) = (&settings.cluster.namespace, &settings.cell);
    format!(
        "{}; deleted, it is written again as this operator last read it, with a newer epoch: kubectl -n {namespace} delete gossipcell {cell} (the chart's recordPolicy refuses that while it is enabled)",
        describe(settings, what)
    )
}

#[cfg(test)]
mod tests;
