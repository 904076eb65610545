//! What the mesh told of a map's way, for status, metric and event.

use slotmesh_mesh::convergence::Convergence;

use crate::metrics::Metrics;
use crate::seam::{Kubernetes, MapConvergence};

use super::Cell;

impl<K: Kubernetes> Cell<K> {
    pub(super) fn on_convergence(&mut self, convergence: &Convergence) {
        let told = summary(convergence);
        observe(&self.metrics, &told);
        self.reporter.set_convergence(told);
    }
}

fn summary(convergence: &Convergence) -> MapConvergence {
    MapConvergence {
        epoch: convergence.epoch,
        members: convergence.members,
        applied: convergence.applied(),
        half: convergence.reached(50),
        ninety_nine_percent: convergence.reached(99),
        all: convergence.reached(100),
    }
}

/// A share that was not reached has no time; that not all was reached is counted.
fn observe(metrics: &Metrics, told: &MapConvergence) {
    let shares = [told.half, told.ninety_nine_percent, told.all];
    for (share, time) in Metrics::SHARES.iter().zip(shares) {
        if let Some(time) = time {
            let histogram = metrics.convergence_seconds.with_label_values(&[*share]);
            histogram.observe(time.as_secs_f64());
        }
    }
    if told.applied < told.members {
        metrics.maps_not_applied.inc();
    }
}

#[cfg(test)]
mod tests;
