//! The next map: who is removed, admitted or marked, who inherits, and who holds which slots then.

use std::collections::{BTreeMap, BTreeSet};

use slotmesh_api::Automation;
use slotmesh_mesh::identity::{Epoch, Uid};
use slotmesh_mesh::limits;
use slotmesh_mesh::map::{Map, Member, Mode, Owner, Protocol};
use slotmesh_mesh::slot::SlotSet;
use slotmesh_mesh::time::Instant;

use crate::plan::checker::check;
use crate::plan::{Holding, Reach, Snapshot, plan};
use crate::seam::PlanPreview;

use super::heirs::{Estate, Inherited};
use super::standing::{Fate, Standing};
use super::{Life, LifeError, Proposal};

/// The spec's field that decides about what a [`Life`] previews.
const PREVIEW_FIELD: &str = "balancing.mode";

/// Who is no longer among the members, by what is told of them.
#[derive(Default)]
struct Removed {
    failed: Vec<String>,
    presumed: Vec<String>,
    overdue: Vec<String>,
    left: Vec<String>,
    dropped: Vec<String>,
    estates: Vec<Estate>,
    verdict_at: Option<Instant>,
}

impl Removed {
    /// Whom the mesh found failed then goes, or is marked.
    fn carry(&mut self, verdict_at: Option<Instant>) {
        self.verdict_at = self.verdict_at.into_iter().chain(verdict_at).min();
    }
}

impl Life {
    pub(super) fn first_map(&self) -> Result<Option<Proposal>, LifeError> {
        let map = Map {
            cluster: self.settings.cluster,
            cell: self.settings.cell.clone(),
            era: 0,
            epoch: 0,
            slots: SlotSet::full(),
            protocol: Protocol {
                mode: Mode::Affinity,
                ..Protocol::default()
            },
            members: Vec::new(),
            delegation: Vec::new(),
            directory: Vec::new(),
        };
        self.build(&map, &Standing::default())
    }

    /// The map that follows; None when it would say nothing new.
    pub(super) fn next_map(&self, standing: &Standing) -> Result<Option<Proposal>, LifeError> {
        match &self.map {
            Some(map) => self.build(map, standing),
            None => Ok(None),
        }
    }

    fn build(&self, before: &Map, standing: &Standing) -> Result<Option<Proposal>, LifeError> {
        let is_frozen = !self.frozen().is_empty();
        let percent = self.policy.max_unhealthy_percent;
        let waits = is_frozen || standing.waits_for_replacements(percent);
        let mut map = before.clone();
        map.epoch = (before.epoch + 1).max(self.settings.first_epoch);
        map.protocol.heartbeat_interval_ms = self.settings.heartbeat_interval_ms;
        if let Some(directory) = &self.directory {
            map.directory.clone_from(directory);
        }

        let mut removed = self.remove(&mut map, standing, is_frozen, waits);
        let (joined, recovered) = self.admit(&mut map);
        map.members.sort_by(|a, b| a.name.cmp(&b.name));
        self.take_capacities(&mut map);
        let mut inherited = self.hand_over(&mut map, std::mem::take(&mut removed.estates));

        let served = slots_of(before.members.iter());
        let mut planned = Planned::default();
        if !is_frozen {
            let mut bystanders = self.heirs(&map);
            let awaited = standing.having(Fate::is_awaited);
            bystanders.extend(awaited.into_iter().map(|(uid, _)| uid));
            planned = carry_out(&mut map, before.epoch, &bystanders, self.reach())?;
            planned.failed_over = planned.ownerless.intersection(&served).len();
        }
        let mut same = before.clone();
        same.epoch = map.epoch;
        if map == same {
            return Ok(None);
        }
        map.validate()?;
        let kept = still_inherited(&map, &mut inherited);
        Ok(Some(Proposal {
            joined,
            recovered,
            failed: removed.failed,
            presumed: removed.presumed,
            overdue: removed.overdue,
            verdict_at: removed.verdict_at,
            left: removed.left,
            dropped: removed.dropped,
            drained: drained(before, &map),
            failed_over: planned.failed_over,
            moves: planned.moves,
            minimum_moves: planned.minimum_moves,
            inherited: kept,
            inherited_from: inherited.from,
            changed_node: changed_node(before, &map, &served),
            map,
        }))
    }

