//! What the network does to packets: delay, jitter (and so reordering), loss, and links that are cut.

use std::collections::BTreeSet;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::NodeId;

/// How good the network is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkSettings {
    /// Shortest time from one node to another.
    pub latency: Duration,
    /// Up to that much more, evenly spread: later packets overtake earlier ones.
    pub jitter: Duration,
    /// Packets of a thousand that are lost.
    pub loss_per_mille: u32,
}

impl Default for NetworkSettings {
    /// A data centre that is not at its best.
    fn default() -> Self {
        Self {
            latency: Duration::from_micros(250),
            jitter: Duration::from_millis(1),
            loss_per_mille: 10,
        }
    }
}

/// The network.
#[derive(Debug)]
pub(super) struct Network {
    settings: NetworkSettings,
    /// Directions in which nothing passes: (from, to).
    cuts: BTreeSet<(NodeId, NodeId)>,
    rng: Pcg64Mcg,
}

impl Network {
    pub(super) fn new(settings: NetworkSettings, seed: u64) -> Self {
        Self {
            settings,
            cuts: BTreeSet::new(),
            rng: Pcg64Mcg::seed_from_u64(seed),
        }
    }

    pub(super) fn cut(&mut self, from: NodeId, to: NodeId) {
        self.cuts.insert((from, to));
    }

    pub(super) fn heal_all(&mut self) {
        self.cuts.clear();
    }

    pub(super) fn is_whole(&self) -> bool {
        self.cuts.is_empty()
    }

    pub(super) fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        // Nearly always nothing is cut.
        !self.cuts.is_empty() && self.cuts.contains(&(from, to))
    }

    /// Whether a packet sent now arrives.
    pub(super) fn passes(&mut self, from: NodeId, to: NodeId) -> bool {
        let lost = self.settings.loss_per_mille > 0
            && self.rng.random_range(0..1000) < self.settings.loss_per_mille;
        !lost && !self.is_cut(from, to)
    }

    /// Time that a packet takes.
    pub(super) fn latency(&mut self) -> Duration {
        let jitter = u64::try_from(self.settings.jitter.as_micros()).unwrap_or(u64::MAX);
        self.settings.latency + Duration::from_micros(self.rng.random_range(0..=jitter))
    }

    /// A time below `most`.
    pub(super) fn below(&mut self, most: Duration) -> Duration {
        let most = u64::try_from(most.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.rng.random_range(0..most.max(1)))
    }

    pub(super) fn random(&mut self) -> u64 {
        self.rng.random()
    }
}
