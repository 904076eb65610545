//! Who owns what by the recorded maps, and how few slots could have moved between two of them. Counted
//! here anew, from the `GossipCell`s alone: the operator's own plan and events are not asked.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kube::Api;
use kube::api::ListParams;
use slotmesh_api::{GossipCell, names};

use crate::stage::{Agent, NAMESPACE, Stage};
use crate::{measure, wait};

const SLOTS: usize = 16384;
const DEADLINE: Duration = Duration::from_secs(120);

/// The map of a cluster as it is recorded, all of its cells together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The highest.
    pub epoch: i64,
    /// Names of the cells.
    pub cells: Vec<String>,
    /// Incarnation of each member, by the UID of its pod.
    pub members: BTreeMap<String, i64>,
    /// Epoch of the cell that each member is in.
    epochs: BTreeMap<String, i64>,
    capacities: BTreeMap<String, u64>,
    /// Node of each owner's agent, by the owner's UID.
    nodes: BTreeMap<String, String>,
    /// UID of each slot's owner.
    owners: Vec<Option<String>>,
}

/// Slots that moved between two records, and the fewest that could.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moves {
    /// Slots that changed their owner.
    pub moved: u64,
    /// The fewest that could.
    pub minimum: u64,
    /// Maps from the one to the other.
    pub epochs: i64,
}

/// Slots that changed their owner between two records, by where the new owner is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rehomed {
    /// Where the old one was.
    pub on_same_node: u64,
    /// Elsewhere.
    pub on_other_node: u64,
}

impl Moves {
    /// Slots that need not have moved.
    #[allow(clippy::cast_precision_loss)] // slots are few
    #[must_use]
    pub fn beyond(self) -> f64 {
        self.moved as f64 - self.minimum as f64
    }
}

impl Record {
    /// Reads it as it is now.
    ///
    /// # Errors
    /// When the API does not answer, or a slot is recorded with two owners.
    pub async fn read(stage: &Stage, cluster: &str) -> Result<Self> {
        let cells: Api<GossipCell> = Api::namespaced(stage.plane.client(), NAMESPACE);
        let of_cluster =
            ListParams::default().labels(&format!("{}={cluster}", names::LABEL_CLUSTER));
        Self::of(&cells.list(&of_cluster).await?.items)
    }

    /// Reads it; every slot has an owner in it.
    ///
    /// # Errors
    /// When one has none.
    pub async fn whole(stage: &Stage, cluster: &str) -> Result<Self> {
        let record = Self::read(stage, cluster).await?;
        ensure!(
            record.unserved() == 0,
            "{} slots have no recorded owner; next: kubectl describe gossip {cluster}",
            record.unserved()
        );
        Ok(record)
    }

    /// Waits until each of these agents is a member and has its cell's recorded map in force; the record.
    ///
    /// # Errors
    /// When the deadline passes, with what is missing.
    pub async fn in_force(stage: &Stage, cluster: &str, agents: &[Agent]) -> Result<Self> {
        let what = "every agent to have the recorded map";
        wait::until(what, DEADLINE, async || {
            let record = Self::whole(stage, cluster).await?;
            for agent in agents {
                let recorded = record.epochs.get(&agent.uid).copied();
                let recorded = recorded.with_context(|| {
                    format!(
                        "{} is not in the record of epoch {}",
                        agent.name, record.epoch
                    )
                })?;
                let epoch = agent.metric(measure::EPOCH).await?;
                #[allow(clippy::cast_precision_loss)] // epochs begin at a Unix time in seconds
                let lags = epoch < recorded as f64;
                ensure!(
                    !lags && agent.metric("slotmesh_agent_joined").await? > 0.0,
                    "{} has the map of epoch {epoch}, {recorded} is recorded",
                    agent.name
                );
            }
            Ok(Some(record))
        })
        .await
    }

