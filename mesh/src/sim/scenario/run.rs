//! Runs a scenario: faults onto the schedule, time passes, and then the promises are looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::{Planned, Reached, Scenario, Trouble, Who};
use crate::identity::Epoch;
use crate::machine::Event;
use crate::map::MapError;
use crate::sim::{Fault, NodeId, OPERATOR, Simulation};
use crate::time::Instant;

/// What a run came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Seed of the run.
    pub seed: u64,
    /// Digest of the run: the same seed gives the same.
    pub digest: u64,
    /// Inputs that machines were given.
    pub inputs: u64,
    /// Those that a fault befell.
    pub faulty: BTreeSet<NodeId>,
    /// Those that crashed for good, and how long after the first fault.
    pub crashed: BTreeMap<NodeId, Duration>,
    /// How many others there are.
    pub survivors: usize,
    /// Time from the first fault until each of the others agreed, sorted.
    pub agreed_after: Vec<Duration>,
    /// Who was removed by a map, and how long after the first fault.
    pub removals: Vec<(NodeId, Duration)>,
    /// Removals of others than the faulty.
    pub healthy_removed: usize,
    /// Maps after the first.
    pub changes: usize,
    /// Bytes a second that the members sent, on average, since the cell had settled.
    pub traffic_mean: u64,
    /// The same of the member that sent most.
    pub traffic_most: u64,
    /// When the last node became a member.
    pub everybody_member_after: Option<Duration>,
    /// States that it came by.
    pub reached: Reached,
    /// Promises and rules that were broken.
    pub broken: Vec<String>,
}

/// Runs a scenario with a seed.
///
/// # Errors
/// When its first map cannot be made.
pub fn run(scenario: &Scenario, seed: u64) -> Result<(Outcome, Simulation), MapError> {
    let mut settings = scenario.settings;
    settings.seed = seed;
    let mut simulation = Simulation::new(settings)?;
    let Befallen { faulty, crashed } = plan(scenario, seed, &mut simulation);
    simulation.run_for(scenario.settle);
    let nodes: Vec<NodeId> = simulation.node_ids().collect();
    let bytes = |simulation: &Simulation| -> Vec<u64> {
        nodes
            .iter()
            .map(|node| simulation.traffic(*node).bytes)
            .collect()
    };
    let before = bytes(&simulation);
    simulation.run_for(scenario.run);
    let after = bytes(&simulation);
    let sent = || {
        after
            .iter()
            .zip(&before)
            .map(|(after, before)| after - before)
    };
    let seconds = u64::try_from(scenario.run.as_millis())
        .unwrap_or(u64::MAX)
        .max(1);
    let rate = |bytes: u64| bytes * 1000 / seconds;

    let begin = Instant::ZERO + scenario.settle + first_fault(scenario);
    let mut outcome = Outcome {
        seed,
        digest: simulation.trace_digest(),
        inputs: simulation.inputs(),
        survivors: nodes.len() - faulty.len(),
        agreed_after: agreement(&simulation, begin, &faulty),
        removals: removals(&simulation, begin),
        changes: simulation.map_changes().len(),
        traffic_mean: rate(sent().sum::<u64>() / nodes.len().max(1) as u64),
        traffic_most: rate(sent().max().unwrap_or(0)),
        everybody_member_after: everybody_member_at(&simulation)
            .map(|at| at.saturating_since(Instant::ZERO)),
        reached: Reached::by(&simulation),
        faulty,
        crashed,
        ..Outcome::default()
    };
    let removed = outcome.removals.iter();
    outcome.healthy_removed = removed
        .filter(|(node, _)| !outcome.faulty.contains(node))
        .count();
    for violation in simulation.violations() {
        let at = violation.at.saturating_since(Instant::ZERO);
        outcome
            .broken
            .push(format!("{} at {at:?}: {}", violation.rule, violation.what));
    }
    for promise in &scenario.promises {
        if let Err(what) = promise.check(&simulation, &outcome) {
            outcome.broken.push(format!("{promise}: {what}"));
        }
    }
    Ok((outcome, simulation))
}

fn first_fault(scenario: &Scenario) -> Duration {
    let times = scenario.faults.iter().map(|fault| fault.at);
    times.min().unwrap_or_default()
}