    fn reach(&self) -> Reach {
        match self.policy.balancing {
            Automation::Automatic => Reach::Everything,
            Automation::Preview | Automation::Disabled => Reach::Ownerless,
        }
    }

    /// Takes out who goes, and marks who failed while nothing may be re-homed.
    fn remove(&self, map: &mut Map, standing: &Standing, is_frozen: bool, waits: bool) -> Removed {
        let mut removed = Removed::default();
        map.members.retain_mut(|member| {
            let fate = standing.fate(member.uid);
            let is_dead = self.is_dead(member);
            let found = self.failed.get(&member.id()).filter(|_| !member.failed);
            let goes = fate.is_departure()
                || (!is_frozen && fate.is_failure())
                || (!waits && fate.is_awaited());
            if !goes {
                let fails = is_frozen && !member.failed && (is_dead || fate == Fate::Overdue);
                if fails && fate != Fate::Stays {
                    member.failed = true;
                    removed.carry(found.copied());
                    let names = self.deaths(&mut removed, member);
                    names.push(member.name.clone());
                }
                return true;
            }
            removed.carry(found.copied());
            let names = if member.failed {
                &mut removed.dropped
            } else if is_dead && fate != Fate::Goes && !self.gone.contains(&member.uid) {
                self.deaths(&mut removed, member)
            } else {
                &mut removed.left
            };
            names.push(member.name.clone());
            removed.estates.push(Estate {
                name: member.name.clone(),
                node: member.node.clone(),
                slots: member.slots(),
            });
            false
        });
        removed
    }

    /// Where a member that failed is told, by how that is known.
    fn deaths<'a>(&self, removed: &'a mut Removed, member: &Member) -> &'a mut Vec<String> {
        if self.failed.contains_key(&member.id()) {
            &mut removed.failed
        } else if self.presumed.contains(&member.id()) {
            &mut removed.presumed
        } else {
            &mut removed.overdue
        }
    }

    /// Lists the candidates; one whose pod was listed takes over what its older self owned.
    fn admit(&self, map: &mut Map) -> (Vec<String>, Vec<String>) {
        let (mut joined, mut recovered) = (Vec::new(), Vec::new());
        for candidate in self.candidates.values() {
            let older = map
                .members
                .iter()
                .position(|member| member.uid == candidate.uid);
            let older = older.map(|index| map.members.remove(index));
            if older.is_none() && map.members.len() >= limits::MEMBERS_MAX {
                continue;
            }
            let had_failed = older.as_ref().is_some_and(|member| member.failed);
            let names = if had_failed || self.lost.contains(&candidate.uid) {
                &mut recovered
            } else {
                &mut joined
            };
            names.push(candidate.name.clone());
            let held = older.map(|member| member.slots()).unwrap_or_default();
            map.members.push(Member {
                name: candidate.name.clone(),
                uid: candidate.uid,
                incarnation: map.epoch,
                key: candidate.key,
                node: candidate.node.clone(),
                zone: candidate.zone.clone(),
                address: candidate.address,
                failed: false,
                owners: vec![Owner {
                    name: candidate.name.clone(),
                    uid: candidate.uid,
                    address: candidate.client_address,
                    capacity: candidate.capacity,
                    slots: held,
                }],
            });
        }
        (joined, recovered)
    }

    /// Agents are the owners: the node's capacity is theirs, also after they joined.
    fn take_capacities(&self, map: &mut Map) {
        for member in map.members.iter_mut().filter(|member| !member.failed) {
            let Some(pod) = self.pods.by_uid.get(&member.uid) else {
                continue;
            };
            for owner in member
                .owners
                .iter_mut()
                .filter(|owner| owner.uid == member.uid)
            {
                owner.capacity = pod.capacity;
            }
        }
    }

    /// Works out again what evening out would come to.
    pub(super) fn preview_again(&mut self) {
        let shown = self.policy.balancing == Automation::Preview;
        self.preview = self.map.as_ref().filter(|_| shown).and_then(|map| {
            let snapshot = snapshot_of(map, map.epoch, &self.heirs(map));
            let whole = plan(&snapshot, Reach::Everything);
            let drains = snapshot
                .owners
                .values()
                .any(|owner| owner.capacity == 0 && !owner.slots.is_empty());
            let passes = check(&snapshot, Reach::Everything, &whole).is_ok();
            (passes && !whole.moves.is_empty()).then(|| PlanPreview {
                parent_epoch: map.epoch,
                cause: if drains { "Drain" } else { "Rebalance" }.to_owned(),
                moves: u32::try_from(whole.runs()).unwrap_or(u32::MAX),
                slots: whole.moved_slots().into(),
                field: PREVIEW_FIELD,
            })
        });
    }
}

