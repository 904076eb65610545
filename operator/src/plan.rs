//! The planner: who should own which slots. Pure, and checked by somebody else before it is written
//! ([`checker`]).
//!
//! Each owner's quota is its share of the slots by capacity (Hamilton's largest remainder); of equal
//! remainders the rounded-up seat goes to whoever holds more than its share rounded down, so that
//! nothing moves for rounding's sake. Only what is ownerless or above a quota moves: `ownerless + sum(max(0, held - quota))`, and
//! no assignment with these quotas can do with less, because each of those slots has to move.
//! Where only the ownerless may move ([`Reach::Ownerless`]), they go to owners below their quota: what
//! these lack is never less than what is ownerless.

pub mod checker;

use std::collections::BTreeMap;

use slotmesh_mesh::identity::{Epoch, Uid};
use slotmesh_mesh::slot::SlotSet;

/// What a plan is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Epoch of the map that the plan changes; 0 before the first.
    pub parent_epoch: Epoch,
    /// All slots to be owned.
    pub slots: SlotSet,
    /// Owners with their capacity and what they hold.
    pub owners: BTreeMap<Uid, Holding>,
}

/// What an owner can and does hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    /// Weight; 0 drains.
    pub capacity: u16,
    /// Slots held now.
    pub slots: SlotSet,
}

/// Slots that change their owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// Who held them; none where nobody did.
    pub from: Option<Uid>,
    /// Who is to hold them.
    pub to: Uid,
    /// Which.
    pub slots: SlotSet,
}

/// Which slots a plan may move.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// Every owner gets its share.
    #[default]
    Everything,
    /// Slots without an owner get one; whoever holds slots keeps them, drained owners included.
    Ownerless,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Epoch of the map that it changes.
    pub parent_epoch: Epoch,
    /// Moves, by receiver.
    pub moves: Vec<Move>,
    /// The fewest slots that have to move.
    pub minimum_moves: u16,
}

impl Plan {
    /// How many runs of slots move.
    #[must_use]
    pub fn runs(&self) -> usize {
        let runs = self.moves.iter().map(|step| step.slots.ranges().count());
        runs.sum()
    }

    /// How many slots move.
    #[must_use]
    pub fn moved_slots(&self) -> u16 {
        self.moves.iter().map(|step| step.slots.len()).sum()
    }
}

impl Snapshot {
    /// Slots that nobody holds.
    #[must_use]
    pub fn ownerless(&self) -> SlotSet {
        let held = self
            .owners
            .values()
            .fold(SlotSet::empty(), |held, owner| held.union(&owner.slots));
        self.slots.difference(&held)
    }
}

/// Plans. Without an owner of any capacity there is nowhere to move anything, and nothing moves.
#[must_use]
pub fn plan(snapshot: &Snapshot, reach: Reach) -> Plan {
    let quotas = quotas(snapshot);
    let mut plan = Plan {
        parent_epoch: snapshot.parent_epoch,
        moves: Vec::new(),
        minimum_moves: 0,
    };
    if quotas.is_empty() {
        return plan;
    }
    let mut pool: Vec<(Option<Uid>, SlotSet)> = vec![(None, snapshot.ownerless())];
    let givers = match reach {
        Reach::Everything => snapshot.owners.iter(),
        Reach::Ownerless => Default::default(),
    };
    for (uid, owner) in givers {
        let quota = quotas.get(uid).copied().unwrap_or(0);
        pool.push((
            Some(*uid),
            surplus(&owner.slots, owner.slots.len().saturating_sub(quota)),
        ));
    }
    plan.minimum_moves = pool.iter().map(|(_, slots)| slots.len()).sum();

    // The neediest first, so that long runs stay whole.
    let mut wanting: Vec<(u16, Uid)> = quotas
        .iter()
        .map(|(uid, quota)| {
            let held = snapshot
                .owners
                .get(uid)
                .map_or(0, |owner| owner.slots.len());
            (quota.saturating_sub(held), *uid)
        })
        .filter(|(wanted, _)| *wanted > 0)
        .collect();
    wanting.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    for (mut wanted, to) in wanting {
        for (from, slots) in &mut pool {
            let taken = slots.take_lowest(wanted.min(slots.len()));
            if taken.is_empty() {
                continue;
            }
            wanted -= taken.len();
            plan.moves.push(Move {
                from: *from,
                to,
                slots: taken,
            });
        }
    }
    plan
}

/// Each owner's quota by largest remainder; empty when there is no capacity at all.
fn quotas(snapshot: &Snapshot) -> BTreeMap<Uid, u16> {
    let slots = u64::from(snapshot.slots.len());
    let capacity: u64 = snapshot
        .owners
        .values()
        .map(|owner| u64::from(owner.capacity))
        .sum();
    if capacity == 0 {
        return BTreeMap::new();
    }
    let mut quotas = BTreeMap::new();
    let mut remainders = Vec::new();
    for (uid, owner) in &snapshot.owners {
        let share = slots * u64::from(owner.capacity);
        let floor = u16::try_from(share / capacity).unwrap_or(u16::MAX);
        quotas.insert(*uid, floor);
        remainders.push((
            share % capacity,
            owner.slots.len().saturating_sub(floor),
            *uid,
        ));
    }
    let given: u64 = quotas.values().map(|quota| u64::from(*quota)).sum();
    remainders.sort_by(|a, b| b.0.cmp(&a.0).then(b.1.cmp(&a.1)).then(a.2.cmp(&b.2)));
    let seats = usize::try_from(slots - given).unwrap_or(0);
    for (_, _, uid) in remainders.into_iter().take(seats) {
        if let Some(quota) = quotas.get_mut(&uid) {
            *quota += 1;
        }
    }
    quotas
}

/// `count` slots to give away: short whole runs first, then the end of a longer one, so that what
/// stays has few ranges.
fn surplus(held: &SlotSet, count: u16) -> SlotSet {
    let mut runs: Vec<(u16, u16)> = held.ranges().collect();
    runs.sort_by_key(|(start, end)| (end - start, *start));
    let mut left = count;
    let mut given = SlotSet::empty();
    for (start, end) in runs {
        if left == 0 {
            break;
        }
        let taken = left.min(end - start + 1);
        given.insert_range(end + 1 - taken, end);
        left -= taken;
    }
    given
}

#[cfg(test)]
mod tests;