/// Whom something befalls.
#[derive(Default)]
struct Befallen {
    faulty: BTreeSet<NodeId>,
    crashed: BTreeMap<NodeId, Duration>,
}

/// Puts all faults on the schedule; says whom they befall.
fn plan(scenario: &Scenario, seed: u64, simulation: &mut Simulation) -> Befallen {
    let mut rng = Pcg64Mcg::seed_from_u64(seed ^ 0x7363_656e);
    let (mut befallen, mut before) = (Befallen::default(), Vec::new());
    let first = first_fault(scenario);
    for planned in &scenario.faults {
        let mut who = choose(&planned.who, simulation, &before, &mut rng);
        for time in 0..planned.repeat.0 {
            if time > 0 && matches!(planned.who, Who::Any(_)) {
                who = choose(&planned.who, simulation, &before, &mut rng);
            }
            let at = Instant::ZERO + scenario.settle + planned.at + planned.repeat.1 * time;
            for fault in beginnings(planned, &who) {
                simulation.inflict_at(at, fault);
            }
            if let Some(lasts) = planned.lasts {
                for fault in endings(planned.trouble, &who) {
                    simulation.inflict_at(at + lasts, fault);
                }
            }
            if makes_faulty(planned.trouble) {
                befallen.faulty.extend(&who);
            }
            if planned.trouble == Trouble::Crash && planned.lasts.is_none() {
                let after = planned.at + planned.repeat.1 * time - first;
                let crashed = who.iter().map(|node| (*node, after));
                befallen.crashed.extend(crashed);
            }
        }
        if planned.who != Who::Nobody {
            before = who;
        }
    }
    befallen
}

fn choose(
    who: &Who,
    simulation: &Simulation,
    before: &[NodeId],
    rng: &mut Pcg64Mcg,
) -> Vec<NodeId> {
    let mut all: Vec<NodeId> = simulation.node_ids().collect();
    let count = match who {
        Who::Nobody => 0,
        Who::All => all.len(),
        Who::Some(count) => usize::from(*count),
        Who::Share(share) | Who::Any(share) => (all.len() * usize::from(*share) / 1000).max(1),
        Who::Range(first, last) => return (*first..=*last).map(NodeId).collect(),
        Who::Zone(zone) => {
            all.retain(|node| simulation.zone_of(*node) == *zone);
            return all;
        }
        Who::Same => return before.to_vec(),
    };
    let mut chosen: Vec<NodeId> = Vec::with_capacity(count);
    while chosen.len() < count && !all.is_empty() {
        let index = rng.random_range(0..all.len());
        chosen.push(all.swap_remove(index));
    }
    chosen.sort();
    chosen
}

/// Whether whoever it befalls may be found failed.
fn makes_faulty(trouble: Trouble) -> bool {
    !matches!(
        trouble,
        Trouble::Return
            | Trouble::ClockRate(_)
            | Trouble::Slow(_)
            | Trouble::FalseReports(_)
            | Trouble::OperatorDown
    )
}

fn beginnings(planned: &Planned, who: &[NodeId]) -> Vec<Fault> {
    let each = |fault: &dyn Fn(NodeId) -> Fault| who.iter().map(|node| fault(*node)).collect();
    match planned.trouble {
        Trouble::Crash => each(&Fault::Crash),
        Trouble::Return => each(&Fault::Return),
        Trouble::Replace => each(&Fault::Replace),
        Trouble::Pause => each(&Fault::Pause),
        Trouble::Leave => each(&Fault::Leave),
        Trouble::Deaf => each(&|node| Fault::LineLoss(node, 1000, 0)),
        Trouble::Mute => each(&|node| Fault::LineLoss(node, 0, 1000)),
        Trouble::LoseIn(share) => each(&|node| Fault::LineLoss(node, share, 0)),
        Trouble::LoseOut(share) => each(&|node| Fault::LineLoss(node, 0, share)),
        Trouble::LoseBoth(share) => each(&|node| Fault::LineLoss(node, share, share)),
        Trouble::CutOff => vec![Fault::Partition(who.iter().copied().collect())],
        Trouble::Slow(percent) => each(&|node| Fault::SlowProcessor(node, percent)),
        Trouble::ClockRate(gains) => each(&|node| Fault::ClockRate(node, gains)),
        Trouble::ClockStep(by) => each(&|node| Fault::ClockStep(node, by)),
        Trouble::Turn(hostility) => each(&|node| Fault::Turn(node, hostility)),
        Trouble::FalseReports(share) => vec![Fault::FalseReports(share)],
        Trouble::OperatorDown => vec![Fault::OperatorDown],
    }
}