    fn of(cells: &[GossipCell]) -> Result<Self> {
        let mut record = Self {
            owners: vec![None; SLOTS],
            ..Self::default()
        };
        for cell in cells {
            record.cells.extend(cell.metadata.name.clone());
            let cell = &cell.spec;
            record.epoch = record.epoch.max(cell.epoch);
            for member in &cell.members {
                let incarnation = member.incarnation;
                record.members.insert(member.uid.clone(), incarnation);
                record.epochs.insert(member.uid.clone(), cell.epoch);
                for owner in &member.owners {
                    let capacity = u64::try_from(owner.capacity)?;
                    record.capacities.insert(owner.uid.clone(), capacity);
                    record.nodes.insert(owner.uid.clone(), member.node.clone());
                    for slot in slots(&owner.slots)? {
                        let place = record.owners.get_mut(slot).context("no such slot")?;
                        let other = place.replace(owner.uid.clone());
                        ensure!(other.is_none(), "slot {slot} is recorded with two owners");
                    }
                }
            }
        }
        Ok(record)
    }

    /// Whether the pod of that UID is a member.
    #[must_use]
    pub fn lists(&self, uid: &str) -> bool {
        self.members.contains_key(uid)
    }

    /// UIDs of those that an older record lists and that were removed since: also such as have come back,
    /// for they are another incarnation then.
    #[must_use]
    pub fn removed_since<'a>(&self, before: &'a Self) -> Vec<&'a str> {
        let listed = before.members.iter();
        listed
            .filter(|(uid, incarnation)| self.members.get(*uid) != Some(incarnation))
            .map(|(uid, _)| uid.as_str())
            .collect()
    }

    /// Slots without an owner.
    #[must_use]
    pub fn unserved(&self) -> usize {
        self.owners.iter().filter(|owner| owner.is_none()).count()
    }

    /// What happened between an older record and this one.
    #[must_use]
    pub fn since(&self, before: &Self) -> Moves {
        let pairs = before.owners.iter().zip(&self.owners);
        Moves {
            moved: pairs.map(|(old, new)| u64::from(old != new)).sum(),
            minimum: self.fewest_moves_from(before),
            epochs: self.epoch - before.epoch,
        }
    }

    /// Slots that an owner (a pod's UID) holds.
    #[must_use]
    pub fn held_by(&self, owner: &str) -> usize {
        let held = self.owners.iter().flatten();
        held.filter(|uid| *uid == owner).count()
    }

    /// Where slots went that changed their owner since an older record.
    #[must_use]
    pub fn rehomed_since(&self, before: &Self) -> Rehomed {
        let mut rehomed = Rehomed::default();
        let pairs = before.owners.iter().zip(&self.owners);
        for (old, new) in pairs.filter(|(old, new)| old != new) {
            let from = old.as_ref().and_then(|old| before.nodes.get(old));
            let to = new.as_ref().and_then(|new| self.nodes.get(new));
            match from == to {
                true => rehomed.on_same_node += 1,
                false => rehomed.on_other_node += 1,
            }
        }
        rehomed
    }

    /// Slots that nobody held who is still there have to move, and so has whatever a remaining owner
    /// held above its quota.
    fn fewest_moves_from(&self, before: &Self) -> u64 {
        let mut held: BTreeMap<&str, u64> = BTreeMap::new();
        let mut ownerless = 0;
        for owner in &before.owners {
            match owner.as_deref() {
                Some(owner) if self.capacities.contains_key(owner) => {
                    *held.entry(owner).or_default() += 1;
                }
                _ => ownerless += 1,
            }
        }
        let quotas = self.quotas(&held);
        let surplus = |(owner, quota): (&&str, &u64)| {
            let held = held.get(owner).copied().unwrap_or_default();
            held.saturating_sub(*quota)
        };
        ownerless + quotas.iter().map(surplus).sum::<u64>()
    }

    /// Shares by capacity, rounded by largest remainder. Of equal remainders the seat goes where it
    /// saves a move: no other choice needs fewer moves.
    fn quotas(&self, held: &BTreeMap<&str, u64>) -> BTreeMap<&str, u64> {
        let total: u64 = self.capacities.values().sum();
        let mut quotas = BTreeMap::new();
        let mut claims = Vec::new();
        for (owner, capacity) in &self.capacities {
            let share = SLOTS as u64 * capacity;
            let floor = share.checked_div(total).unwrap_or_default();
            let above = held.get(owner.as_str()).is_some_and(|held| *held > floor);
            quotas.insert(owner.as_str(), floor);
            claims.push((
                share.checked_rem(total).unwrap_or_default(),
                above,
                owner.as_str(),
            ));
        }
        let given: u64 = quotas.values().sum();
        let seats = SLOTS as u64 - given;
        claims.sort_unstable_by(|a, b| b.cmp(a));
        for (_, _, owner) in claims
            .into_iter()
            .take(usize::try_from(seats).unwrap_or_default())
        {
            *quotas.entry(owner).or_default() += 1;
        }
        quotas
    }
}

