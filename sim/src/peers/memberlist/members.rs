//! Whom a member knows, what it holds of them, and how it chooses among them.

use std::collections::{BTreeMap, BTreeSet};

use rand::RngExt;
use rand_pcg::Pcg64Mcg;
use slotmesh_mesh::sim::NodeId;
use slotmesh_mesh::time::Instant;

use super::config::{GOSSIP_NODES, GOSSIP_TO_THE_DEAD_TIME, INDIRECT_CHECKS};
use super::suspicion::Suspicion;

/// What one holds of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Life {
    Alive,
    Suspect,
    Dead,
}

/// A member.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) incarnation: u32,
    pub(super) life: Life,
    pub(super) since: Instant,
    /// Whether it is in the list, or has been dead for long.
    listed: bool,
}

/// All members, the own one among them.
#[derive(Debug)]
pub(super) struct Members {
    own: NodeId,
    by_number: Vec<Member>,
    /// In the order of probing.
    order: Vec<NodeId>,
    /// The next one to probe.
    at: usize,
    suspicions: BTreeMap<NodeId, Suspicion>,
    /// Ends of suspicions.
    timeouts: BTreeSet<(Instant, NodeId)>,
}

impl Members {
    pub(super) fn new(own: NodeId, members: u16) -> Self {
        let member = Member {
            incarnation: 1,
            life: Life::Alive,
            since: Instant::ZERO,
            listed: true,
        };
        Self {
            own,
            by_number: vec![member; usize::from(members)],
            order: (1..=members).map(NodeId).collect(),
            at: 0,
            suspicions: BTreeMap::new(),
            timeouts: BTreeSet::new(),
        }
    }

    /// How many are in the list, dead ones too.
    pub(super) fn count(&self) -> usize {
        self.order.len()
    }

    /// A listed member.
    pub(super) fn get(&self, node: NodeId) -> Option<&Member> {
        let member = self.by_number.get(index(node)?)?;
        member.listed.then_some(member)
    }

    pub(super) fn get_mut(&mut self, node: NodeId) -> Option<&mut Member> {
        let member = self.by_number.get_mut(index(node)?)?;
        member.listed.then_some(member)
    }

    /// Takes one back into the list, at a random place, as a dead one of no incarnation.
    pub(super) fn list_again(&mut self, node: NodeId, rng: &mut Pcg64Mcg) {
        let Some(member) = index(node).and_then(|index| self.by_number.get_mut(index)) else {
            return;
        };
        if member.listed {
            return;
        }
        member.listed = true;
        member.incarnation = 0;
        member.life = Life::Dead;
        self.order.push(node);
        let last = self.order.len() - 1;
        let place = rng.random_range(0..=last);
        self.order.swap(place, last);
    }

    pub(super) fn states(&self) -> Vec<(NodeId, u32, Life)> {
        let state = |node: &NodeId| {
            let member = self.get(*node)?;
            Some((*node, member.incarnation, member.life))
        };
        self.order.iter().filter_map(state).collect()
    }

    // Suspicions.

    pub(super) fn begin_suspicion(&mut self, node: NodeId, suspicion: Suspicion) {
        self.end_suspicion(node);
        self.timeouts.insert((suspicion.until(), node));
        self.suspicions.insert(node, suspicion);
    }

    pub(super) fn end_suspicion(&mut self, node: NodeId) {
        if let Some(old) = self.suspicions.remove(&node) {
            self.timeouts.remove(&(old.until(), node));
        }
    }

    /// Somebody confirms a suspicion, if there is one: whether that was news.
    pub(super) fn confirm(&mut self, node: NodeId, from: NodeId) -> Option<bool> {
        let suspicion = self.suspicions.get_mut(&node)?;
        let before = suspicion.until();
        let news = suspicion.confirm(from);
        let after = suspicion.until();
        self.timeouts.remove(&(before, node));
        self.timeouts.insert((after, node));
        Some(news)
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.timeouts.first().map(|(until, _)| *until)
    }

