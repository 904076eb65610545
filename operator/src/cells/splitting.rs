//! One step after the other from a parent's last record to two cells.

use slotmesh_mesh::map::Map;

use crate::cell::Running;
use crate::seam::{CellEvent, Kubernetes, RecordFailure};
use crate::split;

use super::Cells;

impl<K: Kubernetes> Cells<K> {
    /// Whether a cell is being split.
    pub(super) fn is_splitting(&self) -> bool {
        self.running.values().any(is_split)
    }

    /// Whether a cell was split and both of its parts run.
    pub(super) fn has_parts(&self, cell: &str) -> bool {
        let recorded = self.recorded(cell);
        recorded.is_some_and(|(map, _)| {
            !map.delegation.is_empty()
                && map
                    .delegation
                    .iter()
                    .all(|part| self.recorded(&part.cell).is_some())
        })
    }

    /// How far a split is, for people.
    pub(super) fn progress(&self) -> Option<String> {
        let (name, _) = self.running.iter().find(|(_, cell)| is_split(cell))?;
        let (parent, _) = self.recorded(name)?;
        let arrived = |part: &&slotmesh_mesh::map::Delegation| {
            self.running
                .get(&part.cell)
                .is_some_and(|cell| cell.place.borrow().settled)
        };
        let parts: Vec<&str> = parent
            .delegation
            .iter()
            .map(|part| part.cell.as_str())
            .collect();
        let done = parent.delegation.iter().filter(arrived).count();
        Some(format!(
            "{name} ({} members) becomes {}; {done} of {} parts have all of their members; joins wait meanwhile",
            parent.members.len(),
            parts.join(" and "),
            parts.len()
        ))
    }

    /// The next step of each split that is under way.
    pub(super) async fn go_on_splitting(&mut self) {
        let parents: Vec<String> = self
            .running
            .iter()
            .filter(|(_, cell)| is_split(cell))
            .map(|(name, _)| name.clone())
            .collect();
        for parent in parents {
            if let Err(failure) = self.step(&parent).await {
                tracing::warn!(cluster = %self.settings.cluster, cell = parent, %failure, "the split does not go on yet");
            }
        }
        if !self.is_splitting() {
            for knock in std::mem::take(&mut self.held) {
                self.admit(knock);
            }
        }
    }

    async fn step(&mut self, name: &str) -> Result<(), RecordFailure> {
        let Some((parent, version)) = self.recorded(name) else {
            return Ok(());
        };
        let parts = split::first_maps(&parent);
        let parts = parts.map_err(|error| RecordFailure::Invalid(error.to_string()))?;
        for (part, delegation) in parts.iter().zip(&parent.delegation) {
            if self.running.contains_key(&part.cell) {
                continue;
            }
            if part.sha256() != delegation.first_map_sha256 {
                let what = format!(
                    "the first map of {} is not the one that {name} names",
                    part.cell
                );
                return Err(RecordFailure::Invalid(what));
            }
            self.create(part).await?;
            self.start_cell(part.cell.clone(), false, true);
        }
        let settled = parent.delegation.iter().all(|part| {
            let cell = self.running.get(&part.cell);
            cell.is_some_and(|cell| {
                let place = cell.place.borrow();
                place.settled && place.recorded.is_some()
            })
        });
        if !settled {
            return Ok(());
        }
        self.kubernetes
            .delete_record(&self.settings.cluster, name, &version)
            .await?;
        self.running.remove(name);
        let sizes: Vec<(String, usize)> = parts
            .iter()
            .map(|part| (part.cell.clone(), part.members.len()))
            .collect();
        tracing::info!(
            cluster = %self.settings.cluster,
            cell = name,
            epoch = parent.epoch,
            parts = ?sizes,
            moves = 0,
            "cell split: every member has its part's map, the old record is deleted"
        );
        let event = CellEvent::CellSplit {
            cell: name.to_owned(),
            parts: sizes,
            epoch: parent.epoch,
        };
        if self.events.try_send(event).is_err() {
            tracing::warn!("an event was lost: the reconciler does not keep up");
        }
        Ok(())
    }

    /// Makes the record of a part. It may be there already, from an operator that was killed.
    async fn create(&self, part: &Map) -> Result<(), RecordFailure> {
        let cluster = &self.settings.cluster;
        match self.kubernetes.write_record(cluster, None, part).await {
            Ok(_) => {
                tracing::info!(%cluster, cell = %part.cell, epoch = part.epoch, members = part.members.len(), slots = %part.slots, "cell created");
                Ok(())
            }
            Err(RecordFailure::Conflict(why)) => {
                match self.kubernetes.read_record(cluster, &part.cell).await? {
                    Some(found) if found.map.version() >= part.version() => Ok(()),
                    _ => Err(RecordFailure::Conflict(why)),
                }
            }
            Err(failure) => Err(failure),
        }
    }
}

fn is_split(cell: &Running) -> bool {
    let place = cell.place.borrow();
    let recorded = place.recorded.as_ref();
    recorded.is_some_and(|(map, _)| !map.delegation.is_empty())
}
