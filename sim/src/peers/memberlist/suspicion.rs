//! One suspicion: a timeout that shrinks with the logarithm of its confirmations (Lifeguard's LHA-suspicion).
//!
//! ```text
//!   timeout
//!   max ┤*
//!       │   *               no confirmation: max; k of them: min
//!   min ┤       *───────
//!       └┬──┬───┬───────▶ confirmations
//!        0  1   k
//! ```

use std::collections::BTreeSet;
use std::time::Duration;

use slotmesh_mesh::sim::NodeId;
use slotmesh_mesh::time::Instant;

/// The suspicion.
#[derive(Clone, Debug)]
pub struct Suspicion {
    since: Instant,
    /// Confirmations that count.
    wanted: u32,
    min: Duration,
    max: Duration,
    /// Who said so: the first, and who confirmed.
    from: BTreeSet<NodeId>,
}

impl Suspicion {
    /// A suspicion that somebody told of.
    pub fn new(now: Instant, from: NodeId, wanted: u32, min: Duration, max: Duration) -> Self {
        Self {
            since: now,
            wanted,
            min,
            max,
            from: [from].into(),
        }
    }

    /// Somebody says so, too; whether that was news, to be told to others.
    pub fn confirm(&mut self, from: NodeId) -> bool {
        self.confirmations() < self.wanted && self.from.insert(from)
    }

    /// When it becomes a death.
    pub fn until(&self) -> Instant {
        self.since + self.timeout()
    }

    fn confirmations(&self) -> u32 {
        u32::try_from(self.from.len() - 1).unwrap_or(u32::MAX)
    }

    fn timeout(&self) -> Duration {
        if self.wanted == 0 {
            return self.min;
        }
        let confirmations = self.confirmations();
        if confirmations == 0 {
            return self.max;
        }
        let share = f64::from(confirmations + 1).ln() / f64::from(self.wanted + 1).ln();
        let spread = self.max.saturating_sub(self.min).as_secs_f64();
        let millis = (1000.0 * (self.max.as_secs_f64() - share * spread)).floor();
        Duration::from_millis(millis.max(0.0) as u64).max(self.min)
    }
}
