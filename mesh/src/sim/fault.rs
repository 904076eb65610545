//! What can go wrong, and a schedule of it made from a seed.

use std::collections::BTreeSet;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::hostile::Hostility;
use super::{NodeId, Simulation};
use crate::limits;
use crate::time::Instant;

/// Something that goes wrong, or right again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The process ends without a word.
    Crash(NodeId),
    /// A new process starts there and asks to be admitted.
    Return(NodeId),
    /// The process stands still; what arrives waits for it.
    Pause(NodeId),
    /// It goes on.
    Resume(NodeId),
    /// The process tells the others, and ends when they let it go.
    Leave(NodeId),
    /// Nothing passes from the first to the second any more; the way back stays open.
    CutOneWay(NodeId, NodeId),
    /// Nothing passes between the two.
    Cut(NodeId, NodeId),
    /// Nothing passes between these and all others; the operator is among the others, if it is not named.
    Partition(BTreeSet<NodeId>),
    /// Every link works again.
    HealLinks,
    /// So many of a thousand packets that arrive at a node are lost, and of those that leave it.
    LineLoss(NodeId, u32, u32),
    /// A node's processor takes that many percent of the usual time.
    SlowProcessor(NodeId, u32),
    /// A node's clock gains so many microseconds a second; it loses them, if negative.
    ClockRate(NodeId, i32),
    /// A node's clock jumps ahead.
    ClockStep(NodeId, Duration),
    /// The pod is deleted, and another one starts on the node at another address.
    Replace(NodeId),
    /// The member means harm from now on.
    Turn(NodeId, Hostility),
    /// So many of a thousand edges are reported although all is well with their subjects: no datagram passes on them.
    FalseReports(u32),
    /// The operator ends without a word; what it recorded stays.
    OperatorDown,
    /// A new one takes over.
    OperatorUp,
}

impl Simulation {
    /// Lets something go wrong now.
    pub fn inflict(&mut self, fault: &Fault) {
        match fault {
            Fault::Crash(node)
            | Fault::Pause(node)
            | Fault::Leave(node)
            | Fault::LineLoss(node, ..)
            | Fault::ClockStep(node, _)
            | Fault::Replace(node)
            | Fault::Turn(node, _) => self.disturb(*node),
            _ => {}
        }
        self.invariants.views.disturb();
        match fault {
            Fault::Crash(node) => self.crash(*node),
            Fault::Return(node) => self.start(*node),
            Fault::Pause(node) => self.pause(*node),
            Fault::Resume(node) => self.resume(*node),
            Fault::Leave(node) => self.leave(*node),
            Fault::CutOneWay(from, to) => self.network.cut(*from, *to),
            Fault::Cut(a, b) => {
                self.network.cut(*a, *b);
                self.network.cut(*b, *a);
            }
            Fault::Partition(these) => self.network.cut_off(these),
            Fault::LineLoss(node, arriving, leaving) => {
                self.network.set_line_loss(*node, *arriving, *leaving);
            }
            Fault::SlowProcessor(node, percent) => {
                if let Some(place) = self.node_mut(*node) {
                    place.processor.set_slowness(*percent);
                }
            }
            Fault::ClockRate(node, gains) => {
                let now = self.now;
                if let Some(place) = self.node_mut(*node) {
                    place.clock.set_rate(now, *gains);
                }
                self.reset_timer(*node);
            }
            Fault::ClockStep(node, by) => {
                if let Some(place) = self.node_mut(*node) {
                    place.clock.step(*by);
                }
                self.reset_timer(*node);
            }
            Fault::Replace(node) => self.replace(*node),
            Fault::Turn(node, hostility) => self.turn(*node, *hostility),
            Fault::FalseReports(per_mille) => self.report_falsely(*per_mille),
            Fault::HealLinks => self.network.heal_all(),
            Fault::OperatorDown => self.stop_operator(),
            Fault::OperatorUp => self.start_operator(),
        }
        self.disturb_minorities();
    }

    /// Lets something go wrong later.
    pub fn inflict_at(&mut self, at: Instant, fault: Fault) {
        self.schedule.push(at, super::Happening::Fault(fault));
    }

    /// What its clock shows changed, so its timer is due at another moment.
    fn reset_timer(&mut self, node: NodeId) {
        if let Some(place) = self.node_mut(node) {
            place.wake = None;
        }
        self.set_timer(node);
    }

    /// From now on it is no wonder if this process is found failed.
    fn disturb(&mut self, node: NodeId) {
        if let Some(id) = self.member_id(node) {
            self.invariants.healthy.disturb(id);
        }
    }

