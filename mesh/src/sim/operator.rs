//! A small model of the operator around the real [`Watch`]: it gathers what happens for 300 ms, then
//! records, signs and publishes the next map. What it recorded outlives it, as in the API server; all
//! else is lost when it is down.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use super::connection::resend_pause;
use super::node::name_of;
use super::{Happening, NodeId, OPERATOR, Simulation};
use crate::batch::Batch;
use crate::identity::{Epoch, Keypair, MemberId, PublicKey, Uid};
use crate::machine::Event;
use crate::map::{Map, Member, Owner};
use crate::signed::SignedMap;
use crate::slot::SlotSet;
use crate::time::Instant;
use crate::watch::{Watch, WatchConfig};

/// Time that it takes to record a map.
const RECORD_TIME: Duration = Duration::from_millis(10);
/// Map changes that are remembered for tests.
pub const CHANGES_MAX: usize = 1 << 16;

/// One map after the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapChange {
    /// When it was published.
    pub at: Instant,
    /// Its epoch.
    pub epoch: Epoch,
    /// Members that it admits, also in the place of an older process.
    pub admitted: Vec<NodeId>,
    /// Members that took part by the map before, and by this one do not.
    pub removed: Vec<NodeId>,
    /// Slots whose owner is another one.
    pub slots_moved: u16,
}

/// The operator.
#[derive(Debug)]
pub(super) struct Operator {
    pub(super) key: Keypair,
    pub(super) watch: Option<Watch>,
    pub(super) generation: u32,
    pub(super) wake: Option<Instant>,
    /// What the API server holds.
    pub(super) record: SignedMap,
    candidates: BTreeMap<NodeId, PublicKey>,
    failed: BTreeSet<MemberId>,
    leaving: BTreeSet<MemberId>,
    gone: BTreeSet<Uid>,
    batch: Batch,
    /// Whether a write is under way.
    writes: bool,
    pub(super) changes: Vec<MapChange>,
}

impl Operator {
    pub(super) fn new(key: Keypair, record: SignedMap) -> Self {
        Self {
            key,
            watch: None,
            generation: 0,
            wake: None,
            record,
            candidates: BTreeMap::new(),
            failed: BTreeSet::new(),
            leaving: BTreeSet::new(),
            gone: BTreeSet::new(),
            batch: Batch::default(),
            writes: false,
            changes: Vec::new(),
        }
    }

    fn is_removed(&self, member: &Member) -> bool {
        let id = member.id();
        self.failed.contains(&id) || self.leaving.contains(&id) || self.gone.contains(&member.uid)
    }

    fn has_changes(&self) -> bool {
        !self.candidates.is_empty() || self.has_removals()
    }

    fn has_removals(&self) -> bool {
        let mut members = self.record.map().active();
        members.any(|member| self.is_removed(member))
    }

    /// Forgets what the record now says.
    fn settle(&mut self) {
        let map = self.record.map().clone();
        let listed = |key: &PublicKey| map.members.iter().any(|member| member.key == *key);
        self.candidates.retain(|_, key| !listed(key));
        self.failed.retain(|id| map.lists(*id));
        self.leaving.retain(|id| map.lists(*id));
        self.gone.retain(|uid| map.member(*uid).is_some());
    }
}

impl Simulation {
    pub(super) fn start_operator(&mut self) {
        if self.operator.watch.is_some() {
            return;
        }
        let config = WatchConfig {
            keypair: self.operator.key.clone(),
            first_sequence: self.now.as_micros() + 1,
            take_census: false,
        };
        let watch = Watch::new(config, self.operator.record.clone(), self.now);
        self.operator.generation += 1;
        self.operator.watch = Some(watch);
        self.operator.wake = None;
        self.carry_out(OPERATOR);
        self.begin_batch(Batch::begin);
    }

    pub(super) fn stop_operator(&mut self) {
        self.connections.stale = true;
        self.operator.watch = None;
        self.operator.generation += 1;
        self.operator.candidates.clear();
        self.operator.failed.clear();
        self.operator.leaving.clear();
        self.operator.batch.close();
        self.operator.writes = false;
    }

