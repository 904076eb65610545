//! The monitoring graph: who observes whom. A pure function of the map, so that all members at one
//! epoch see the same graph.
//!
//! The members are sorted by hash on K rings; a member's observers are its predecessors on them,
//! walking on past duplicates. In a cell of at most K + 1 members everybody observes everybody.
//! Source: Suresh et al., "Stable and Consistent Membership at Scale with Rapid", USENIX ATC 2018,
//! section 4.1 (a K-regular expander).

use std::collections::BTreeMap;
use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use crate::identity::Uid;
use crate::limits;
use crate::map::Map;

/// Who observes whom in one epoch.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// Member -> its observers, in the order of the rings.
    observers: BTreeMap<Uid, Vec<Uid>>,
    /// Member -> its subjects, sorted.
    subjects: BTreeMap<Uid, Vec<Uid>>,
    /// Members in the order of each ring.
    rings: Vec<Vec<Uid>>,
}

impl Graph {
    /// The graph of a map. Members listed as failed take no part.
    #[must_use]
    pub fn of(map: &Map) -> Self {
        let members: Vec<Uid> = map.active().map(|member| member.uid).collect();
        let rings: Vec<Vec<Uid>> = (0..u64::from(map.protocol.observers))
            .map(|ring| ring_order(ring, &members))
            .collect();
        let observers_each =
            usize::from(map.protocol.observers).min(members.len().saturating_sub(1));
        let mut graph = Self {
            rings,
            ..Self::default()
        };
        for uid in &members {
            graph
                .observers
                .insert(*uid, Vec::with_capacity(observers_each));
            graph
                .subjects
                .insert(*uid, Vec::with_capacity(observers_each));
        }
        let rings = std::mem::take(&mut graph.rings);
        for ring in rings.iter().take(observers_each) {
            for (position, uid) in ring.iter().enumerate() {
                graph.add_predecessor(ring, position, *uid);
            }
        }
        graph.rings = rings;
        for (subject, observers) in &graph.observers {
            for observer in observers {
                if let Some(subjects) = graph.subjects.get_mut(observer) {
                    subjects.push(*subject);
                }
            }
        }
        graph
    }

    /// The nearest predecessor on the ring that does not observe the member yet.
    fn add_predecessor(&mut self, ring: &[Uid], position: usize, uid: Uid) {
        let Some(observers) = self.observers.get_mut(&uid) else {
            return;
        };
        let backwards = ring
            .iter()
            .take(position)
            .rev()
            .chain(ring.iter().skip(position + 1).rev());
        if let Some(observer) = backwards
            .into_iter()
            .find(|candidate| !observers.contains(candidate))
        {
            observers.push(*observer);
        }
    }

    /// How many members take part.
    #[must_use]
    pub fn len(&self) -> usize {
        self.observers.len()
    }

    /// Whether nobody takes part.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.observers.is_empty()
    }

    /// Members that take part, sorted.
    pub fn members(&self) -> impl Iterator<Item = Uid> + '_ {
        self.observers.keys().copied()
    }

    /// Who observes that member.
    #[must_use]
    pub fn observers(&self, uid: Uid) -> &[Uid] {
        self.observers.get(&uid).map_or(&[], Vec::as_slice)
    }

    /// Whom that member observes.
    #[must_use]
    pub fn subjects(&self, uid: Uid) -> &[Uid] {
        self.subjects.get(&uid).map_or(&[], Vec::as_slice)
    }

    /// Whether there is that edge.
    #[must_use]
    pub fn observes(&self, observer: Uid, subject: Uid) -> bool {
        self.observers(subject).contains(&observer)
    }

    /// Whether the cell is so small that the operator observes its members too.
    #[must_use]
    pub fn operator_may_observe(&self) -> bool {
        (1..=limits::OPERATOR_OBSERVES_MAX).contains(&self.len())
    }

    /// Whether the operator may observe that member: it takes part, in a small cell.
    #[must_use]
    pub fn operator_observes(&self, subject: Uid) -> bool {
        self.operator_may_observe() && self.observers.contains_key(&subject)
    }

    /// Members in the order of one ring, lowest hash first.
    #[must_use]
    pub fn ring(&self, ring: usize) -> &[Uid] {
        self.rings.get(ring).map_or(&[], Vec::as_slice)
    }

    /// All others in the order of one ring, from a member's successor on.
    pub fn after(&self, uid: Uid, ring: usize) -> impl Iterator<Item = Uid> + '_ {
        let ring = self.ring(ring);
        let position = ring.iter().position(|candidate| *candidate == uid);
        let (from, before) = position.map_or((ring.len(), 0), |position| (position + 1, position));
        ring.iter()
            .skip(from)
            .chain(ring.iter().take(before))
            .copied()
    }

    /// The voters of a cell, before leases exist: the lowest on ring 0.
    #[must_use]
    pub fn voters(&self) -> &[Uid] {
        let count = match self.len() {
            0..=2 => 1,
            3..=4 => 3,
            5..=6 => 5,
            _ => limits::VOTERS_MAX,
        };
        let ring = self.ring(0);
        ring.get(..count.min(ring.len())).unwrap_or(&[])
    }
}

fn ring_order(ring: u64, members: &[Uid]) -> Vec<Uid> {
    let mut order: Vec<(u64, Uid)> = members.iter().map(|uid| (hash(ring, *uid), *uid)).collect();
    order.sort_unstable();
    order.into_iter().map(|(_, uid)| uid).collect()
}

/// SipHash-1-3 with the ring as key: any well-mixing function that is the same everywhere would do.
fn hash(ring: u64, uid: Uid) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(ring, 0x736c_6f74_6d65_7368);
    hasher.write(uid.as_bytes());
    hasher.finish()
}

#[cfg(test)]
mod tests;
