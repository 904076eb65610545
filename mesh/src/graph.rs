//! The monitoring graph: who observes whom. A pure function of the map, so that all members at one
//! epoch see the same graph.
//!
//! The members are sorted by hash on K rings; a member's observers are its predecessors on them,
//! walking on past duplicates. In a cell of at most K + 1 members everybody observes everybody.
//! It also finds members in its map by their UID: a map lists them by name, and is not searched for each
//! statement of each member.
//! Source: Suresh et al., "Stable and Consistent Membership at Scale with Rapid", USENIX ATC 2018,
//! section 4.1 (a K-regular expander).

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use crate::evidence::Tag;
use crate::identity::{MemberId, Uid};
use crate::limits;
use crate::map::{Map, Member};

/// Who observes whom in one epoch.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// Listed members, sorted; those listed as failed too.
    uids: Vec<Uid>,
    /// By place, as in `uids`.
    nodes: Vec<Node>,
    /// Members in the order of each ring.
    rings: Vec<Vec<Uid>>,
    /// How many take part.
    active: usize,
}

/// A listed member. Others are named by UID, and by their places beside it.
#[derive(Clone, Debug)]
struct Node {
    id: MemberId,
    /// Its name in statements.
    tag: Tag,
    /// Where it stands in the map.
    in_map: usize,
    takes_part: bool,
    /// In the order of the rings.
    observers: Vec<Uid>,
    observers_at: Vec<usize>,
    /// Sorted.
    subjects: Vec<Uid>,
    /// Places of the subjects, each with the number that this one has among all observers there.
    links: Vec<(usize, usize)>,
}

impl Node {
    fn of(member: &Member, in_map: usize) -> Self {
        Self {
            id: member.id(),
            tag: Tag::of(member.id()),
            in_map,
            takes_part: !member.failed,
            observers: Vec::new(),
            observers_at: Vec::new(),
            subjects: Vec::new(),
            links: Vec::new(),
        }
    }
}

impl Graph {
    /// The graph of a map. Members listed as failed take no part.
    #[must_use]
    pub fn of(map: &Map) -> Self {
        let numbered = map.members.iter().zip(0..);
        let mut nodes: Vec<Node> = numbered.map(|(member, at)| Node::of(member, at)).collect();
        nodes.sort_unstable_by_key(|node| (node.id.uid, node.in_map));
        let members: Vec<Uid> = map.active().map(|member| member.uid).collect();
        let mut graph = Self {
            uids: nodes.iter().map(|node| node.id.uid).collect(),
            nodes,
            rings: (0..u64::from(map.protocol.observers))
                .map(|ring| ring_order(ring, &members))
                .collect(),
            active: members.len(),
        };
        let observers_each =
            usize::from(map.protocol.observers).min(members.len().saturating_sub(1));
        for ring in 0..observers_each {
            graph.add_predecessors(ring);
        }
        graph.add_subjects();
        graph
    }

    /// Each member is observed by its nearest predecessor on the ring that does not do so yet.
    fn add_predecessors(&mut self, ring: usize) {
        let places = |uid: &Uid| self.place(*uid).map(|place| (*uid, place));
        let ring: Vec<(Uid, usize)> = self.ring(ring).iter().filter_map(places).collect();
        for (position, (_, place)) in ring.iter().enumerate() {
            let Some(node) = self.nodes.get_mut(*place) else {
                continue;
            };
            let before = ring.iter().take(position).rev();
            let mut backwards = before.chain(ring.iter().skip(position + 1).rev());
            let new = backwards.find(|(_, at)| !node.observers_at.contains(at));
            if let Some((observer, at)) = new {
                node.observers.push(*observer);
                node.observers_at.push(*at);
            }
        }
    }

    /// In the order of UIDs.
    fn add_subjects(&mut self) {
        for (place, subject) in (0..).zip(self.uids.clone()) {
            for (number, observer) in (0..).zip(self.observers_at(place).to_vec()) {
                if let Some(node) = self.nodes.get_mut(observer) {
                    node.subjects.push(subject);
                    node.links.push((place, number));
                }
            }
        }
    }

    /// Where a listed member stands among all, in the order of their UIDs.
    #[must_use]
    pub fn place(&self, uid: Uid) -> Option<usize> {
        self.uids.binary_search(&uid).ok()
    }

    /// How many are listed, so how many places there are.
    #[must_use]
    pub fn places(&self) -> usize {
        self.uids.len()
    }

    /// Who stands at a place.
    #[must_use]
    pub fn at(&self, place: usize) -> Option<MemberId> {
        self.nodes.get(place).map(|node| node.id)
    }

    /// The tag of whoever stands at a place.
    #[must_use]
    pub fn tag_at(&self, place: usize) -> Option<Tag> {
        self.nodes.get(place).map(|node| node.tag)
    }

    fn node(&self, uid: Uid) -> Option<&Node> {
        self.nodes.get(self.place(uid)?)
    }

    /// A member of the map that this is the graph of; nobody in any other map.
    #[must_use]
    pub fn member<'a>(&self, map: &'a Map, uid: Uid) -> Option<&'a Member> {
        let member = map.members.get(self.node(uid)?.in_map);
        member.filter(|member| member.uid == uid)
    }

    /// Whether the map that this is the graph of lists exactly this process.
    #[must_use]
    pub fn lists(&self, map: &Map, id: MemberId) -> bool {
        self.member(map, id.uid)
            .is_some_and(|member| member.id() == id)
    }

    /// How many members take part.
    #[must_use]
    pub fn len(&self) -> usize {
        self.active
    }

    /// Whether nobody takes part.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.active == 0
    }

    /// Members that take part, sorted.
    pub fn members(&self) -> impl Iterator<Item = Uid> + '_ {
        let all = self.uids.iter().zip(&self.nodes);
        all.filter(|(_, node)| node.takes_part).map(|(uid, _)| *uid)
    }

    /// Whether whoever stands at a place takes part: the map lists it, and not as failed.
    #[must_use]
    pub fn takes_part_at(&self, place: usize) -> bool {
        self.nodes.get(place).is_some_and(|node| node.takes_part)
    }

    /// Who observes that member.
    #[must_use]
    pub fn observers(&self, uid: Uid) -> &[Uid] {
        self.node(uid).map_or(&[], |node| &node.observers)
    }

    /// Whom that member observes.
    #[must_use]
    pub fn subjects(&self, uid: Uid) -> &[Uid] {
        self.node(uid).map_or(&[], |node| &node.subjects)
    }

    /// Places of those who observe the member at that place.
    #[must_use]
    pub fn observers_at(&self, place: usize) -> &[usize] {
        self.nodes.get(place).map_or(&[], |node| &node.observers_at)
    }

    /// Places of those whom the member at that place observes, each with the number that it has among all observers there.
    #[must_use]
    pub fn links_at(&self, place: usize) -> &[(usize, usize)] {
        self.nodes.get(place).map_or(&[], |node| &node.links)
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
        self.place(subject)
            .is_some_and(|place| self.operator_observes_at(place))
    }

    /// The same of whoever stands at a place.
    #[must_use]
    pub fn operator_observes_at(&self, place: usize) -> bool {
        self.operator_may_observe() && self.takes_part_at(place)
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