    pub(super) fn on_operator_event(&mut self, event: &Event) {
        let protocol = &self.operator.record.map().protocol;
        let interval = Duration::from_millis(protocol.heartbeat_interval_ms.into());
        match event {
            Event::Verdict { failed, .. } => {
                self.operator.failed = failed.iter().copied().collect();
                self.check_verdict(OPERATOR, failed);
            }
            Event::VerdictWithdrawn { .. } => self.operator.failed.clear(),
            Event::VerdictAwaited { .. } => {
                return self.begin_batch(|batch, now| batch.hold_for_deaths(now, interval));
            }
            Event::Leaving { member } => {
                self.operator.leaving.insert(*member);
            }
            _ => return,
        }
        self.begin_batch(|batch, now| {
            batch.release();
            match event {
                Event::Verdict { .. } => batch.ripen(now, interval),
                _ => batch.hasten(now),
            }
        });
    }

    /// The API server says that a pod does not exist any more.
    pub(super) fn pod_gone(&mut self, uid: Uid) {
        if self.operator.record.map().member(uid).is_none() {
            return;
        }
        self.operator.gone.insert(uid);
        self.begin_batch(Batch::hasten);
    }

    pub(super) fn on_join_request(&mut self, node: NodeId, key: PublicKey) {
        if self.operator.watch.is_none() || !self.settings.admits {
            return;
        }
        let record = self.operator.record.map();
        if record.members.iter().any(|member| member.key == key) {
            return self.answer_join(node, key);
        }
        self.operator.candidates.insert(node, key);
        let crowd = !self.operator.has_removals();
        self.begin_batch(if crowd {
            Batch::hold_for_joins
        } else {
            Batch::begin
        });
    }

    fn answer_join(&mut self, node: NodeId, key: PublicKey) {
        if let Some(after) = self.network.carry_of_join(OPERATOR, node, resend_pause(0)) {
            let map = Box::new(self.operator.record.clone());
            self.schedule
                .push(self.now + after, Happening::JoinAnswer { node, key, map });
        }
    }

    /// What comes during a write opens a window after it.
    fn begin_batch(&mut self, change: impl FnOnce(&mut Batch, Instant)) {
        let due = self.operator.watch.is_some() && self.operator.has_changes();
        if due && !self.operator.writes {
            let before = self.operator.batch.ends();
            change(&mut self.operator.batch, self.now);
            self.wait_for_batch(before);
        }
    }

    fn wait_for_batch(&mut self, before: Option<Instant>) {
        let ends = self.operator.batch.ends();
        if let Some(at) = ends.filter(|_| ends != before) {
            let generation = self.operator.generation;
            self.schedule.push(at, Happening::BatchEnds { generation });
        }
    }

    /// The window may have moved since.
    pub(super) fn batch_ends(&mut self, generation: u32) {
        let current = generation == self.operator.generation;
        if !current
            || self
                .operator
                .batch
                .ends()
                .is_none_or(|ends| ends > self.now)
        {
            return;
        }
        self.operator.batch.close();
        if !self.operator.has_changes() {
            return;
        }
        self.operator.writes = true;
        let map = self.next_map();
        match SignedMap::sign(map, &self.operator.key) {
            Ok(map) => self.schedule.push(
                self.now + RECORD_TIME,
                Happening::Recorded {
                    generation,
                    map: Box::new(map),
                },
            ),
            Err(error) => {
                let found = Err(error.to_string());
                self.invariants.keep(self.now, "MapsAreSound", found);
            }
        }
    }

    pub(super) fn recorded(&mut self, generation: u32, map: Box<SignedMap>) {
        if generation != self.operator.generation {
            return;
        }
        self.note_change(&map);
        let candidates = self.operator.candidates.clone();
        self.operator.record = (*map).clone();
        self.operator.settle();
        self.operator.writes = false;
        let now = self.now;
        if let Some(watch) = &mut self.operator.watch {
            watch.publish(now, *map);
        }
        self.carry_out(OPERATOR);
        for (node, key) in candidates {
            if self.operator.candidates.get(&node) != Some(&key) {
                self.answer_join(node, key);
            }
        }
        self.begin_batch(Batch::begin);
    }

