//! Checks a plan before it is written. It shares no arithmetic with the planner: it carries the moves
//! out on a table of slots and looks at what comes out.

use std::collections::BTreeMap;

use slotmesh_mesh::identity::Uid;
use slotmesh_mesh::slot::SLOT_COUNT;
use thiserror::Error;

use super::{Plan, Reach, Snapshot};

/// Why a plan is refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PlanError {
    /// It was made for another map.
    #[error("the plan changes epoch {found}, the map at hand is of epoch {expected}")]
    WrongParent {
        /// Of the plan.
        found: u64,
        /// Of the snapshot.
        expected: u64,
    },
    /// A slot is not where the plan takes it from.
    #[error("slot {0} is not held by whom the plan takes it from")]
    NotThere(u16),
    /// A slot moves twice, or to where it is.
    #[error("slot {0} moves without need")]
    Idle(u16),
    /// A receiver that does not exist or takes nothing.
    #[error("{0} cannot take slots")]
    NoReceiver(Uid),
    /// A slot is left without an owner.
    #[error("slot {0} has no owner")]
    Ownerless(u16),
    /// A slot outside the cell is held.
    #[error("slot {0} is not of this cell")]
    Foreign(u16),
    /// An owner holds more or less than its share.
    #[error("{owner} would hold {held} slots, a whole slot or more off its share")]
    Unfair {
        /// Who.
        owner: Uid,
        /// How many.
        held: u64,
    },
    /// A slot leaves its owner though only the ownerless may move.
    #[error("slot {0} would leave its owner, and only slots without one may move")]
    OutOfReach(u16),
    /// Fewer moves would do.
    #[error("{moved} slots move where {needed} would do")]
    Wasteful {
        /// By the plan.
        moved: u64,
        /// Needed.
        needed: u64,
    },
}

/// Checks a plan against what it was made from.
///
/// # Errors
/// Names the first rule that it breaks.
pub fn check(snapshot: &Snapshot, reach: Reach, plan: &Plan) -> Result<(), PlanError> {
    if plan.parent_epoch != snapshot.parent_epoch {
        return Err(PlanError::WrongParent {
            found: plan.parent_epoch,
            expected: snapshot.parent_epoch,
        });
    }
    let before = table(snapshot);
    let after = carry_out(snapshot, plan, &before)?;
    let capacity: u64 = snapshot
        .owners
        .values()
        .map(|owner| u64::from(owner.capacity))
        .sum();
    if capacity == 0 {
        return if plan.moves.is_empty() && plan.minimum_moves == 0 {
            Ok(())
        } else {
            Err(PlanError::Wasteful {
                moved: plan.moved_slots().into(),
                needed: 0,
            })
        };
    }
    for slot in snapshot.slots.iter() {
        if after
            .get(usize::from(slot.number()))
            .copied()
            .flatten()
            .is_none()
        {
            return Err(PlanError::Ownerless(slot.number()));
        }
    }
    let (held, held_before) = (count(&after), count(&before));
    let needed = match reach {
        Reach::Everything => {
            fair(snapshot, &held, capacity)?;
            fewest(snapshot, &held_before, capacity)
        }
        Reach::Ownerless => {
            nobody_is_robbed(&before, &after)?;
            nobody_is_flooded(snapshot, &held, &held_before, capacity)?;
            let ownerless = |slot: &slotmesh_mesh::slot::Slot| {
                let holder = before.get(usize::from(slot.number()));
                holder.copied().flatten().is_none()
            };
            snapshot.slots.iter().filter(ownerless).count() as u64
        }
    };
    let moved = before
        .iter()
        .zip(&after)
        .filter(|(before, after)| before != after)
        .count() as u64;
    if moved != needed
        || moved != u64::from(plan.minimum_moves)
        || moved != u64::from(plan.moved_slots())
    {
        return Err(PlanError::Wasteful { moved, needed });
    }
    Ok(())
}

type Table = Vec<Option<Uid>>;

/// Who holds each slot.
fn table(snapshot: &Snapshot) -> Table {
    let mut table = vec![None; usize::from(SLOT_COUNT)];
    for (uid, owner) in &snapshot.owners {
        for slot in owner.slots.iter() {
            if let Some(entry) = table.get_mut(usize::from(slot.number())) {
                *entry = Some(*uid);
            }
        }
    }
    table
}

