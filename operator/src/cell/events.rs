//! What the mesh says, taken in: verdicts, departures, and maps that should not exist.

use slotmesh_mesh::machine::Event;
use slotmesh_mesh::map::Map;
use slotmesh_transport::clock;

use crate::seam::Kubernetes;

use super::mesh::Found;
use super::{Cell, doubts};

impl<K: Kubernetes> Cell<K> {
    /// Takes in an event. One that tells of a verdict may be late, or an earlier one lost: what counts is the verdict as it
    /// stands.
    pub(super) async fn hear(&mut self, event: Event) {
        let tells_verdict = matches!(
            event,
            Event::Verdict { .. } | Event::VerdictWithdrawn { .. }
        );
        self.on_event(event);
        if tells_verdict {
            let found = self.mesh.found().await;
            self.take_verdict(found);
        }
    }

    /// A verdict counts under the map on record only.
    pub(super) fn take_verdict(&mut self, found: Option<Found>) {
        let recorded = self.life.map().map(Map::version);
        if let Some(found) = found.filter(|found| Some(found.version) == recorded) {
            self.life.verdict(clock::now(), found.failed);
        }
    }

    fn on_event(&mut self, event: Event) {
        let cluster = self.settings.cluster.clone();
        match event {
            Event::Verdict { epoch, failed } => {
                self.metrics.verdicts.inc();
                let names: Vec<String> = failed.iter().map(|id| self.name_of(*id)).collect();
                tracing::warn!(%cluster, epoch, failed = names.join(","), "verdict: failed");
            }
            Event::VerdictWithdrawn { epoch } => {
                tracing::info!(%cluster, epoch, "verdict withdrawn");
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
                let message = doubts::describe_mendable(&self.settings, &message);
                self.reporter.doubts.newer_seen((era, epoch), message);
            }
            Event::Converged(convergence) => self.on_convergence(&convergence),
            other => tracing::debug!(%cluster, event = ?other, "mesh"),
        }
    }
}
