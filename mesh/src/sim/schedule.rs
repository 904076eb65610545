//! What is going to happen, in the order of time; what is due at one instant happens in the order in
//! which it was scheduled, so that runs repeat bit by bit.
//!
//! A calendar wheel: nearly everything is due within a second, and to find its place there costs the
//! same however much is under way. A heap pays a logarithm of cache misses each time.
//!
//! ```text
//!    open          wheel: 4096 slots of 256 us                    far (by slot)
//!   ┌─────┐   ┌───┬───┬───┬─────────────────────────────┬───┐   ┌──────────────┐
//!   │c b a│◀──│ d │   │e f│ ...                         │ z │◀──│ later than a │
//!   └──┬──┘   └───┴───┴───┴─────────────────────────────┴───┘   │ turn         │
//!      ▼       a slot is sorted when it is opened               └──────────────┘
//!    next
//! ```

use std::collections::BTreeMap;

use crate::time::Instant;

/// Entries at once: a thousand members have some ten thousand datagrams and timers under way.
pub const SCHEDULE_MAX: usize = 1 << 22;
/// Slots of the wheel.
const SLOTS: u64 = 4096;
/// A slot is 2 to that many microseconds long.
const SLOT_BITS: u32 = 8;

/// A queue by time.
#[derive(Debug)]
pub(super) struct Schedule<T> {
    /// What is due up to the end of the slot at hand, the next one last.
    open: Vec<Entry<T>>,
    /// Number of the slot at hand, counted from time zero.
    slot: u64,
    wheel: Vec<Vec<Entry<T>>>,
    in_wheel: usize,
    far: BTreeMap<u64, Vec<Entry<T>>>,
    in_far: usize,
    sequence: u64,
    refused: u64,
}

#[derive(Debug)]
struct Entry<T> {
    at: Instant,
    sequence: u64,
    what: T,
}

impl<T> Entry<T> {
    fn key(&self) -> (Instant, u64) {
        (self.at, self.sequence)
    }
}

impl<T> Schedule<T> {
    pub(super) fn new() -> Self {
        Self {
            open: Vec::new(),
            slot: 0,
            wheel: (0..SLOTS).map(|_| Vec::new()).collect(),
            in_wheel: 0,
            far: BTreeMap::new(),
            in_far: 0,
            sequence: 0,
            refused: 0,
        }
    }

    /// Entries that wait.
    pub(super) fn len(&self) -> usize {
        self.open.len() + self.in_wheel + self.in_far
    }

    pub(super) fn push(&mut self, at: Instant, what: T) {
        if self.len() >= SCHEDULE_MAX {
            self.refused += 1;
            return;
        }
        self.sequence += 1;
        let sequence = self.sequence;
        let slot = at.as_micros() >> SLOT_BITS;
        let entry = Entry { at, sequence, what };
        if slot <= self.slot {
            let place = self.open.partition_point(|other| other.key() > entry.key());
            self.open.insert(place, entry);
        } else if slot < self.slot + SLOTS {
            self.put_on_wheel(slot, entry);
        } else {
            self.in_far += 1;
            self.far.entry(slot).or_default().push(entry);
        }
    }

    /// The next of all that happens until `end`.
    pub(super) fn pop_until(&mut self, end: Instant) -> Option<(Instant, T)> {
        while self.open.is_empty() {
            let next = self.next_slot()?;
            if next > end.as_micros() >> SLOT_BITS {
                return None;
            }
            self.open_slot(next);
        }
        if self.open.last()?.at > end {
            return None;
        }
        self.open.pop().map(|entry| (entry.at, entry.what))
    }

    /// How much found no room: a run in which that is not zero proves nothing.
    pub(super) fn refused(&self) -> u64 {
        self.refused
    }

    fn put_on_wheel(&mut self, slot: u64, entry: Entry<T>) {
        if let Some(bucket) = self.wheel.get_mut(index(slot)) {
            bucket.push(entry);
            self.in_wheel += 1;
        }
    }

    /// The next slot that holds anything; what is far comes after all that is on the wheel.
    fn next_slot(&self) -> Option<u64> {
        if self.in_wheel == 0 {
            return self.far.keys().next().copied();
        }
        let holds = |slot: &u64| self.wheel.get(index(*slot)).is_some_and(|b| !b.is_empty());
        (self.slot + 1..self.slot + SLOTS).find(holds)
    }

    fn open_slot(&mut self, slot: u64) {
        self.slot = slot;
        while let Some(far) = self.far.first_entry() {
            if *far.key() >= slot + SLOTS {
                break;
            }
            let (near, entries) = far.remove_entry();
            self.in_far -= entries.len();
            for entry in entries {
                self.put_on_wheel(near, entry);
            }
        }
        if let Some(bucket) = self.wheel.get_mut(index(slot)) {
            self.in_wheel -= bucket.len();
            // The empty bucket keeps its room for the next turn.
            self.open.append(bucket);
        }
        self.open
            .sort_unstable_by_key(|entry| std::cmp::Reverse(entry.key()));
    }
}

fn index(slot: u64) -> usize {
    usize::try_from(slot % SLOTS).unwrap_or(0)
}

#[cfg(test)]
mod tests;
