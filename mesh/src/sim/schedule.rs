//! What is going to happen, in the order of time; what is due at one instant happens in the order in
//! which it was scheduled, so that runs repeat bit by bit.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::time::Instant;

/// Entries at once: a thousand members have some ten thousand datagrams and timers under way.
pub const SCHEDULE_MAX: usize = 1 << 20;

/// A queue by time.
#[derive(Debug)]
pub(super) struct Schedule<T> {
    heap: BinaryHeap<Entry<T>>,
    sequence: u64,
    refused: u64,
}

#[derive(Debug)]
struct Entry<T> {
    at: Instant,
    sequence: u64,
    what: T,
}

impl<T> Schedule<T> {
    pub(super) fn new() -> Self {
        Self {
            heap: BinaryHeap::new(),
            sequence: 0,
            refused: 0,
        }
    }

    pub(super) fn push(&mut self, at: Instant, what: T) {
        if self.heap.len() >= SCHEDULE_MAX {
            self.refused += 1;
            return;
        }
        self.sequence += 1;
        let sequence = self.sequence;
        self.heap.push(Entry { at, sequence, what });
    }

    /// The next of all that happens until `end`.
    pub(super) fn pop_until(&mut self, end: Instant) -> Option<(Instant, T)> {
        if self.heap.peek()?.at > end {
            return None;
        }
        self.heap.pop().map(|entry| (entry.at, entry.what))
    }

    /// How much found no room: a run in which that is not zero proves nothing.
    pub(super) fn refused(&self) -> u64 {
        self.refused
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        // The heap gives the greatest first.
        (other.at, other.sequence).cmp(&(self.at, self.sequence))
    }
}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Entry<T> {}