#[derive(Default)]
struct Planned {
    ownerless: SlotSet,
    failed_over: u16,
    moves: u16,
    minimum_moves: u16,
}

/// Plans for all but the bystanders, has the plan checked, and carries it out.
fn carry_out(
    map: &mut Map,
    parent_epoch: Epoch,
    bystanders: &BTreeSet<Uid>,
    reach: Reach,
) -> Result<Planned, LifeError> {
    let snapshot = snapshot_of(map, parent_epoch, bystanders);
    let plan = plan(&snapshot, reach);
    check(&snapshot, reach, &plan)?;
    for step in &plan.moves {
        for owner in map.members.iter_mut().flat_map(|member| &mut member.owners) {
            if Some(owner.uid) == step.from {
                owner.slots.remove(&step.slots);
            } else if owner.uid == step.to {
                owner.slots = owner.slots.union(&step.slots);
            }
        }
    }
    Ok(Planned {
        ownerless: snapshot.ownerless(),
        failed_over: 0,
        moves: plan.moved_slots(),
        minimum_moves: plan.minimum_moves,
    })
}

/// Who takes part in a plan; bystanders and the failed keep what they hold, and it is no matter of the
/// plan.
fn snapshot_of(map: &Map, parent_epoch: Epoch, bystanders: &BTreeSet<Uid>) -> Snapshot {
    let stands_by = |member: &&Member| member.failed || bystanders.contains(&member.uid);
    let holding = |owner: &Owner| Holding {
        capacity: owner.capacity,
        slots: owner.slots.clone(),
    };
    let taking_part = map.members.iter().filter(|member| !stands_by(member));
    let owners = taking_part.flat_map(|member| &member.owners);
    Snapshot {
        parent_epoch,
        slots: map
            .slots
            .difference(&slots_of(map.members.iter().filter(stands_by))),
        owners: owners.map(|owner| (owner.uid, holding(owner))).collect(),
    }
}

fn slots_of<'a>(members: impl Iterator<Item = &'a Member>) -> SlotSet {
    members.fold(SlotSet::empty(), |slots, member| {
        slots.union(&member.slots())
    })
}

/// Slots that the heirs hold of what they took over: the plan may have given some away at once.
fn still_inherited(map: &Map, inherited: &mut Inherited) -> u16 {
    let owners = map.owners();
    let held = owners.filter_map(|(_, owner)| {
        let taken = inherited.slots.get(&owner.uid)?;
        Some(taken.intersection(&owner.slots).len())
    });
    held.sum()
}

/// Owners without capacity that held slots and hold none now.
fn drained(before: &Map, after: &Map) -> Vec<String> {
    let held = before.owners().filter(|(_, owner)| !owner.slots.is_empty());
    let held: BTreeSet<Uid> = held.map(|(_, owner)| owner.uid).collect();
    let empty = after.owners().filter(|(_, owner)| {
        owner.capacity == 0 && owner.slots.is_empty() && held.contains(&owner.uid)
    });
    empty.map(|(_, owner)| owner.name.clone()).collect()
}

/// Slots that had an owner and have one on another node now.
fn changed_node(before: &Map, after: &Map, served: &SlotSet) -> u16 {
    let old = by_node(before);
    let none = SlotSet::empty();
    let arrived = by_node(after).into_iter().map(|(node, slots)| {
        let there_before = old.get(node).unwrap_or(&none);
        slots.intersection(served).difference(there_before).len()
    });
    arrived.sum()
}

fn by_node(map: &Map) -> BTreeMap<&str, SlotSet> {
    let mut nodes: BTreeMap<&str, SlotSet> = BTreeMap::new();
    for member in &map.members {
        let held = nodes.entry(&member.node).or_default();
        *held = held.union(&member.slots());
    }
    nodes
}