    fn next_map(&self) -> Map {
        let mut map = (**self.operator.record.map()).clone();
        map.epoch += 1;
        if self.freezes(&map) {
            for member in &mut map.members {
                member.failed |= self.operator.is_removed(member);
            }
        } else {
            map.members
                .retain(|member| !self.operator.is_removed(member));
        }
        for (node, key) in &self.operator.candidates {
            let Some(place) = self.node(*node) else {
                continue;
            };
            let older = map
                .members
                .iter()
                .position(|member| member.uid == place.uid);
            // A process that restarted keeps the slots of the one before it.
            let owners = match older {
                Some(older) => map.members.remove(older).owners,
                None => vec![owner_on(*node, place.uid, self.address_at(*node))],
            };
            let address = self.address_at(*node);
            let zone = self.zone_of(*node);
            let mut member = member_on(*node, zone, place.uid, *key, map.epoch);
            member.address = address;
            member.owners = owners;
            map.members.push(member);
        }
        map.members.sort_by(|a, b| a.name.cmp(&b.name));
        rehome(&mut map);
        map
    }

    /// Too many failed for one cause to be believed: they are recorded, and their slots stay in their name.
    fn freezes(&self, map: &Map) -> bool {
        let Some(percent) = self.settings.freeze_above_percent else {
            return false;
        };
        let gone = |member: &&Member| member.failed || self.operator.is_removed(member);
        let gone = map.members.iter().filter(gone).count();
        gone > 1 && gone * 100 > map.members.len() * usize::from(percent)
    }

    fn note_change(&mut self, next: &SignedMap) {
        let (before, after) = (self.operator.record.map().clone(), next.map().clone());
        let found = self.invariants.healthy.observe_map(&after);
        self.invariants.keep(self.now, "NoHealthyRemoved", found);
        let node = |member: &Member| self.node_of(member.uid);
        let admitted = after.members.iter().filter(|m| !before.lists(m.id()));
        let removed = before
            .active()
            .filter(|m| after.member(m.uid).is_none_or(|m| m.failed));
        let change = MapChange {
            at: self.now,
            epoch: after.epoch,
            admitted: admitted.filter_map(node).collect(),
            removed: removed.filter_map(node).collect(),
            slots_moved: slots_moved(&before, &after),
        };
        if self.operator.changes.len() < CHANGES_MAX {
            self.operator.changes.push(change);
        }
    }
}

/// A member as the operator lists it.
pub(super) fn member_on(node: NodeId, zone: u16, uid: Uid, key: PublicKey, epoch: Epoch) -> Member {
    let address = super::node::address_of(node, 0);
    Member {
        name: name_of(node),
        uid,
        incarnation: epoch,
        key,
        node: format!("node-{:05}", node.0),
        zone: format!("zone-{zone}"),
        address,
        failed: false,
        owners: vec![owner_on(node, uid, address)],
    }
}

fn owner_on(node: NodeId, uid: Uid, address: SocketAddr) -> Owner {
    Owner {
        name: name_of(node),
        uid,
        address,
        capacity: 100,
        slots: SlotSet::empty(),
    }
}

/// Gives what nobody owns to those who own least, the first of equals first.
pub(super) fn rehome(map: &mut Map) {
    let owned = map.owners().fold(SlotSet::empty(), |slots, (_, owner)| {
        slots.union(&owner.slots)
    });
    let mut free = map.slots.difference(&owned);
    let count = u16::try_from(map.members.len()).unwrap_or(u16::MAX).max(1);
    let fair = map.slots.len().div_ceil(count);
    let owners = map.members.iter_mut().flat_map(|m| m.owners.iter_mut());
    let mut owners: Vec<&mut Owner> = owners.collect();
    owners.sort_by_key(|owner| owner.slots.len());
    for owner in owners {
        let room = fair.saturating_sub(owner.slots.len());
        owner.slots = owner.slots.union(&free.take_lowest(room));
    }
}

fn slots_moved(before: &Map, after: &Map) -> u16 {
    let kept = |owner: &Owner| {
        let others = before.owners().find(|(_, other)| other.uid == owner.uid);
        others.map_or(0, |(_, other)| owner.slots.intersection(&other.slots).len())
    };
    let kept: u16 = after.owners().map(|(_, owner)| kept(owner)).sum();
    after.served_slots().saturating_sub(kept)
}
