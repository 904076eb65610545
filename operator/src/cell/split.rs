//! A cell's own part in being split ([`crate::split`]): its last map, and finding a record gone.

use std::collections::BTreeSet;

use slotmesh_api::Automation;
use slotmesh_mesh::map::Map;
use slotmesh_transport::clock;

use crate::seam::{Kubernetes, PlanPreview};
use crate::split;

use super::{Cell, FROZEN_RETRY};

impl<K: Kubernetes> Cell<K> {
    /// Whether this cell was split: its record is its last.
    pub(super) fn is_split(&self) -> bool {
        self.life
            .map()
            .is_some_and(|map| !map.delegation.is_empty())
    }

    /// Above the limit and at rest: the record names the parts.
    pub(super) async fn split_if_due(&mut self) {
        let wishes = self.wishes.borrow().cells.clone();
        let due = self
            .life
            .map()
            .filter(|map| self.life.is_at_rest() && split::is_due(map, wishes.max_members));
        let preview = |map: &Map| PlanPreview {
            parent_epoch: map.epoch,
            cause: "Split".to_owned(),
            moves: 0,
            slots: 0,
            field: "cells.mode",
        };
        let previewed = due
            .filter(|_| wishes.mode == Automation::Preview)
            .map(preview);
        self.reporter.set_split_preview(previewed);
        let Some(map) = due.filter(|_| wishes.mode == Automation::Automatic) else {
            if self.life.is_at_rest() {
                // Nothing is left to write.
                self.reporter.set_forbidden(None);
            }
            return;
        };
        let taken: BTreeSet<String> = map
            .directory
            .iter()
            .map(|entry| entry.cell.clone())
            .collect();
        let last = match split::delegate(map, &self.settings.cluster.name, &taken) {
            Ok(Some(last)) => last,
            Ok(None) => return,
            Err(error) => {
                self.metrics.plans_refused.inc();
                tracing::error!(cluster = %self.settings.cluster, %error, "the cell cannot be split; please report this");
                return tokio::time::sleep(super::RETRY).await;
            }
        };
        if self.write(&last).await {
            self.metrics.epochs.inc();
            let parts: Vec<&str> = last
                .delegation
                .iter()
                .map(|part| part.cell.as_str())
                .collect();
            tracing::info!(
                cluster = %self.settings.cluster,
                cell = %self.settings.cell,
                epoch = last.epoch,
                members = last.members.len(),
                members_max = wishes.max_members,
                parts = parts.join(","),
                "cell delegated to its parts"
            );
            self.life.recorded(last.clone(), clock::now());
            self.publish(last).await;
        }
    }

    /// The record is gone though the cell had one: it is written again, one epoch on, from what this
    /// operator last recorded. An operator that never read it cannot know what it said.
    pub(super) async fn restore(&mut self) {
        let Some(mut map) = self.life.map().cloned() else {
            let message = super::doubts::describe(&self.settings, "the record is gone");
            self.reporter.doubts.tampered(message);
            self.reporter.report_frozen(&self.life);
            return tokio::time::sleep(FROZEN_RETRY).await;
        };
        tracing::warn!(cluster = %self.settings.cluster, cell = %self.settings.cell, epoch = map.epoch, "the record is gone: writing it again");
        map.epoch += 1;
        let written = self
            .kubernetes
            .write_record(&self.settings.cluster, None, &map);
        if let Err(failure) = written.await {
            tracing::warn!(cluster = %self.settings.cluster, %failure, "the record was not written again");
            tokio::time::sleep(super::RETRY).await;
        }
    }
}
