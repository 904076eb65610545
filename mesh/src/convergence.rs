//! How fast a map came into force: every member tells whoever handed it the map, and counts are summed on
//! the way to the operator.
//!
//! ```text
//!   operator ──map, age 0──▶ reporter ──map, age──▶ member ──map, age──▶ member
//!      ▲                        │  ▲                  │  ▲                 │
//!      └────── counts of all ───┘  └─ its and theirs ─┘  └──── its own ────┘
//! ```
//!
//! Clocks of two nodes are never compared. A map travels with its age: each member adds for how long it
//! held the map, and half of the time between asking for it and getting it. So whoever applies it knows how
//! old it was, counts itself in a bucket of time, and buckets can simply be added. What a hop's packets take
//! beyond half of that exchange is not seen; on a data centre's network that is under a millisecond.
//!
//! A member that lies makes the figure wrong, and nothing else: nobody decides by it. Each hop refuses
//! counts of more members than the cell has.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::identity::{Epoch, MemberId};
use crate::map::Map;
use crate::time::Instant;

/// Upper ends of the buckets in milliseconds; one more holds what took longer.
pub const BUCKETS_MS: [u64; 16] = [
    1, 2, 5, 10, 15, 20, 25, 50, 100, 150, 250, 500, 1000, 2500, 5000, 10_000,
];

/// Members that applied a map, by its age then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Counts([u16; BUCKETS_MS.len() + 1]);

impl Counts {
    /// One member, which applied the map at that age.
    #[must_use]
    pub fn one(age: Duration) -> Self {
        let fits = |limit: &u64| age <= Duration::from_millis(*limit);
        let bucket = BUCKETS_MS.iter().position(fits).unwrap_or(BUCKETS_MS.len());
        let mut counts = Self::default();
        if let Some(count) = counts.0.get_mut(bucket) {
            *count = 1;
        }
        counts
    }

    /// Adds the others' counts; they stop at 65535.
    pub fn add(&mut self, others: &Self) {
        for (count, other) in self.0.iter_mut().zip(others.0) {
            *count = count.saturating_add(other);
        }
    }

    /// Members counted.
    #[must_use]
    pub fn total(&self) -> usize {
        self.0.iter().map(|count| usize::from(*count)).sum()
    }

    /// Nobody counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.total() == 0
    }

    /// Upper end of the bucket in which the `wanted`-th member was counted; none when fewer were, or when
    /// it took longer than the last bucket's end.
    #[must_use]
    pub fn reached(&self, wanted: usize) -> Option<Duration> {
        let mut counted = 0;
        for (count, limit) in self.0.iter().zip(BUCKETS_MS) {
            counted += usize::from(*count);
            if counted >= wanted {
                return Some(Duration::from_millis(limit));
            }
        }
        None
    }
}

/// What the operator knows of one map's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Convergence {
    /// Epoch of the map.
    pub epoch: Epoch,
    /// Members that have to apply it: listed in it and in the map before. Who joined with it has it.
    pub members: usize,
    /// When it was published.
    pub published: Instant,
    /// Who said so far that it did.
    pub counts: Counts,
}

impl Convergence {
    /// Of a map that was just published.
    #[must_use]
    pub fn of(before: &Map, map: &Map, now: Instant) -> Self {
        let listed: std::collections::BTreeSet<MemberId> =
            before.active().map(crate::map::Member::id).collect();
        let stayed = map.active().filter(|member| listed.contains(&member.id()));
        Self {
            epoch: map.epoch,
            members: stayed.count(),
            published: now,
            counts: Counts::default(),
        }
    }

    /// Members that said that they applied it, no more than there are.
    #[must_use]
    pub fn applied(&self) -> usize {
        self.counts.total().min(self.members)
    }

    /// Whether all did.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.applied() == self.members
    }

    /// Time until so many percent of the members had applied it, rounded up to the end of a bucket.
    #[must_use]
    pub fn reached(&self, percent: usize) -> Option<Duration> {
        match (self.members * percent).div_ceil(100) {
            0 => Some(Duration::ZERO),
            wanted => self.counts.reached(wanted),
        }
    }
}

#[cfg(test)]
mod tests;
