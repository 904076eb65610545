//! After the faults end, everybody soon sees the same, and nobody is accused any more.
//!
//! Whatever happened, some time after the last link is healed, the last process runs again and the
//! operator is up, every process is a member, all hold the newest map byte for byte and the same
//! evidence, and no report is in force. A cell that stays divided, or forgets one of its members, would
//! answer the same question differently for ever.
//!
//! Where a network loses a lot for good, some edge or other is reported and cleared again at nearly any time: at
//! 10 % about once an hour an edge ([`crate::edge`]), that is every twelve seconds among 300 edges. There reports and
//! the evidence that tells of them may stand; membership, maps and verdicts may not differ.

use std::time::Duration;

use crate::identity::Epoch;
use crate::sim::NodeId;
use crate::time::Instant;

/// Time for everything to settle: a connection that is cut is given up after ten seconds, members that
/// hear nobody join again after seven, and pauses between dials grow to two seconds.
const BOUND: Duration = Duration::from_secs(30);
/// From this loss on reports come and go: at 5 % 300 edges are reported eight times an hour, at 1 % never.
const LOSSY_PER_MILLE: u32 = 50;

/// What one process sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Where.
    pub node: NodeId,
    /// Whether it is a member, by its own map.
    pub is_member: bool,
    /// Epoch of its map.
    pub epoch: Epoch,
    /// SHA-256 of its map.
    pub map_sha256: [u8; 32],
    /// Digest of the evidence that it holds.
    pub evidence: u64,
    /// Members that it finds failed.
    pub failed: usize,
    /// Members that somebody reports.
    pub reported: usize,
}

/// Since when all is well, and whether everybody sees it.
#[derive(Debug)]
pub struct ViewsConverge {
    bound: Duration,
    /// Whether reports may stand.
    lossy: bool,
    calm_since: Option<Instant>,
    /// Since when, too, all views are equal.
    equal_since: Option<Instant>,
}

impl Default for ViewsConverge {
    fn default() -> Self {
        Self::within(BOUND)
    }
}

impl ViewsConverge {
    /// A rule with that bound.
    #[must_use]
    pub fn within(bound: Duration) -> Self {
        Self {
            bound,
            lossy: false,
            calm_since: None,
            equal_since: None,
        }
    }

    /// For a network that loses so much of everything for good.
    pub(in crate::sim) fn at_loss(&mut self, per_mille: u32) {
        self.lossy = per_mille >= LOSSY_PER_MILLE;
    }

    /// Time from the last fault until all views were equal for good, if they are.
    #[must_use]
    pub fn took(&self) -> Option<Duration> {
        let (calm, equal) = (self.calm_since?, self.equal_since?);
        Some(equal.saturating_since(calm))
    }

    /// A fault: time counts from its end.
    pub fn disturb(&mut self) {
        self.calm_since = None;
        self.equal_since = None;
    }

    /// What all processes see at one moment while no fault lasts, [compared](Self::compare).
    ///
    /// # Errors
    /// When time is up and a view differs.
    pub fn observe(&mut self, now: Instant, compared: Result<(), String>) -> Result<(), String> {
        let calm = *self.calm_since.get_or_insert(now);
        let Err(difference) = compared else {
            self.equal_since.get_or_insert(now);
            return Ok(());
        };
        self.equal_since = None;
        if now.saturating_since(calm) <= self.bound {
            return Ok(());
        }
        Err(format!("after {:?}: {difference}", self.bound))
    }

    /// Compares views with each other and with the newest map's SHA-256, up to the first that differs.
    ///
    /// # Errors
    /// What differs.
    pub fn compare(
        &self,
        newest: &[u8; 32],
        views: impl IntoIterator<Item = View>,
    ) -> Result<(), String> {
        let mut evidence = None;
        for view in views {
            let what = if !view.is_member {
                "is no member"
            } else if view.map_sha256 != *newest {
                "does not hold the newest map"
            } else if !self.lossy && view.evidence != *evidence.get_or_insert(view.evidence) {
                "holds other evidence than the first"
            } else if view.failed > 0 {
                "finds somebody failed"
            } else if !self.lossy && view.reported > 0 {
                "holds a report"
            } else {
                continue;
            };
            return Err(format!("{} (epoch {}) {what}", view.node, view.epoch));
        }
        Ok(())
    }
}
