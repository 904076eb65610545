//! The edge model: how often loss alone removes a healthy member. Row P2 compares it with the simulator.
//!
//! ```text
//!            6 of 10 lost, or 3 running and no answer to 3 probes
//!   ┌───────┐ ─────────────────────────────────────────────────▶ ┌────────┐
//!   │ armed │                                                    │ failed │
//!   └───────┘ ◀───────────────────────────────────────────────── └────────┘
//!            10 beats running with at most one lost
//! ```
//!
//! Time goes by in beats; each beat is lost with the same chance, whatever was lost before (RFC 3357 calls
//! that a Bernoulli loss pattern). Two questions are asked of the same chain: its balance, solved by iteration,
//! says how often 7 of 10 independent edges fail at once, for losses at which nobody could wait for it; and
//! played out on the real graph with the real verdict it counts removals, for losses at which they are many.

use std::collections::BTreeMap;

use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use slotmesh_mesh::evidence::Edge as Link;
use slotmesh_mesh::graph::Graph;
use slotmesh_mesh::identity::{MemberId, Uid};
use slotmesh_mesh::limits;
use slotmesh_mesh::map::Map;
use slotmesh_mesh::verdict::{Reports, verdict};

const WINDOW: usize = 1 << limits::LOSS_WINDOW_BEATS;
/// Failed states: beats heard towards clear, and whether one was lost since.
const CLEARING: usize = limits::CLEAR_BEATS as usize * 2;
/// Rounds until the balance no longer moves: a failed edge at 40 % loss lasts some hundred beats.
const ROUNDS: usize = 20_000;

/// An edge, seen once a beat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edge {
    /// A bit is a beat that was lost, the lowest the newest.
    Armed(usize),
    Failed {
        heard: u32,
        lost: bool,
    },
}

impl Edge {
    const FRESH: Self = Self::Armed(0);
    const FAILED: Self = Self::Failed {
        heard: 0,
        lost: false,
    };

    /// What the next beat makes of it; a train of probes that decides has that outcome.
    fn next(self, is_lost: bool, probes_lost: bool) -> Self {
        match self {
            Self::Armed(window) => {
                let window = (window << 1 | usize::from(is_lost)) & (WINDOW - 1);
                let is_lossy = window.count_ones() >= limits::LOSS_BEATS;
                if is_lost && (is_lossy || probes_lost && is_silent(window)) {
                    return Self::FAILED;
                }
                Self::Armed(window)
            }
            Self::Failed { heard, lost } if is_lost => match (heard, lost) {
                (0, _) | (_, true) => Self::FAILED,
                _ => Self::Failed { heard, lost: true },
            },
            Self::Failed { heard, lost } => {
                if heard + 1 + u32::from(lost) >= limits::CLEAR_BEATS {
                    return Self::FRESH;
                }
                let heard = heard + 1;
                Self::Failed { heard, lost }
            }
        }
    }

    fn is_failed(self) -> bool {
        matches!(self, Self::Failed { .. })
    }

    fn index(self) -> usize {
        match self {
            Self::Armed(window) => window,
            Self::Failed { heard, lost } => WINDOW + heard as usize * 2 + usize::from(lost),
        }
    }

    fn all() -> Vec<Self> {
        let armed = (0..WINDOW).map(Self::Armed);
        let failed = (0..limits::CLEAR_BEATS)
            .flat_map(|heard| [false, true].map(|lost| Self::Failed { heard, lost }));
        armed.chain(failed).collect()
    }
}

/// The third beat running is lost: probes are sent before the fourth is due, and only then.
fn is_silent(window: usize) -> bool {
    window.trailing_ones() == limits::SILENCE_BEATS_MIN
}

/// The chance that none of a train of probes is answered.
fn chance_of_no_answer(loss: f64) -> f64 {
    let unanswered = 1.0 - (1.0 - loss) * (1.0 - loss);
    unanswered.powi(i32::from(limits::PROBES))
}

/// An edge in balance.
#[derive(Clone, Copy, Debug)]
struct Balance {
    /// Share of the time in which it is failed.
    failed: f64,
    /// Chance that it fails at the next beat, if it is armed.
    fails: f64,
}

fn balance(loss: f64) -> Balance {
    let (edges, silent) = (Edge::all(), chance_of_no_answer(loss));
    let mut weights = vec![0.0; edges.len()];
    if let Some(first) = weights.first_mut() {
        *first = 1.0;
    }
    let (mut failed, mut fails) = (0.0, 0.0);
    for _ in 0..ROUNDS {
        let mut next = vec![0.0; WINDOW + CLEARING];
        (failed, fails) = (0.0, 0.0);
        for (edge, weight) in edges.iter().zip(&weights) {
            let outcomes = [
                (edge.next(false, false), 1.0 - loss),
                (edge.next(true, false), loss * (1.0 - silent)),
                (edge.next(true, true), loss * silent),
            ];
            for (to, chance) in outcomes {
                let flow = weight * chance;
                if let Some(place) = next.get_mut(to.index()) {
                    *place += flow;
                }
                if to.is_failed() && !edge.is_failed() {
                    fails += flow;
                }
            }
            failed += if edge.is_failed() { *weight } else { 0.0 };
        }
        weights = next;
    }
    Balance {
        failed,
        fails: fails / (1.0 - failed),
    }
}

/// Times a beat that 7 of a member's 10 edges are failed at once: 6 are, and one of the other four fails. More often than
/// it is removed, because observers that are reported themselves do not count.
pub(super) fn removals_per_beat_at_most(loss: f64) -> f64 {
    let Balance { failed, fails } = balance(loss);
    // C(10, 6) = 210.
    210.0 * failed.powi(6) * (1.0 - failed).powi(4) * 4.0 * fails
}

/// Plays so many beats of a whole cell; how many members the verdict removes. Each is a member again at once, with
/// edges that have heard everything.
pub(super) fn removals(map: &Map, loss: f64, beats: u64, seed: u64) -> usize {
    let graph = Graph::of(map);
    let ids: BTreeMap<Uid, MemberId> = map.members.iter().map(|m| (m.uid, m.id())).collect();
    let mut edges: Vec<(Link, Edge)> = Vec::new();
    for subject in graph.members() {
        let links = graph.observers(subject).iter().filter_map(|observer| {
            let (observer, subject) = (ids.get(observer)?, ids.get(&subject)?);
            Some(((*observer, *subject), Edge::FRESH))
        });
        edges.extend(links);
    }
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    let (silent, mut removed) = (chance_of_no_answer(loss), 0);
    for _ in 0..beats {
        let mut changed = false;
        for (_, edge) in &mut edges {
            let next = edge.next(happens(&mut rng, loss), happens(&mut rng, silent));
            changed |= next.is_failed() != edge.is_failed();
            *edge = next;
        }
        if !changed {
            continue;
        }
        let failed = edges.iter().filter(|(_, edge)| edge.is_failed());
        let reports = Reports {
            edges: failed.map(|(link, _)| *link).collect(),
            ..Reports::default()
        };
        let failed = verdict(map, &graph, &reports).failed;
        removed += failed.len();
        for ((observer, subject), edge) in &mut edges {
            if failed.contains(observer) || failed.contains(subject) {
                *edge = Edge::FRESH;
            }
        }
    }
    removed
}

fn happens(rng: &mut impl Rng, chance: f64) -> bool {
    rng.random_bool(chance)
}

#[cfg(test)]
mod tests;
