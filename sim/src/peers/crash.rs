//! One member falls silent: when each of the others has declared it dead.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Result, ensure};
use slotmesh_mesh::sim::parts::choose;
use slotmesh_mesh::sim::{Fault, NetworkSettings, NodeId};

use super::foca::Foca;
use super::memberlist::Memberlist;
use super::protocol::Protocol;
use super::world::World;

/// The network of the live measurement: one machine's own.
pub const LOOPBACK: NetworkSettings = NetworkSettings {
    latency: Duration::from_micros(50),
    jitter: Duration::from_micros(50),
    loss_per_mille: 0,
    duplicate_per_mille: 0,
    reorder_per_mille: 0,
    line_mbit: 10_000,
    line_queue_bytes: 1 << 20,
};
/// Before the death.
const SETTLE: Duration = Duration::from_secs(10);
/// After it: longer than the longest suspicion of a thousand members (72 s).
const RUN: Duration = Duration::from_secs(90);

/// What one run came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Death {
    /// When each survivor that declared it dead did so, sorted.
    pub after: Vec<Duration>,
    /// Survivors.
    pub survivors: usize,
    /// Healthy members that somebody declared dead.
    pub false_deaths: usize,
}

impl Death {
    /// When the last survivor knew, if all did.
    pub fn last(&self) -> Option<Duration> {
        let all = self.after.len() == self.survivors;
        self.after.last().copied().filter(|_| all)
    }
}

/// One member of memberlist's model dies.
///
/// # Errors
/// When the run proves nothing because something found no room.
pub fn memberlist(network: NetworkSettings, seed: u64, members: u16) -> Result<Death> {
    let world = World::new(network, seed, members, |own, rng| {
        Memberlist::new(own, members, rng)
    });
    death(world, seed, members)
}

/// One member of foca dies.
///
/// # Errors
/// As above.
pub fn foca(network: NetworkSettings, seed: u64, members: u16) -> Result<Death> {
    let world = World::new(network, seed, members, |own, rng| {
        Foca::new(own, members, rng)
    });
    death(world, seed, members)
}

fn death<P: Protocol>(mut world: World<P>, seed: u64, members: u16) -> Result<Death> {
    world.run_for(SETTLE);
    let victims = choose(seed, members, 1);
    let begin = world.now();
    for victim in &victims {
        world.inflict(&Fault::Crash(*victim));
    }
    let survivors = world.running();
    let mut end = begin;
    while end < begin + RUN {
        world.run_for(Duration::from_secs(1));
        end = world.now();
        if told(&world, &victims).len() == survivors.len() {
            break;
        }
    }
    ensure!(
        world.dropped() == 0,
        "seed {seed}: a queue of the world was full"
    );
    let mut after: Vec<Duration> = told(&world, &victims)
        .values()
        .map(|at| at.saturating_since(begin))
        .collect();
    after.sort();
    let healthy = world.events().iter().filter(|event| event.dead);
    let healthy: BTreeSet<NodeId> = healthy
        .map(|event| event.of)
        .filter(|of| !victims.contains(of))
        .collect();
    Ok(Death {
        after,
        survivors: survivors.len(),
        false_deaths: healthy.len(),
    })
}

/// When each one first declared a victim dead.
fn told<P: Protocol>(
    world: &World<P>,
    victims: &BTreeSet<NodeId>,
) -> BTreeMap<NodeId, slotmesh_mesh::time::Instant> {
    let mut told = BTreeMap::new();
    for event in world.events() {
        if event.dead && victims.contains(&event.of) && !victims.contains(&event.node) {
            told.entry(event.node).or_insert(event.at);
        }
    }
    told
}
