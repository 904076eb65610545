//! Hash slots: which slot a key falls into, and sets of slots.
//!
//! Source: Redis Cluster specification, "Key distribution model" and "Hash tags".

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Slots of a cluster.
pub const SLOT_COUNT: u16 = 16_384;

/// A hash slot, 0 to 16383.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u16);

impl Slot {
    /// The slot with that number, if there is one.
    #[must_use]
    pub const fn new(number: u16) -> Option<Self> {
        if number < SLOT_COUNT {
            Some(Self(number))
        } else {
            None
        }
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }
}

/// Slot of a key: CRC16/XMODEM modulo 16384. Where the key holds a `{`, a later `}` and at least one
/// byte between the first of each, only those bytes count, so that a user can keep keys together.
#[must_use]
pub fn slot_of_key(key: &[u8]) -> Slot {
    Slot(crc16(tag(key)) % SLOT_COUNT)
}

fn tag(key: &[u8]) -> &[u8] {
    let mut halves = key.splitn(2, |byte| *byte == b'{');
    let (Some(_), Some(rest)) = (halves.next(), halves.next()) else {
        return key;
    };
    if !rest.contains(&b'}') {
        return key;
    }
    match rest.split(|byte| *byte == b'}').next() {
        Some(tag) if !tag.is_empty() => tag,
        _ => key,
    }
}

/// CRC16/XMODEM: polynomial 0x1021, start value 0, nothing reflected.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc: u16, _| {
            if crc & 0x8000 == 0 {
                crc << 1
            } else {
                (crc << 1) ^ 0x1021
            }
        })
    })
}

/// A set of slots, kept as runs. Shown in Redis notation: `0-5460,7000`; the empty set is the empty
/// text.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotSet {
    /// First and last slot of each run, ascending. Runs neither touch nor overlap.
    runs: Vec<(u16, u16)>,
}

/// A text that names no set of slots.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SlotSetError {
    /// A part is no number or range.
    #[error("`{0}` is not a slot or a range of slots: `0-5460,7000` is the form")]
    NotARange(String),
    /// A number above 16383.
    #[error("slot {0} does not exist: the last is 16383")]
    OutOfRange(u32),
    /// Ranges that overlap, touch or go down.
    #[error("slot ranges must ascend and neither touch nor overlap: `{0}`")]
    NotAscending(String),
}

impl SlotSet {
    /// No slot.
    #[must_use]
    pub const fn empty() -> Self {
        Self { runs: Vec::new() }
    }

    /// Every slot.
    #[must_use]
    pub fn full() -> Self {
        Self {
            runs: vec![(0, SLOT_COUNT - 1)],
        }
    }

    /// Adds the slots from `first` to `last`, both included; what lies outside 0..=16383 is ignored.
    pub fn insert_range(&mut self, first: u16, last: u16) {
        let (mut first, mut last) = (first, last.min(SLOT_COUNT - 1));
        if first > last {
            return;
        }
        let is_below = |(_, end): &(u16, u16)| end.saturating_add(1) < first;
        let from = self.runs.partition_point(is_below);
        let beyond = last.saturating_add(1);
        let touching = self.runs.iter().skip(from);
        let touching = touching.take_while(|(start, _)| *start <= beyond);
        let mut to = from;
        for (start, end) in touching {
            first = first.min(*start);
            last = last.max(*end);
            to += 1;
        }
        self.runs.splice(from..to, [(first, last)]);
    }

    /// Adds one slot.
    pub fn insert(&mut self, slot: Slot) {
        self.insert_range(slot.0, slot.0);
    }

    /// Whether the slot is in the set.
    #[must_use]
    pub fn contains(&self, slot: Slot) -> bool {
        self.overlaps_range(slot.0, slot.0)
    }

    /// How many slots it holds.
    #[must_use]
    pub fn len(&self) -> u16 {
        self.runs.iter().map(|(start, end)| end - start + 1).sum()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Its runs, ascending, as (first, last).
    pub fn ranges(&self) -> impl Iterator<Item = (u16, u16)> + '_ {
        self.runs.iter().copied()
    }

