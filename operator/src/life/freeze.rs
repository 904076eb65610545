//! When nothing is planned, why, and when planning goes on. Who failed is recorded meanwhile (`failed:
//! true`, the slots in their names); who returns keeps its slots; heirs on the same node take over;
//! new members are listed and hold nothing.
//!
//! ```text
//!                    more than the share failed
//!   ┌───────────────────────────────────────────────────▶ MassFailure ──┐
//!   │      nobody is failed any more, or the limit was raised, or       │
//!   ◀── the share has been within the limit for MASS_CALM ──────────────┘
//!   │
//!   │       more than the share have had no pod for REPLACEMENT_WAIT,
//!   planning   and nothing says that they are not wanted
//!   │ ├─────────────────────────────────────────────────▶ PartialView ──┐
//!   │ ◀── no longer so: shown again, replaced, not wanted, limit raised ┘
//!   │
//!   │              a third death in a chain (`chain.rs`)
//!   ├───────────────────────────────────────────▶ OwnersDyingInSequence ┐
//!   ◀── SEQUENCE_REST has passed, and who failed is back or its pod gone ┘
//! ```
//!
//! "The share" is `maxUnhealthyPercent` of the listed members, and more than one. Pods that the
//! DaemonSet is replacing do not count for `REPLACEMENT_WAIT` (`standing.rs`): all pods deleted at once
//! and made again never freeze anything, nor does a scale to zero. Causes may hold at the same time.

use std::collections::BTreeMap;
use std::time::Duration;

use slotmesh_mesh::identity::Uid;
use slotmesh_mesh::map::Map;
use slotmesh_mesh::time::Instant;

use crate::seam::FrozenCause;

use super::Policy;
use super::standing::{Fate, Standing};

/// After a mass failure the share must have been within the limit for that long.
pub const MASS_CALM: Duration = Duration::from_secs(30);
/// Slots whose owners died one after another rest for that long.
pub const SEQUENCE_REST: Duration = Duration::from_secs(60);
/// Names that a message lists.
const NAMES_MAX: usize = 5;

#[derive(Clone, Debug)]
struct Mass {
    /// The share has been within the limit since.
    calm_since: Option<Instant>,
}

#[derive(Clone, Debug)]
struct Sequence {
    since: Instant,
    victims: Vec<String>,
}

/// The causes that hold.
#[derive(Clone, Debug, Default)]
pub(super) struct Freezes {
    mass: Option<Mass>,
    sequence: Option<Sequence>,
    limit_raised: bool,
    told: BTreeMap<FrozenCause, String>,
    next_look: Option<Instant>,
}

impl Freezes {
    /// Each cause with its message, the gravest first.
    pub(super) fn told(&self) -> &BTreeMap<FrozenCause, String> {
        &self.told
    }

    /// When time alone may change something.
    pub(super) fn next_look(&self) -> Option<Instant> {
        self.next_look
    }

    /// A person raised the limit: they do not wait.
    pub(super) fn limit_was_raised(&mut self) {
        self.limit_raised = true;
    }

    /// A record that lists members as failed was made while nothing was planned; its cause is not in
    /// it. Two and more are a mass failure (over, if within the limit, but not calm for long); a
    /// single one is the last of a sequence.
    pub(super) fn resume(&mut self, now: Instant, map: &Map, policy: Policy) {
        let failed = map.members.iter().filter(|member| member.failed);
        let names: Vec<&str> = failed.map(|member| member.name.as_str()).collect();
        if self.mass.is_some() || self.sequence.is_some() {
            return;
        }
        match names.as_slice() {
            [] => return,
            [one] => {
                let victims = vec![(*one).to_owned()];
                let message = sequence_message(&victims);
                self.told
                    .insert(FrozenCause::OwnersDyingInSequence, message);
                self.sequence = Some(Sequence {
                    since: now,
                    victims,
                });
            }
            _ => {
                let (total, percent) = (map.members.len(), policy.max_unhealthy_percent);
                let message = mass_message(&names, total, percent, true);
                self.told.insert(FrozenCause::MassFailure, message);
                self.mass = Some(Mass { calm_since: None });
            }
        }
        self.next_look = Some(now);
    }

