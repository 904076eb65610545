//! What the mesh says, taken in: verdicts, departures, and maps that should not exist.

use std::time::Instant;

use slotmesh_mesh::machine::Event;
use slotmesh_transport::clock;

use crate::seam::Kubernetes;

use super::{Cell, doubts};

impl<K: Kubernetes> Cell<K> {
    pub(super) fn on_event(&mut self, event: Event) {
        let cluster = self.settings.cluster.clone();
        match event {
            Event::Verdict { epoch, failed } => {
                self.metrics.verdicts.inc();
                self.verdict_at = Some(Instant::now());
                let names: Vec<String> = failed.iter().map(|id| self.name_of(*id)).collect();
                tracing::warn!(%cluster, epoch, failed = names.join(","), "verdict: failed");
                self.life
                    .verdict(clock::now(), failed.into_iter().collect());
            }
            Event::VerdictWithdrawn { epoch } => {
                tracing::info!(%cluster, epoch, "verdict withdrawn");
                self.life
                    .verdict(clock::now(), std::collections::BTreeSet::new());
            }
            Event::VerdictAwaited { epoch } => {
                tracing::info!(%cluster, epoch, "more deaths are reported: the next map waits for them");
                self.life.await_deaths(clock::now());
            }
            Event::Leaving { member } => {
                tracing::info!(%cluster, member = self.name_of(member), "member leaves");
                self.life.leave(clock::now(), member);
            }
            // The parts of a cell that was split go on; nothing more is decided here.
            Event::MapConflict { .. } | Event::NewerMapSeen { .. } if self.is_split() => {}
            Event::MapConflict { epoch } => {
                let message = doubts::describe(
                    &self.settings,
                    &format!("the mesh holds another map of epoch {epoch}"),
                );
                let era = self.life.map().map_or(0, |map| map.era);
                self.reporter.doubts.conflict_seen((era, epoch), message);
            }
            Event::NewerMapSeen {
                version: (era, epoch),
            } => {
                let message = format!(
                    "the mesh holds a newer map (era {era}, epoch {epoch}) than the record"
                );
                let message = doubts::describe(&self.settings, &message);
                self.reporter.doubts.newer_seen((era, epoch), message);
            }
            Event::Converged(convergence) => self.on_convergence(&convergence),
            other => tracing::debug!(%cluster, event = ?other, "mesh"),
        }
    }
}
