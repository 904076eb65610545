//! Splitting a cell in two, along member boundaries: no slot moves. Pure.
//!
//! ```text
//!   Whole ── above maxMembers, at rest ──▶ Delegated ──────────────▶ Created ──────────────▶ Separated
//!            the parent's record names     the parts' records are    every member has said   the parent's
//!            both parts (one guarded       made from it, each a      that it has its part's  record is
//!            write); it changes no more    create                    map                     deleted
//! ```
//!
//! Everything after the first write follows from the parent's record alone, so whoever leads next goes
//! on where the last one stopped, and the hashes in it tell whether it does so in the same way.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use slotmesh_api::names;
use slotmesh_mesh::identity::Uid;
use slotmesh_mesh::limits;
use slotmesh_mesh::map::{Delegation, DirectoryEntry, Map, MapError, Member};
use slotmesh_mesh::slot::SlotSet;

/// A part never has fewer members.
pub const PART_MEMBERS_MIN: usize = 4;

/// Whether a cell is to be split: too many members, every slot served, nobody failed.
#[must_use]
pub fn is_due(map: &Map, members_max: usize) -> bool {
    map.members.len() > members_max
        && map.members.len() >= 2 * PART_MEMBERS_MIN
        && map.delegation.is_empty()
        && map.served_slots() == map.slots.len()
        && map.members.iter().all(|member| !member.failed)
        && map.directory.len() < limits::OTHER_CELLS_MAX
        && halves(map).is_some()
}

/// The parent's last map: who its parts are. None where there is no cut that leaves enough members
/// with slots on both sides.
///
/// # Errors
/// When the parts would break a rule of maps: a defect.
pub fn delegate(
    map: &Map,
    cluster: &str,
    taken: &BTreeSet<String>,
) -> Result<Option<Map>, MapError> {
    let Some(halves) = halves(map) else {
        return Ok(None);
    };
    let mut parent = map.clone();
    parent.epoch += 1;
    let start_epoch = parent.epoch + 1;
    let mut names = BTreeSet::new();
    for ordinal in 0.. {
        if names.len() == limits::DELEGATION_PARTS {
            break;
        }
        let ordinal = u32::try_from(start_epoch & 0x0fff_ffff).unwrap_or(0) + ordinal;
        let name = names::cell(cluster, &map.cluster.to_string(), ordinal);
        if !taken.contains(&name) && name != map.cell {
            names.insert(name);
        }
    }
    let part = |(cell, slots): (String, SlotSet)| Delegation {
        cell,
        slots,
        first_map_sha256: [0; 32],
        start_epoch,
    };
    parent.delegation = names.into_iter().zip(halves).map(part).collect();
    let hashes: Vec<[u8; 32]> = first_maps(&parent)?.iter().map(Map::sha256).collect();
    for (part, sha256) in parent.delegation.iter_mut().zip(hashes) {
        part.first_map_sha256 = sha256;
    }
    parent.validate()?;
    Ok(Some(parent))
}

/// The first maps of the parts, in the order of the delegation: the parent's members with what they
/// hold. A member without slots goes to the part that has fewer members by then.
///
/// # Errors
/// When a map breaks a rule.
pub fn first_maps(parent: &Map) -> Result<Vec<Map>, MapError> {
    let mut parts: Vec<Map> = parent
        .delegation
        .iter()
        .map(|part| Map {
            cluster: parent.cluster,
            cell: part.cell.clone(),
            era: parent.era,
            epoch: part.start_epoch,
            slots: part.slots.clone(),
            protocol: parent.protocol,
            members: Vec::new(),
            delegation: Vec::new(),
            directory: Vec::new(),
        })
        .collect();
    let (holders, others): (Vec<&Member>, Vec<&Member>) = parent
        .members
        .iter()
        .partition(|member| !member.slots().is_empty());
    for member in holders {
        let slots = member.slots();
        let part = parts
            .iter_mut()
            .find(|part| slots.difference(&part.slots).is_empty());
        match part {
            Some(part) => part.members.push(member.clone()),
            None => {
                let what = format!("{} holds slots of two parts", member.name);
                return Err(MapError::Inconsistent(what));
            }
        }
    }
    for member in others {
        if let Some(part) = parts.iter_mut().min_by_key(|part| part.members.len()) {
            part.members.push(member.clone());
        }
    }
    let entries: Vec<DirectoryEntry> = parts.iter().map(|part| entry_of(part, None)).collect();
    for (number, part) in parts.iter_mut().enumerate() {
        part.members.sort_by(|a, b| a.name.cmp(&b.name));
        let siblings = entries.iter().enumerate().filter(|(n, _)| *n != number);
        part.directory = parent.directory.clone();
        part.directory
            .extend(siblings.map(|(_, entry)| entry.clone()));
        part.directory.sort_by(|a, b| a.cell.cmp(&b.cell));
        part.validate()?;
    }
    Ok(parts)
}

/// What other cells say of this one. Entries that are still good stay, so that a death far away makes
/// no new map here.
#[must_use]
pub fn entry_of(map: &Map, before: Option<&DirectoryEntry>) -> DirectoryEntry {
    let address = |member: &Member| SocketAddr::new(member.address.ip(), names::PORT_HTTP);
    let living: Vec<SocketAddr> = map.active().map(address).collect();
    let kept = before
        .map(|before| before.entries.iter())
        .into_iter()
        .flatten();
    let mut entries: Vec<SocketAddr> = kept
        .filter(|entry| living.contains(entry))
        .copied()
        .collect();
    for candidate in living {
        if entries.len() < limits::CELL_ENTRIES_MAX && !entries.contains(&candidate) {
            entries.push(candidate);
        }
    }
    DirectoryEntry {
        cell: map.cell.clone(),
        slots: map.slots.clone(),
        entries,
    }
}

/// The slots of two halves. Members of each zone are dealt out to both, so that losing a zone costs
/// neither half its majority more than the other; within a zone whoever holds the lowest slots goes to
/// the first half, so that the halves have few ranges.
fn halves(map: &Map) -> Option<[SlotSet; 2]> {
    let mut holders: Vec<(&str, u16, Uid, SlotSet)> = map
        .members
        .iter()
        .filter_map(|member| {
            let slots = member.slots();
            let first = slots.ranges().next()?.0;
            Some((member.zone.as_str(), first, member.uid, slots))
        })
        .collect();
    holders.sort_by(|a, b| (a.0, a.1, a.2).cmp(&(b.0, b.1, b.2)));
    let mut halves = [SlotSet::empty(), SlotSet::empty()];
    let mut members = [0_usize; 2];
    for zone in holders.chunk_by(|a, b| a.0 == b.0) {
        // The larger half of an odd zone goes where there are fewer so far.
        let [first, second] = members;
        let in_first = match first <= second {
            true => zone.len().div_ceil(2),
            false => zone.len() / 2,
        };
        for (number, (_, _, _, slots)) in zone.iter().enumerate() {
            let half = usize::from(number >= in_first);
            if let (Some(all), Some(count)) = (halves.get_mut(half), members.get_mut(half)) {
                *all = all.union(slots);
                *count += 1;
            }
        }
    }
    let [first, second] = members;
    let without_slots = map.members.len() - first - second;
    // Those without slots fill up the smaller half.
    let smaller = first.min(second) + without_slots;
    (first > 0 && second > 0 && smaller.min(map.members.len() / 2) >= PART_MEMBERS_MIN)
        .then_some(halves)
}

#[cfg(test)]
pub(crate) mod tests;
