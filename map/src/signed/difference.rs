//! What differs between two maps of one cell, as short as it can be said.
//!
//! ```text
//!   signature │ SHA-256 of the base │ era, epoch │ slots? │ protocol? │ delegation?, directory?
//!   removed: places of members in the base, ascending
//!   marked:  places of members that failed and stay listed, or did and are well again, ascending
//!   moved:   (place of the member, place of its owner, slots gained, slots lost), ascending, each owner once
//!   changed: members in full: new ones, and those of which more than slots and mark changed
//! ```
//!
//! Most maps follow a death or a move, in which only slots change hands, or the death of many, whose slots stay: then no
//! UID, key or name travels (measured, one death of 250: 5.9 KB with members in full; row P4b of `mesh-sim bench` is today's figure).
//! What is left out is as in the base.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::bounded;
use crate::identity::{Epoch, Signature, Uid};
use crate::map::{Delegation, DirectoryEntry, Map, MapError, Member, Owner, Protocol};
use crate::slot::{SLOT_COUNT, SlotSet};

/// Owners that gain or lose slots from one map to another: a slot is lost by one and gained by one at
/// most. One takes 4 bytes on the wire and 56 in memory, before anybody's signature is checked.
const MOVED_MAX: usize = 2 * SLOT_COUNT as usize;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Difference {
    pub(super) signature: Signature,
    pub(super) base_sha256: [u8; 32],
    pub(super) era: u32,
    pub(super) epoch: Epoch,
    slots: Option<SlotSet>,
    protocol: Option<Protocol>,
    removed: Vec<u16>,
    marked: Vec<u16>,
    #[serde(deserialize_with = "bounded::list::<_, _, MOVED_MAX>")]
    moved: Vec<Moved>,
    changed: Vec<Member>,
    delegation: Option<Vec<Delegation>>,
    directory: Option<Vec<DirectoryEntry>>,
}

/// An owner that only gained or lost slots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Moved {
    member: u16,
    owner: u16,
    gained: SlotSet,
    lost: SlotSet,
}

impl Difference {
    /// What leads from `base` to `map`.
    pub(super) fn between(
        base: &Map,
        base_sha256: [u8; 32],
        map: &Map,
        signature: Signature,
    ) -> Self {
        let newer: BTreeMap<Uid, &Member> = map.members.iter().map(|m| (m.uid, m)).collect();
        let (mut removed, mut marked) = (Vec::new(), Vec::new());
        let (mut moved, mut changed) = (Vec::new(), Vec::new());
        for (place, old) in (0..).zip(&base.members) {
            match newer.get(&old.uid) {
                None => removed.push(place),
                Some(new) if *new == old => {}
                Some(new) if without_slots_and_mark(old) == without_slots_and_mark(new) => {
                    marked.extend((old.failed != new.failed).then_some(place));
                    moved.extend(moves(place, old, new));
                }
                Some(new) => changed.push((*new).clone()),
            }
        }
        let older: BTreeSet<Uid> = base.members.iter().map(|member| member.uid).collect();
        let joined = map.members.iter().filter(|m| !older.contains(&m.uid));
        changed.extend(joined.cloned());
        Self {
            signature,
            base_sha256,
            era: map.era,
            epoch: map.epoch,
            slots: (map.slots != base.slots).then(|| map.slots.clone()),
            protocol: (map.protocol != base.protocol).then_some(map.protocol),
            removed,
            marked,
            moved,
            changed,
            delegation: (map.delegation != base.delegation).then(|| map.delegation.clone()),
            directory: (map.directory != base.directory).then(|| map.directory.clone()),
        }
    }

    /// The map that it leads to from `base`: nothing is known of it until its signature is checked.
    pub(super) fn apply_to(self, base: &Map) -> Result<Map, MapError> {
        // Each owner once: it costs no more to apply than the base has owners.
        if !self.moved.is_sorted_by(|a, b| a.place() < b.place()) {
            return Err(MapError::Malformed("moves that do not ascend"));
        }
        let mut moved = self.moved.into_iter().peekable();
        let removed: BTreeSet<u16> = self.removed.into_iter().collect();
        let marked: BTreeSet<u16> = self.marked.into_iter().collect();
        let changed: BTreeSet<Uid> = self.changed.iter().map(|member| member.uid).collect();
        let mut members = Vec::with_capacity(base.members.len());
        for (place, old) in (0..).zip(&base.members) {
            if removed.contains(&place) || changed.contains(&old.uid) {
                continue;
            }
            let mut member = old.clone();
            member.failed ^= marked.contains(&place);
            while let Some(moving) = moved.next_if(|moving| moving.member == place) {
                moving.carry_out(&mut member)?;
            }
            members.push(member);
        }
        if moved.next().is_some() {
            return Err(MapError::Malformed("slots of a member that does not exist"));
        }
        members.extend(self.changed);
        members.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Map {
            cluster: base.cluster,
            cell: base.cell.clone(),
            era: self.era,
            epoch: self.epoch,
            slots: self.slots.unwrap_or_else(|| base.slots.clone()),
            protocol: self.protocol.unwrap_or(base.protocol),
            members,
            delegation: self.delegation.unwrap_or_else(|| base.delegation.clone()),
            directory: self.directory.unwrap_or_else(|| base.directory.clone()),
        })
    }
}

impl Moved {
    fn place(&self) -> (u16, u16) {
        (self.member, self.owner)
    }

    fn carry_out(&self, member: &mut Member) -> Result<(), MapError> {
        let owner = member.owners.get_mut(usize::from(self.owner));
        let owner = owner.ok_or(MapError::Malformed("slots of an owner that does not exist"))?;
        owner.slots = owner.slots.difference(&self.lost).union(&self.gained);
        Ok(())
    }
}

fn without_slots_and_mark(member: &Member) -> Member {
    let mut member = member.clone();
    member.failed = false;
    let owners = member.owners.iter_mut();
    owners.for_each(|owner: &mut Owner| owner.slots = SlotSet::empty());
    member
}

fn moves(place: u16, old: &Member, new: &Member) -> Vec<Moved> {
    let owners = (0..).zip(old.owners.iter().zip(&new.owners));
    owners
        .filter(|(_, (old, new))| old.slots != new.slots)
        .map(|(owner, (old, new))| Moved {
            member: place,
            owner,
            gained: new.slots.difference(&old.slots),
            lost: old.slots.difference(&new.slots),
        })
        .collect()
}

#[cfg(test)]
mod tests;
