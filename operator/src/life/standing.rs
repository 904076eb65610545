//! What is to become of each listed member: a pure function of what was heard of it and of its pod.
//!
//! ```text
//!   asks to join again, or nothing is wrong ─────────────────────────▶ Stays
//!   said Leave ──────────────────────────────────────────────────────▶ Goes
//!   dead, or pod away (gone, or being deleted and silent)
//!     ├─ another pod on its node is a member or asks to join ────────▶ Succeeded   (its heir)
//!     ├─ pod is there ───────────────────────────────────────────────▶ Dead
//!     └─ pod away ┬─ nobody wants another on its node ───────────────▶ Goes
//!                 ├─ not for REPLACEMENT_WAIT yet ───────────────────▶ Awaited
//!                 └─ longer ── a pod lives on its node ──────────────▶ Overdue
//!                            └ none does ────────────────────────────▶ Missing
//! ```
//!
//! "Nobody wants another": the DaemonSet is known, wants no more members than nodes have a living
//! pod, and none lives on that node. So a scale-down to whatever number is no failure, while a list
//! that shows too little is: the DaemonSet's word and the list then disagree.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use slotmesh_mesh::identity::Uid;
use slotmesh_mesh::map::{Map, Member};
use slotmesh_mesh::time::Instant;

use super::Life;

/// A pod that is gone without a word is not counted as failed for that long: the DaemonSet makes
/// another one, which takes over on the same node.
pub const REPLACEMENT_WAIT: Duration = Duration::from_secs(60);

/// What is to become of a listed member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Stays,
    Goes,
    Succeeded,
    Dead,
    Awaited { until: Instant },
    Overdue,
    Missing,
}

/// What is to become of all of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing {
    pub(super) members: BTreeMap<Uid, (String, Fate)>,
}

impl Standing {
    pub(super) fn fate(&self, uid: Uid) -> Fate {
        self.members
            .get(&uid)
            .map_or(Fate::Stays, |(_, fate)| *fate)
    }

    /// UIDs and names of those with such a fate.
    pub(super) fn having(&self, matches: fn(Fate) -> bool) -> Vec<(Uid, &str)> {
        let members = self.members.iter();
        members
            .filter(|(_, (_, fate))| matches(*fate))
            .map(|(uid, (name, _))| (*uid, name.as_str()))
            .collect()
    }

    /// Whether so many are more than the share, and more than one.
    pub(super) fn exceeds(&self, count: usize, percent: u8) -> bool {
        count > 1 && count * 100 > self.members.len() * usize::from(percent)
    }

    /// Whether the slots of those who are awaited stay in their names meanwhile.
    pub(super) fn waits_for_replacements(&self, percent: u8) -> bool {
        let lacking = self.having(|fate| fate.is_failure() || fate.is_awaited());
        self.exceeds(lacking.len(), percent)
    }
}

impl Fate {
    /// It counts as failed.
    pub(super) fn is_failure(self) -> bool {
        matches!(self, Self::Dead | Self::Overdue | Self::Missing)
    }

    pub(super) fn is_awaited(self) -> bool {
        matches!(self, Self::Awaited { .. })
    }

    /// It is removed, whatever happens to others.
    pub(super) fn is_departure(self) -> bool {
        matches!(self, Self::Goes | Self::Succeeded)
    }
}

impl Life {
    pub(super) fn standing(&self, map: &Map, now: Instant) -> Standing {
        let fit = self.fit_by_node(map);
        let living = self.living_by_node();
        let enough = self
            .pods
            .wanted
            .is_some_and(|wanted| living.len() >= wanted);
        let fate = |member: &Member| {
            let node = member.node.as_str();
            if self.candidates.contains_key(&member.uid) {
                return Fate::Stays;
            }
            if self.leaving.contains(&member.id()) {
                return Fate::Goes;
            }
            let away = self.gone.contains(&member.uid)
                || (self.is_away(member.uid) && (member.failed || self.is_dead(member)));
            if !away && !member.failed && !self.is_dead(member) {
                return Fate::Stays;
            }
            if fit
                .get(node)
                .is_some_and(|fit| fit.iter().any(|uid| *uid != member.uid))
            {
                return Fate::Succeeded;
            }
            if !away {
                return Fate::Dead;
            }
            if enough && !living.contains(node) {
                return Fate::Goes;
            }
            let since = self.away_since.get(&member.uid).copied().unwrap_or(now);
            let until = since + REPLACEMENT_WAIT;
            match (now < until, living.contains(node)) {
                (true, _) => Fate::Awaited { until },
                (false, true) => Fate::Overdue,
                (false, false) => Fate::Missing,
            }
        };
        let members = map.members.iter();
        Standing {
            members: members
                .map(|member| (member.uid, (member.name.clone(), fate(member))))
                .collect(),
        }
    }

    /// Those who could take over on each node: members of whom nothing bad was heard, and agents that
    /// ask to join.
    fn fit_by_node<'a>(&'a self, map: &'a Map) -> BTreeMap<&'a str, Vec<Uid>> {
        let mut fit: BTreeMap<&str, Vec<Uid>> = BTreeMap::new();
        let well = |member: &&Member| !self.is_in_question(member);
        let listed = map.members.iter().filter(well);
        let listed = listed.map(|member| (member.node.as_str(), member.uid));
        let asking = self.candidates.values();
        let asking = asking.map(|candidate| (candidate.node.as_str(), candidate.uid));
        for (node, uid) in listed.chain(asking).filter(|(node, _)| !node.is_empty()) {
            fit.entry(node).or_default().push(uid);
        }
        fit
    }

    fn living_by_node(&self) -> BTreeSet<&str> {
        let pods = self.pods.by_uid.values();
        pods.filter(|pod| pod.lives && !pod.node.is_empty())
            .map(|pod| pod.node.as_str())
            .collect()
    }

    /// Members found dead that no map lists as failed yet, with the slots they would leave.
    pub(super) fn newly_dead<'a>(&self, map: &'a Map, standing: &Standing) -> Vec<&'a Member> {
        let dead = |member: &&Member| !member.failed && standing.fate(member.uid) == Fate::Dead;
        map.members.iter().filter(dead).collect()
    }
}

#[cfg(test)]
mod tests;