fn carry_out(snapshot: &Snapshot, plan: &Plan, before: &Table) -> Result<Table, PlanError> {
    let mut after = before.clone();
    for step in &plan.moves {
        if snapshot
            .owners
            .get(&step.to)
            .is_none_or(|owner| owner.capacity == 0)
        {
            return Err(PlanError::NoReceiver(step.to));
        }
        for slot in step.slots.iter() {
            let number = slot.number();
            if !snapshot.slots.contains(slot) {
                return Err(PlanError::Foreign(number));
            }
            let original = before.get(usize::from(number)).copied().flatten();
            let Some(entry) = after.get_mut(usize::from(number)) else {
                return Err(PlanError::Foreign(number));
            };
            if original != step.from {
                return Err(PlanError::NotThere(number));
            }
            if *entry != original || original == Some(step.to) {
                return Err(PlanError::Idle(number));
            }
            *entry = Some(step.to);
        }
    }
    Ok(after)
}

fn count(table: &Table) -> BTreeMap<Uid, u64> {
    let mut counts = BTreeMap::new();
    for uid in table.iter().flatten() {
        *counts.entry(*uid).or_default() += 1;
    }
    counts
}

/// Nobody is a whole slot or more off its exact share.
fn fair(snapshot: &Snapshot, held: &BTreeMap<Uid, u64>, capacity: u64) -> Result<(), PlanError> {
    let slots = u64::from(snapshot.slots.len());
    for (uid, owner) in &snapshot.owners {
        let held = held.get(uid).copied().unwrap_or(0);
        let exact = slots * u64::from(owner.capacity);
        if (held * capacity).abs_diff(exact) >= capacity {
            return Err(PlanError::Unfair { owner: *uid, held });
        }
    }
    Ok(())
}

/// Only slots without an owner change hands.
fn nobody_is_robbed(before: &Table, after: &Table) -> Result<(), PlanError> {
    let robbed =
        |(before, after): (&Option<Uid>, &Option<Uid>)| before.is_some() && before != after;
    match before.iter().zip(after).position(robbed) {
        Some(slot) => Err(PlanError::OutOfReach(
            u16::try_from(slot).unwrap_or(u16::MAX),
        )),
        None => Ok(()),
    }
}

/// Nobody who receives ends a whole slot or more above its exact share.
fn nobody_is_flooded(
    snapshot: &Snapshot,
    held: &BTreeMap<Uid, u64>,
    held_before: &BTreeMap<Uid, u64>,
    capacity: u64,
) -> Result<(), PlanError> {
    let slots = u64::from(snapshot.slots.len());
    for (uid, owner) in &snapshot.owners {
        let now = held.get(uid).copied().unwrap_or(0);
        let received = now > held_before.get(uid).copied().unwrap_or(0);
        let exact = slots * u64::from(owner.capacity);
        if received && now * capacity >= exact + capacity {
            return Err(PlanError::Unfair {
                owner: *uid,
                held: now,
            });
        }
    }
    Ok(())
}

/// The fewest moves: every slot that may stay stays. An owner may keep up to its exact share rounded
/// down, and one more if it is among those whose remainder earns a seat; of equals, whoever can use
/// the seat.
fn fewest(snapshot: &Snapshot, held: &BTreeMap<Uid, u64>, capacity: u64) -> u64 {
    let slots = u64::from(snapshot.slots.len());
    let mut stay = 0;
    let mut seats = slots;
    let mut by_remainder: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for (uid, owner) in &snapshot.owners {
        let exact = slots * u64::from(owner.capacity);
        let (floor, remainder) = (exact / capacity, exact % capacity);
        let held = held.get(uid).copied().unwrap_or(0);
        stay += held.min(floor);
        seats -= floor;
        let group = by_remainder.entry(remainder).or_default();
        group.0 += 1;
        group.1 += u64::from(held > floor);
    }
    for (_, (owners, could_use)) in by_remainder.into_iter().rev() {
        let given = seats.min(owners);
        seats -= given;
        stay += could_use.min(given);
    }
    slots - stay
}