    /// A member that reaches no more than half of the cell, there and back, itself counted, is no
    /// longer one that nothing happened to.
    fn disturb_minorities(&mut self) {
        let cell = self.operator.record.map().active().count();
        let lives = |node: &NodeId| self.accepts(*node);
        let living: Vec<NodeId> = self.node_ids().filter(lives).collect();
        if self.network.has_no_cuts() && living.len() * 2 > cell {
            return;
        }
        let reached = |from: NodeId| {
            let open =
                |to: NodeId| !self.network.is_cut(from, to) && !self.network.is_cut(to, from);
            living.iter().filter(|to| open(**to)).count()
        };
        let minorities: Vec<NodeId> = living
            .iter()
            .copied()
            .filter(|node| reached(*node) * 2 <= cell)
            .collect();
        minorities.into_iter().for_each(|node| self.disturb(node));
    }
}

/// Time in which faults begin and end; afterwards all is well again.
pub const RANDOM_FAULTS_TIME: Duration = Duration::from_secs(30);
/// Faults of one schedule.
const RANDOM_FAULTS_MAX: usize = 8;
/// The first moment of a fault: the cell has settled.
const RANDOM_FAULTS_BEGIN: Duration = Duration::from_secs(3);

/// Faults that begin and end within [`RANDOM_FAULTS_TIME`], in the order of time. At its end every
/// process that did not leave runs, every link works and the operator is up.
#[must_use]
pub fn random_faults(seed: u64, members: u16) -> Vec<(Instant, Fault)> {
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    let mut faults = Vec::new();
    let mut gone = BTreeSet::new();
    let window = micros(RANDOM_FAULTS_TIME - RANDOM_FAULTS_BEGIN);
    for _ in 0..rng.random_range(1..=RANDOM_FAULTS_MAX) {
        let begin = micros(RANDOM_FAULTS_BEGIN) + rng.random_range(0..window);
        // Short troubles are as likely as long ones.
        let exponent = rng.random_range(4..=24);
        let end = (begin + rng.random_range(0..1_u64 << exponent)).min(micros(RANDOM_FAULTS_TIME));
        let mut push = |at, fault| faults.push((Instant::from_micros(at), fault));
        let node = NodeId(rng.random_range(1..=members));
        let other = NodeId(rng.random_range(1..=members));
        match rng.random_range(0..14) {
            0..=2 => {
                push(begin, Fault::Crash(node));
                push(end, Fault::Return(node));
            }
            3..=4 => {
                push(begin, Fault::Pause(node));
                push(end, Fault::Resume(node));
            }
            5 if gone.is_empty() && members > 3 => {
                gone.insert(node);
                push(begin, Fault::Leave(node));
            }
            5 | 6 => {
                push(begin, Fault::CutOneWay(node, other));
                push(end, Fault::HealLinks);
            }
            7 => {
                push(begin, Fault::Cut(node, other));
                push(end, Fault::HealLinks);
            }
            8 => {
                let some = 0..rng.random_range(1..=cut_off_max(members));
                // 0 is the operator: it may be on either side.
                let some: BTreeSet<NodeId> = some
                    .map(|_| NodeId(rng.random_range(0..=members)))
                    .collect();
                push(begin, Fault::Partition(some));
                push(end, Fault::HealLinks);
            }
            9 => {
                let lost = rng.random_range(1..=1000);
                let (arriving, leaving) = match rng.random_range(0..3) {
                    0 => (lost, 0),
                    1 => (0, lost),
                    _ => (lost, lost),
                };
                push(begin, Fault::LineLoss(node, arriving, leaving));
                push(end, Fault::LineLoss(node, 0, 0));
            }
            10 => push(begin, Fault::ClockStep(node, clock_step(&mut rng))),
            11 => {
                push(
                    begin,
                    Fault::SlowProcessor(node, rng.random_range(110..=500)),
                );
                push(end, Fault::SlowProcessor(node, 100));
            }
            12 => {
                push(begin, Fault::ClockRate(node, rng.random_range(-500..=500)));
                push(end, Fault::ClockRate(node, 0));
            }
            _ => {
                push(begin, Fault::OperatorDown);
                push(end, Fault::OperatorUp);
            }
        }
    }
    let end = Instant::ZERO + RANDOM_FAULTS_TIME;
    for node in (1..=members).map(NodeId) {
        faults.push((end, Fault::Resume(node)));
        if !gone.contains(&node) {
            faults.push((end, Fault::Return(node)));
        }
    }
    faults.push((end, Fault::HealLinks));
    faults.push((end, Fault::OperatorUp));
    faults.sort_by_key(|(at, _)| *at);
    faults
}

/// From a millisecond to a minute, short ones as likely as long ones.
fn clock_step(rng: &mut Pcg64Mcg) -> Duration {
    let exponent = rng.random_range(10..=26);
    Duration::from_micros(rng.random_range(0..1_u64 << exponent))
}

/// Half of a cell in which everybody observes everybody, and of a larger one the largest minority: in 300 seeds, 90 of them
/// with 12 to 30 members, no such cut broke a rule.
fn cut_off_max(members: u16) -> u16 {
    if usize::from(members) <= limits::RINGS + 1 {
        members.div_ceil(2)
    } else {
        (members - 1) / 2
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