    /// One whose suspicion has come to its end.
    pub(super) fn timed_out(&self, now: Instant) -> Option<NodeId> {
        let (until, node) = self.timeouts.first()?;
        (*until <= now).then_some(*node)
    }

    // Choosing.

    /// The next one to probe: alive or suspect, and not itself. After the last one a new round begins in a
    /// new order, without those that have been dead for long.
    pub(super) fn next_to_probe(&mut self, now: Instant, rng: &mut Pcg64Mcg) -> Option<NodeId> {
        let mut checked = 0;
        while checked < self.order.len() {
            let Some(node) = self.order.get(self.at).copied() else {
                self.shuffle(now, rng);
                checked += 1;
                continue;
            };
            self.at += 1;
            let is_dead = self.get(node).is_none_or(|other| other.life == Life::Dead);
            if node != self.own && !is_dead {
                return Some(node);
            }
            checked += 1;
        }
        None
    }

    /// Begins a round.
    pub(super) fn shuffle(&mut self, now: Instant, rng: &mut Pcg64Mcg) {
        let by_number = &mut self.by_number;
        self.order.retain(|node| {
            let Some(member) = index(*node).and_then(|index| by_number.get_mut(index)) else {
                return false;
            };
            let dead_for = now.saturating_since(member.since);
            member.listed = member.life != Life::Dead || dead_for <= GOSSIP_TO_THE_DEAD_TIME;
            member.listed
        });
        shuffle(&mut self.order, rng);
        self.at = 0;
    }

    pub(super) fn gossip_targets(&self, now: Instant, rng: &mut Pcg64Mcg) -> Vec<NodeId> {
        self.some(GOSSIP_NODES, rng, |_, other| {
            let dead_for = now.saturating_since(other.since);
            other.life != Life::Dead || dead_for <= GOSSIP_TO_THE_DEAD_TIME
        })
    }

    /// Those who are asked to probe another.
    pub(super) fn helpers(&self, target: NodeId, rng: &mut Pcg64Mcg) -> Vec<NodeId> {
        self.some(INDIRECT_CHECKS, rng, |node, other| {
            node != target && other.life == Life::Alive
        })
    }

    pub(super) fn push_pull_target(&self, rng: &mut Pcg64Mcg) -> Option<NodeId> {
        let one = self.some(1, rng, |_, other| other.life == Life::Alive);
        one.first().copied()
    }

    /// Up to so many others that fit. Small lists are searched to the end, large ones three times as often as
    /// they are long.
    fn some(
        &self,
        count: usize,
        rng: &mut Pcg64Mcg,
        fits: impl Fn(NodeId, &Member) -> bool,
    ) -> Vec<NodeId> {
        let listed = self.order.len();
        let mut some = Vec::with_capacity(count);
        let fits = |node: NodeId, some: &[NodeId]| {
            let member = self.get(node);
            node != self.own && member.is_some_and(|m| fits(node, m)) && !some.contains(&node)
        };
        if listed < count * 3 {
            let mut order = self.order.clone();
            shuffle(&mut order, rng);
            for node in order {
                if some.len() < count && fits(node, &some) {
                    some.push(node);
                }
            }
            return some;
        }
        for _ in 0..3 * listed {
            if some.len() == count {
                break;
            }
            let place = rng.random_range(0..listed);
            if let Some(node) = self.order.get(place).filter(|node| fits(**node, &some)) {
                some.push(*node);
            }
        }
        some
    }
}

fn index(node: NodeId) -> Option<usize> {
    usize::from(node.0).checked_sub(1)
}

/// Fisher and Yates.
fn shuffle(order: &mut [NodeId], rng: &mut Pcg64Mcg) {
    for last in (1..order.len()).rev() {
        order.swap(last, rng.random_range(0..=last));
    }
}
