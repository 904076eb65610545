//! What a machine counts, for metrics.

use std::collections::BTreeMap;

use crate::verdict::Steps;

/// Counts since the start of the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Beats sent, one for each observer.
    pub beats_sent: u64,
    /// Beats received.
    pub beats_received: u64,
    /// Probes sent.
    pub probes_sent: u64,
    /// Probes answered.
    pub probes_answered: u64,
    /// Hints that the process of a subject is gone, as far as they counted.
    pub hints: u64,
    /// Statements signed.
    pub evidence_signed: u64,
    /// Statements of others taken in.
    pub evidence_received: u64,
    /// Statements that arrived, known ones included.
    pub evidence_copies: u64,
    /// Maps taken into force.
    pub maps_applied: u64,
    /// Maps that arrived, whole or as a difference, known ones included.
    pub maps_received: u64,
    /// Those of them that members of other zones sent.
    pub maps_received_from_other_zones: u64,
    /// Maps sent on, whole or as a difference.
    pub maps_sent: u64,
    /// Bytes of those.
    pub map_bytes_sent: u64,
    /// Summaries of evidence sent.
    pub summaries_sent: u64,
    /// Those of them by which what a beat's digest showed to differ was mended; the others are asked by fresh members.
    pub repairs: u64,
    /// Times that this process found itself deaf.
    pub deafnesses: u64,
    /// Steps of the verdict's rule that decided something.
    pub steps: Steps,
    /// Verdicts come to.
    pub verdicts: u64,
    /// Pauses of this process noticed.
    pub pauses: u64,
    /// Messages that a full queue dropped.
    pub send_drops: u64,
    /// Messages from peers that were dropped, by cause.
    pub refused: BTreeMap<&'static str, u64>,
}

impl Counters {
    /// Counts a refusal. Causes are constants of this crate, so the map stays small.
    pub fn refuse(&mut self, cause: &'static str) {
        *self.refused.entry(cause).or_default() += 1;
    }
}
