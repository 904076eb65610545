//! Nothing that peers can fill grows beyond its limit.
//!
//! A member serves a thousand others with 20 MiB: whatever they send, in whatever order, its queues and
//! maps stay within the limits that `limits.rs` names.

use crate::limits;
use crate::member::Loads;
use crate::sim::NodeId;

/// The largest loads that were seen.
#[derive(Debug, Default)]
pub struct QueuesWithinLimits {
    largest: Option<Loads>,
}

impl QueuesWithinLimits {
    /// The largest loads so far.
    #[must_use]
    pub fn largest(&self) -> Option<Loads> {
        self.largest
    }

    /// The loads of a member after an input, before its outputs are taken.
    ///
    /// # Errors
    /// Names the first that is beyond its limit.
    pub fn observe(&mut self, node: NodeId, loads: &Loads) -> Result<(), String> {
        let largest = self.largest.get_or_insert(*loads);
        let connections_max =
            limits::CONNECTIONS_MAX + limits::OPERATORS_MAX + limits::STRANGERS_MAX;
        let all = [
            (
                "connections",
                &mut largest.connections,
                loads.connections,
                connections_max,
            ),
            (
                "strangers",
                &mut largest.strangers,
                loads.strangers,
                limits::STRANGERS_MAX,
            ),
            (
                "parted processes",
                &mut largest.parted,
                loads.parted,
                limits::PARTED_MAX,
            ),
            (
                "evidence",
                &mut largest.evidence,
                loads.evidence,
                limits::EVIDENCE_MAX,
            ),
            (
                "outputs",
                &mut largest.outputs,
                loads.outputs,
                limits::OUTPUTS_MAX,
            ),
            (
                "edges",
                &mut largest.edges,
                loads.edges,
                limits::CONNECTIONS_MAX,
            ),
            (
                "offers",
                &mut largest.offers,
                loads.offers,
                limits::CONNECTIONS_MAX,
            ),
            (
                "wanted statements",
                &mut largest.wanted,
                loads.wanted,
                limits::WANTED_MAX,
            ),
        ];
        let mut beyond = None;
        for (what, largest, load, limit) in all {
            *largest = load.max(*largest);
            if load > limit && beyond.is_none() {
                beyond = Some(format!("{node} holds {load} {what}; the limit is {limit}"));
            }
        }
        beyond.map_or(Ok(()), Err)
    }
}