fn endings(trouble: Trouble, who: &[NodeId]) -> Vec<Fault> {
    let each = |fault: &dyn Fn(NodeId) -> Fault| who.iter().map(|node| fault(*node)).collect();
    match trouble {
        Trouble::Crash => each(&Fault::Return),
        Trouble::Pause => each(&Fault::Resume),
        Trouble::Deaf
        | Trouble::Mute
        | Trouble::LoseIn(_)
        | Trouble::LoseOut(_)
        | Trouble::LoseBoth(_) => each(&|node| Fault::LineLoss(node, 0, 0)),
        Trouble::CutOff => vec![Fault::HealLinks],
        Trouble::Slow(_) => each(&|node| Fault::SlowProcessor(node, 100)),
        Trouble::ClockRate(_) => each(&|node| Fault::ClockRate(node, 0)),
        Trouble::OperatorDown => vec![Fault::OperatorUp],
        // Not with `for`: see [`Trouble::ends`].
        Trouble::Return
        | Trouble::Replace
        | Trouble::Leave
        | Trouble::ClockStep(_)
        | Trouble::Turn(_)
        | Trouble::FalseReports(_) => Vec::new(),
    }
}

fn removals(simulation: &Simulation, begin: Instant) -> Vec<(NodeId, Duration)> {
    let changes = simulation.map_changes().iter();
    changes
        .flat_map(|change| {
            let after = change.at.saturating_since(begin);
            change.removed.iter().map(move |node| (*node, after))
        })
        .collect()
}

/// When each member to which nothing happened knew exactly whom something happened to: by its own verdict,
/// or by a map.
fn agreement(simulation: &Simulation, begin: Instant, faulty: &BTreeSet<NodeId>) -> Vec<Duration> {
    let without = epoch_without(simulation, faulty);
    let mut agreed: BTreeSet<NodeId> = BTreeSet::new();
    let mut after = Vec::new();
    for record in simulation
        .events()
        .iter()
        .filter(|record| record.at >= begin)
    {
        let node = record.node;
        if node == OPERATOR || faulty.contains(&node) || agreed.contains(&node) {
            continue;
        }
        let agrees = match &record.event {
            Event::Verdict { failed, .. } => {
                failed.len() == faulty.len()
                    && failed.iter().all(|id| {
                        simulation
                            .node_of(id.uid)
                            .is_some_and(|node| faulty.contains(&node))
                    })
            }
            Event::MapApplied { epoch } => without.is_some_and(|without| *epoch >= without),
            _ => false,
        };
        if agrees {
            agreed.insert(node);
            after.push(record.at.saturating_since(begin));
        }
    }
    after
}

/// The first epoch in which none of the faulty takes part.
fn epoch_without(simulation: &Simulation, faulty: &BTreeSet<NodeId>) -> Option<Epoch> {
    let mut left = faulty.clone();
    for change in simulation.map_changes() {
        left.retain(|node| !change.removed.contains(node));
        if left.is_empty() {
            return Some(change.epoch);
        }
    }
    None
}

/// When the last node became a member, if all are.
fn everybody_member_at(simulation: &Simulation) -> Option<Instant> {
    let mut first: BTreeMap<NodeId, Instant> = BTreeMap::new();
    for record in simulation.events() {
        if let Event::MapApplied { .. } = record.event
            && record.node != OPERATOR
        {
            first.entry(record.node).or_insert(record.at);
        }
    }
    let all = simulation.node_ids().all(|node| {
        simulation.mesh(node).is_some_and(|mesh| !mesh.is_deposed()) && first.contains_key(&node)
    });
    all.then(|| first.values().max().copied())?
}