    /// Its slots, ascending.
    pub fn iter(&self) -> impl Iterator<Item = Slot> + '_ {
        self.ranges()
            .flat_map(|(start, end)| (start..=end).map(Slot))
    }

    /// The runs that overlap `start..=end`.
    fn runs_near(&self, start: u16, end: u16) -> impl Iterator<Item = (u16, u16)> + '_ {
        let from = self.runs.partition_point(|(_, last)| *last < start);
        let runs = self.runs.iter().skip(from).copied();
        runs.take_while(move |(first, _)| *first <= end)
    }

    /// Whether the set holds a slot from `first` to `last`.
    #[must_use]
    pub fn overlaps_range(&self, first: u16, last: u16) -> bool {
        first <= last && self.runs_near(first, last).next().is_some()
    }

    /// Slots that are in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut all = [self.runs.as_slice(), &other.runs].concat();
        all.sort_unstable();
        all.into_iter().collect()
    }

    /// Slots that are in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let mut set = Self::empty();
        for (start, end) in self.ranges() {
            for (other_start, other_end) in other.runs_near(start, end) {
                set.insert_range(start.max(other_start), end.min(other_end));
            }
        }
        set
    }

    /// Slots that are in this set and not in the other.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let mut set = Self::empty();
        for (start, end) in self.ranges() {
            let mut next = Some(start);
            for (other_start, other_end) in other.runs_near(start, end) {
                let Some(from) = next else { break };
                if other_start > from {
                    set.insert_range(from, other_start - 1);
                }
                next = other_end.checked_add(1).filter(|slot| *slot <= end);
            }
            if let Some(from) = next {
                set.insert_range(from, end);
            }
        }
        set
    }

    /// Takes away every slot of the other set.
    pub fn remove(&mut self, other: &Self) {
        *self = self.difference(other);
    }

    /// The lowest `count` slots (all of them where it holds fewer).
    #[must_use]
    pub fn lowest(&self, count: u16) -> Self {
        let mut set = Self::empty();
        let mut left = count;
        for (start, end) in self.ranges() {
            let Some(above_zero) = left.checked_sub(1) else {
                break;
            };
            let last = end.min(start.saturating_add(above_zero));
            set.insert_range(start, last);
            left -= last - start + 1;
        }
        set
    }

    /// Takes the lowest `count` slots out and returns them.
    pub fn take_lowest(&mut self, count: u16) -> Self {
        let taken = self.lowest(count);
        self.remove(&taken);
        taken
    }
}

impl FromIterator<(u16, u16)> for SlotSet {
    fn from_iter<I: IntoIterator<Item = (u16, u16)>>(ranges: I) -> Self {
        let mut set = Self::empty();
        for (start, end) in ranges {
            set.insert_range(start, end);
        }
        set
    }
}

impl fmt::Display for SlotSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (start, end)) in self.ranges().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            if start == end {
                write!(f, "{comma}{start}")?;
            } else {
                write!(f, "{comma}{start}-{end}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for SlotSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{self}]")
    }
}

impl FromStr for SlotSet {
    type Err = SlotSetError;

    fn from_str(text: &str) -> Result<Self, SlotSetError> {
        let mut set = Self::empty();
        let mut lowest = 0_u16;
        for part in text.split(',').filter(|_| !text.is_empty()) {
            let (start, end) = part.split_once('-').unwrap_or((part, part));
            let (start, end) = (slot_number(start, part)?, slot_number(end, part)?);
            if start > end || start < lowest {
                return Err(SlotSetError::NotAscending(shorten(part)));
            }
            set.runs.push((start, end));
            lowest = end.saturating_add(2);
        }
        Ok(set)
    }
}

fn slot_number(text: &str, part: &str) -> Result<u16, SlotSetError> {
    let plain = !text.is_empty() && text.len() <= 6 && text.bytes().all(|b| b.is_ascii_digit());
    let number: u32 = text
        .parse()
        .ok()
        .filter(|_| plain)
        .ok_or_else(|| SlotSetError::NotARange(shorten(part)))?;
    match u16::try_from(number) {
        Ok(slot) if slot < SLOT_COUNT => Ok(slot),
        _ => Err(SlotSetError::OutOfRange(number)),
    }
}

fn shorten(text: &str) -> String {
    text.chars().take(32).collect()
}

/// On the wire and in digests a set is the list of its runs.
impl Serialize for SlotSet {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.ranges())
    }
}

impl<'de> Deserialize<'de> for SlotSet {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let ranges = Vec::<(u16, u16)>::deserialize(deserializer)?;
        let mut set = Self::empty();
        let mut lowest = 0_u16;
        for (start, end) in ranges {
            if start > end || start < lowest || end >= SLOT_COUNT {
                return Err(serde::de::Error::custom(
                    "slot runs must ascend and not touch",
                ));
            }
            set.runs.push((start, end));
            lowest = end.saturating_add(2);
        }
        Ok(set)
    }
}

#[cfg(test)]
mod tests;
