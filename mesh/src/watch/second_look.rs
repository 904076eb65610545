//! Members whose death the mesh cannot prove: too few are left to claim it. The operator looks itself.
//!
//! ```text
//!             found, but the rest is no majority
//!   (nothing) ─────────────────────────────────▶ Unproven { silent_since } ──▶ told to the operator
//!       ▲                                             │          ▲                 (how long silent)
//!       └───── a verdict, a Clear, or a newer map ────┘          └── any answer: silent from now on
//! ```
//!
//! Nothing is decided here: the operator may remove such a member when its own probes stay
//! unanswered *and* the API says that pod or node is not well.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::identity::{MemberId, Uid};
use crate::limits;
use crate::time::Instant;

/// Members under a second look.
#[derive(Clone, Debug, Default)]
pub(super) struct SecondLook {
    silent_since: BTreeMap<MemberId, Instant>,
}

impl SecondLook {
    /// These are found failed and cannot be claimed; silence of new ones counts from now.
    pub(super) fn set(&mut self, now: Instant, unclaimed: &BTreeSet<MemberId>) {
        self.silent_since.retain(|id, _| unclaimed.contains(id));
        for id in unclaimed {
            if self.silent_since.len() >= limits::SECOND_LOOKS_MAX {
                return;
            }
            self.silent_since.entry(*id).or_insert(now);
        }
    }

    /// Something came from that member.
    pub(super) fn hear(&mut self, now: Instant, uid: Uid) {
        for (_, since) in self.silent_since.iter_mut().filter(|(id, _)| id.uid == uid) {
            *since = now;
        }
    }

    /// The operator itself was away: nobody's silence.
    pub(super) fn forget_silence(&mut self, now: Instant) {
        self.silent_since
            .values_mut()
            .for_each(|since| *since = now);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.silent_since.is_empty()
    }

    pub(super) fn contains(&self, uid: Uid) -> bool {
        self.members().any(|member| member == uid)
    }

    pub(super) fn members(&self) -> impl Iterator<Item = Uid> + '_ {
        self.silent_since.keys().map(|id| id.uid)
    }

    pub(super) fn silence(&self, now: Instant) -> Vec<(MemberId, Duration)> {
        let silence = |(id, since): (&MemberId, &Instant)| (*id, now.saturating_since(*since));
        self.silent_since.iter().map(silence).collect()
    }
}

#[cfg(test)]
mod tests;