    /// Looks at everything again. `third` names the victims of a chain that has just become too long.
    pub(super) fn assess(
        &mut self,
        now: Instant,
        standing: &Standing,
        third: Option<Vec<(Uid, String)>>,
        policy: Policy,
    ) {
        let percent = policy.max_unhealthy_percent;
        let failures = standing.having(Fate::is_failure);
        let missing = standing.having(|fate| fate == Fate::Missing);
        let is_partial = standing.exceeds(missing.len(), percent);
        let counted = failures.len() - if is_partial { missing.len() } else { 0 };
        let is_mass = standing.exceeds(counted, percent);

        let raised = std::mem::take(&mut self.limit_raised);
        self.assess_mass(now, is_mass, raised || failures.is_empty());
        self.assess_sequence(now, standing, third.filter(|_| !is_mass && !is_partial));

        self.told.clear();
        let total = standing.members.len();
        if is_partial {
            let message = partial_message(&names(&missing), total);
            self.told.insert(FrozenCause::PartialView, message);
        }
        if self.mass.is_some() {
            let message = mass_message(&names(&failures), total, percent, is_mass);
            self.told.insert(FrozenCause::MassFailure, message);
        }
        if let Some(sequence) = &self.sequence {
            let message = sequence_message(&sequence.victims);
            self.told
                .insert(FrozenCause::OwnersDyingInSequence, message);
        }
        self.next_look = self.looks(standing).filter(|at| *at > now).min();
    }

    fn assess_mass(&mut self, now: Instant, is_mass: bool, at_once: bool) {
        if is_mass {
            self.mass = Some(Mass { calm_since: None });
        } else if let Some(mass) = &mut self.mass {
            let since = *mass.calm_since.get_or_insert(now);
            if at_once || now >= since + MASS_CALM {
                self.mass = None;
            }
        }
    }

    fn assess_sequence(
        &mut self,
        now: Instant,
        standing: &Standing,
        third: Option<Vec<(Uid, String)>>,
    ) {
        if let Some(sequence) = &self.sequence {
            let dead = standing.having(|fate| fate == Fate::Dead);
            if now >= sequence.since + SEQUENCE_REST && dead.is_empty() {
                self.sequence = None;
            }
        } else if let Some(victims) = third {
            let victims = victims.into_iter().map(|(_, name)| name).collect();
            self.sequence = Some(Sequence {
                since: now,
                victims,
            });
        }
    }

    fn looks<'a>(&'a self, standing: &'a Standing) -> impl Iterator<Item = Instant> + 'a {
        let awaited = standing
            .members
            .values()
            .filter_map(|(_, fate)| match fate {
                Fate::Awaited { until } => Some(*until),
                _ => None,
            });
        let calm = self.mass.iter().filter_map(|mass| mass.calm_since);
        let rest = self.sequence.iter().map(|sequence| sequence.since);
        awaited
            .chain(calm.map(|since| since + MASS_CALM))
            .chain(rest.map(|since| since + SEQUENCE_REST))
    }
}

fn names<'a>(members: &[(Uid, &'a str)]) -> Vec<&'a str> {
    members.iter().map(|(_, name)| *name).collect()
}

fn some(names: &[&str]) -> String {
    let shown = names.get(..NAMES_MAX.min(names.len())).unwrap_or_default();
    let more = names.len() - shown.len();
    if more > 0 {
        format!("{} and {more} more", shown.join(", "))
    } else {
        shown.join(", ")
    }
}

fn mass_message(names: &[&str], total: usize, percent: u8, exceeds: bool) -> String {
    let (count, list) = (names.len(), some(names));
    let first = names.first().copied().unwrap_or_default();
    if !exceeds {
        return format!(
            "{count} of {total} members are failed ({list}), no more than {percent} % again: planning goes on when that has held for {} s",
            MASS_CALM.as_secs()
        );
    }
    format!(
        "{count} of {total} members failed ({list}), more than {percent} %: an outage around the mesh is likelier than so many deaths, so no slot moves; planning goes on when they are back or their pods are replaced. Next: kubectl get pods -l slotmesh.dev/cluster -o wide; whoever is lost for good: kubectl delete pod {first}, or raise spec.balancing.maxUnhealthyPercent"
    )
}

fn partial_message(names: &[&str], total: usize) -> String {
    format!(
        "{} of {total} members ({}) have had no pod, nor one that replaces it, for {} s: a view of the API that shows too little is likelier, so no slot moves; planning goes on when the pods are shown again or replaced. Next: kubectl get daemonsets,pods -l slotmesh.dev/cluster; if they are gone for good, raise spec.balancing.maxUnhealthyPercent",
        names.len(),
        some(names),
        super::standing::REPLACEMENT_WAIT.as_secs()
    )
}

fn sequence_message(victims: &[String]) -> String {
    let names: Vec<&str> = victims.iter().map(String::as_str).collect();
    let last = names.last().copied().unwrap_or_default();
    format!(
        "{} died one after another, each within {} s after it took over the same slots: something in them may kill whoever owns them, so they stay in the name of {last}; planning goes on when {last} is a member again or its pod is gone, after {} s at the earliest. Next: kubectl logs {last} --previous, then kubectl delete pod {last}",
        some(&names),
        super::chain::CHAIN_WINDOW.as_secs(),
        SEQUENCE_REST.as_secs()
    )
}

#[cfg(test)]
mod tests;
