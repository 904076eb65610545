//! Metrics of the operator. Labels are bounded: no object is named.

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
};

/// From a millisecond to ten seconds.
const SECONDS: [f64; 12] = [
    0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// Outcomes of a request to join.
const JOIN_OUTCOMES: [&str; 7] = [
    "admitted",
    "renewed",
    "later",
    "busy",
    "refused",
    "gone",
    "not_leader",
];

/// Everything that `/metrics` shows of cells and joins.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    /// 1 while this operator leads.
    pub leader: IntGauge,
    /// Times that the Lease passed to another holder.
    pub leader_changes: IntCounter,
    /// Cells that this operator runs.
    pub cells: IntGauge,
    pub(crate) epochs: IntCounter,
    pub(crate) write_seconds: Histogram,
    pub(crate) write_failures: IntCounterVec,
    pub(crate) verdict_seconds: Histogram,
    pub(crate) joins: IntCounterVec,
    pub(crate) certificates: IntCounterVec,
    pub(crate) moved_slots: IntCounter,
    pub(crate) plans_refused: IntCounter,
    pub(crate) convergence_seconds: HistogramVec,
    pub(crate) maps_not_applied: IntCounter,
    pub(crate) verdicts: IntCounter,
}

impl Metrics {
    /// Shares of the members that a map's way is told by.
    pub(crate) const SHARES: [&str; 3] = ["0.5", "0.99", "1"];

    /// Registers all of them, and those of the process.
    ///
    /// # Errors
    /// When two have one name.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        registry.register(Box::new(
            prometheus::process_collector::ProcessCollector::for_self(),
        ))?;
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        // Every value counts from the start, so that the first one shows as growth.
        let vector = |name: &str, help: &str, label: &str, values: &[&str]| {
            let vector = IntCounterVec::new(Opts::new(name, help), &[label])?;
            registry.register(Box::new(vector.clone()))?;
            for value in values {
                vector.with_label_values(&[*value]);
            }
            Ok::<_, prometheus::Error>(vector)
        };
        let histogram = |name: &str, help: &str| {
            let histogram =
                Histogram::with_opts(HistogramOpts::new(name, help).buckets(SECONDS.into()))?;
            registry.register(Box::new(histogram.clone()))?;
            Ok::<_, prometheus::Error>(histogram)
        };
        let convergence_seconds = HistogramVec::new(
            HistogramOpts::new(
                "slotmesh_operator_map_convergence_seconds",
                "Time from publishing a map until that share of the members had applied it.",
            )
            .buckets(SECONDS.into()),
            &["share"],
        )?;
        registry.register(Box::new(convergence_seconds.clone()))?;
        for share in Self::SHARES {
            convergence_seconds.with_label_values(&[share]);
        }
        Ok(Self {
            leader: gauge("slotmesh_operator_leader", "1 while this operator leads.")?,
            leader_changes: counter(
                "slotmesh_operator_leader_changes_total",
                "Times that this operator saw the Lease pass to another holder.",
            )?,
            cells: gauge("slotmesh_operator_cells", "Cells that this operator runs.")?,
            epochs: counter("slotmesh_operator_epochs_recorded_total", "Maps recorded.")?,
            write_seconds: histogram(
                "slotmesh_operator_record_write_seconds",
                "Time to write a record to the API server.",
            )?,
            write_failures: vector(
                "slotmesh_operator_record_write_failures_total",
                "Writes of a record that failed, by cause.",
                "cause",
                &[
                    "tampered",
                    "invalid",
                    "conflict",
                    "forbidden",
                    "unavailable",
                ],
            )?,
            verdict_seconds: histogram(
                "slotmesh_operator_verdict_to_recorded_seconds",
                "Time from a verdict to the epoch that carries it, batching included.",
            )?,
            joins: vector(
                "slotmesh_operator_joins_total",
                "Requests to join, by outcome.",
                "outcome",
                &JOIN_OUTCOMES,
            )?,
            certificates: vector(
                "slotmesh_operator_certificates_issued_total",
                "Certificates issued: to agents that join, to members that renew theirs, and to this operator itself.",
                "purpose",
                &["join", "renewal", "operator"],
            )?,
            moved_slots: counter(
                "slotmesh_operator_moved_slots_total",
                "Slots that changed their owner.",
            )?,
            plans_refused: counter(
                "slotmesh_operator_plans_refused_total",
                "Plans that the checker refused: a defect; please report it.",
            )?,
            convergence_seconds,
            maps_not_applied: counter(
                "slotmesh_operator_maps_not_applied_total",
                "Maps that some members had not said to have applied after 15 s, though no other map followed.",
            )?,
            verdicts: counter("slotmesh_operator_verdicts_total", "Verdicts come to.")?,
            registry,
        })
    }

    /// Where further metrics are registered, and from where all are gathered.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }
}

#[cfg(test)]
mod tests;
