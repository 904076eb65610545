//! The accuser's budget: how many statements are taken from one signer.
//!
//! In force a signer has one at a time, about those that it observes and nobody else: what it says of others counts for
//! nothing ([`super::Evidence::reports`]). In time, this: a bucket that leaks. An honest edge needs ten beats from report to clear, so an
//! honest signer never fills it. Whoever does hurts no convergence: what was refused is asked for
//! again when a digest differs, and taken once the bucket has leaked.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::bucket::Bucket;
use crate::evidence::{Evidence, EvidenceError, EvidenceStore, Grounds};
use crate::graph::Graph;
use crate::identity::MemberId;
use crate::limits;
use crate::map::Map;
use crate::time::Instant;

/// Statements taken lately, by signer.
#[derive(Clone, Debug, Default)]
pub struct Budget {
    spent: BTreeMap<MemberId, Bucket>,
}

impl Budget {
    /// Whether one more would be taken. `interval` is the time between two beats.
    pub fn has_room(&mut self, now: Instant, signer: MemberId, interval: Duration) -> bool {
        let Some(spent) = self.spent.get_mut(&signer) else {
            return true;
        };
        let each =
            interval * limits::STATEMENTS_REFILL_BEATS / (2 * u32::from(limits::OBSERVERS_MAX));
        let level = spent.level(now, each);
        if level == 0 {
            self.spent.remove(&signer);
        }
        level < limits::STATEMENTS_BURST
    }

    /// Whether a statement of somebody is to be taken in; false when it is no news. What passes is spent.
    ///
    /// # Errors
    /// When the budget is exhausted, before any signature is verified, or as [`Evidence::check`].
    pub fn vet(
        &mut self,
        now: Instant,
        item: &Evidence,
        held: &EvidenceStore,
        grounds: Grounds<'_>,
    ) -> Result<bool, EvidenceError> {
        if !held.is_news(item) {
            return Ok(false);
        }
        let interval = Duration::from_millis(grounds.map.protocol.heartbeat_interval_ms.into());
        if !self.has_room(now, item.signer, interval) {
            return Err(EvidenceError::Budget);
        }
        item.check(grounds)?;
        self.spend(now, item.signer);
        Ok(true)
    }

    /// One was taken. Only of what is signed: nobody spends what is another's.
    pub fn spend(&mut self, now: Instant, signer: MemberId) {
        self.spent.entry(signer).or_default().pour(now, 1);
    }

    /// Forgets who is no longer listed.
    pub fn retain_for(&mut self, map: &Map, graph: &Graph) {
        self.spent
            .retain(|signer, _| *signer == MemberId::OPERATOR || graph.lists(map, *signer));
    }
}

#[cfg(test)]
mod tests;