/// Reads `0-5460,7000`.
fn slots(text: &str) -> Result<Vec<usize>> {
    let mut found = Vec::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| {
            text.parse::<usize>()
                .with_context(|| format!("slots `{part}`"))
        };
        found.extend(number(first)?..=number(last)?);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn record(owners: &[(&str, u64, &str)]) -> Record {
        let mut record = Record {
            owners: vec![None; SLOTS],
            ..Record::default()
        };
        for (uid, capacity, held) in owners {
            record.capacities.insert((*uid).to_owned(), *capacity);
            // `a2` is the second owner on the node `a`.
            let node = uid.trim_end_matches(char::is_numeric);
            record.nodes.insert((*uid).to_owned(), node.to_owned());
            for slot in slots(held).unwrap() {
                *record.owners.get_mut(slot).unwrap() = Some((*uid).to_owned());
            }
        }
        record
    }

    #[test]
    fn a_death_moves_what_the_dead_held() {
        let before = record(&[("a", 1, "0-8191"), ("b", 1, "8192-16383")]);
        let after = record(&[("a", 1, "0-16383")]);
        let moves = after.since(&before);
        assert_eq!((moves.moved, moves.minimum), (8192, 8192));
    }

    #[test]
    fn a_third_owner_takes_its_share_and_no_more() {
        let before = record(&[("a", 1, "0-8191"), ("b", 1, "8192-16383")]);
        // 5461 and a third each: one of the three has one more, and where it was before saves a move.
        let well = record(&[
            ("a", 1, "0-5461"),
            ("b", 1, "8192-13652"),
            ("c", 1, "5462-8191,13653-16383"),
        ]);
        assert_eq!(well.since(&before).minimum, 5461);
        assert_eq!(well.since(&before).moved, 5461);
        let badly = record(&[
            ("a", 1, "8192-13653"),
            ("b", 1, "0-5460"),
            ("c", 1, "5461-8191,13654-16383"),
        ]);
        assert_eq!(badly.since(&before).minimum, 5461);
        assert_eq!(badly.since(&before).moved, 16384);
    }

    #[test]
    fn an_heir_on_the_same_node_moves_nothing_between_nodes() {
        let before = record(&[("a", 1, "0-8191"), ("b", 1, "8192-16383")]);
        let after = record(&[("a2", 1, "0-8190"), ("b", 1, "8191-16383")]);
        let expected = Rehomed {
            on_same_node: 8191,
            on_other_node: 1,
        };
        assert_eq!(after.rehomed_since(&before), expected);
    }

    #[test]
    fn who_was_removed_and_came_back_was_removed() {
        let with = |members: &[(&str, i64)]| Record {
            members: members
                .iter()
                .map(|(uid, at)| ((*uid).to_owned(), *at))
                .collect(),
            ..Record::default()
        };
        let before = with(&[("a", 7), ("b", 7), ("c", 8)]);
        let after = with(&[("a", 7), ("c", 9), ("d", 9)]);
        assert_eq!(after.removed_since(&before), ["b", "c"]);
        assert!(before.removed_since(&before).is_empty());
        assert!(after.lists("d") && !after.lists("b"));
    }

    #[test]
    fn capacity_counts_and_none_drains() {
        let before = record(&[("a", 1, "0-8191"), ("b", 1, "8192-16383")]);
        let after = record(&[("a", 3, "0-12287"), ("b", 1, "12288-16383")]);
        assert_eq!(after.since(&before).minimum, 4096);
        let drained = record(&[("a", 1, "0-16383"), ("b", 0, "")]);
        assert_eq!(drained.since(&before).minimum, 8192);
    }

    #[test]
    fn redis_notation_is_read() {
        assert_eq!(slots("0-2,7").unwrap(), [0, 1, 2, 7]);
        assert!(slots("").unwrap().is_empty());
        assert!(slots("a-b").is_err());
    }
}
