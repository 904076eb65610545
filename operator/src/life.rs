//! A member's life, as the operator sees it: joins, deaths and departures go in, the next map comes
//! out. Pure: time is a parameter, and what it wants written is data.
//!
//! ```text
//!   join ──▶ candidate ──▶ listed ──┬─ verdict ───────────────▶ removed, its slots re-homed
//!              (batch)        ▲     ├─ presumed dead ──────────▶ removed, its slots re-homed
//!                             │     ├─ says Leave, or pod gone ▶ removed, its slots re-homed
//!                             └─────┴─ joins again (new key) ──▶ replaced, keeps its slots
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use slotmesh_mesh::identity::{Epoch, MemberId, PublicKey, Uid};
use slotmesh_mesh::limits;
use slotmesh_mesh::map::{DirectoryEntry, Map, Member, Mode, Owner, Protocol};
use slotmesh_mesh::slot::SlotSet;
use slotmesh_mesh::time::Instant;
use thiserror::Error;

use crate::plan::checker::{PlanError, check};
use crate::plan::{Holding, Snapshot, plan};

/// Joins and deaths within that time are one epoch.
pub const BATCH: Duration = Duration::from_millis(300);
/// The first map waits that long, after the first join, for pods that are still missing.
pub const FIRST_MAP_WAIT: Duration = Duration::from_secs(10);

/// What does not change in the life of a cell.
#[derive(Clone, Debug)]
pub struct LifeSettings {
    /// UID of the cluster.
    pub cluster: Uid,
    /// Name of the cell.
    pub cell: String,
    /// Epoch of the first map.
    pub first_epoch: Epoch,
    /// As the spec wants it.
    pub heartbeat_interval_ms: u32,
}

/// An agent that proved who it is and wants to be listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// UID of its pod.
    pub uid: Uid,
    /// Key of its process.
    pub key: PublicKey,
    /// Name of its pod.
    pub name: String,
    /// Its node.
    pub node: String,
    /// Its zone; empty when unknown.
    pub zone: String,
    /// Its mesh port.
    pub address: SocketAddr,
    /// Where clients are sent to.
    pub client_address: SocketAddr,
    /// Weight of the owner on it.
    pub capacity: u16,
}

/// The next map, and what it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// To be recorded.
    pub map: Map,
    /// Names of new members.
    pub joined: Vec<String>,
    /// Names of members that were found failed and are back.
    pub recovered: Vec<String>,
    /// Names of members that failed.
    pub failed: Vec<String>,
    /// Names of members that left or whose pod is gone.
    pub left: Vec<String>,
    /// Slots that had lost their owner.
    pub failed_over: u16,
    /// Slots that change their owner.
    pub moves: u16,
    /// The fewest that could.
    pub minimum_moves: u16,
}

/// Why there is no proposal though something is to be done.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum LifeError {
    /// The planner's plan does not pass the checker: a defect.
    #[error("the plan was refused by the checker: {0}")]
    Plan(#[from] PlanError),
    /// The map would break a rule.
    #[error("the next map is not valid: {0}")]
    Map(#[from] slotmesh_mesh::map::MapError),
}

/// The life of the members of one cell.
#[derive(Clone, Debug)]
pub struct Life {
    settings: LifeSettings,
    map: Option<Map>,
    candidates: BTreeMap<Uid, Candidate>,
    failed: BTreeSet<MemberId>,
    /// Dead by the operator's probes and the API's word, where the mesh could not prove it.
    presumed: BTreeSet<MemberId>,
    leaving: BTreeSet<MemberId>,
    /// The other cells, as the next map is to name them; none as long as nobody has said.
    directory: Option<Vec<DirectoryEntry>>,
    gone: BTreeSet<Uid>,
    /// Pods whose member was found failed, until they are listed again.
    lost: BTreeSet<Uid>,
    first_join: Option<Instant>,
    batch_ends: Option<Instant>,
}

impl Life {
    /// From the recorded map, if there is one.
    #[must_use]
    pub fn new(settings: LifeSettings, map: Option<Map>, now: Instant) -> Self {
        let mut life = Self {
            settings,
            map: None,
            candidates: BTreeMap::new(),
            failed: BTreeSet::new(),
            presumed: BTreeSet::new(),
            leaving: BTreeSet::new(),
            directory: None,
            gone: BTreeSet::new(),
            lost: BTreeSet::new(),
            first_join: None,
            batch_ends: None,
        };
        if let Some(map) = map {
            life.recorded(map, now);
        }
        life
    }

    /// What the API server holds, read again after a doubt; agents that wait go on waiting.
    pub fn reload(&mut self, map: Option<Map>, now: Instant) {
        match map {
            Some(map) => self.recorded(map, now),
            None => {
                self.map = None;
                self.batch_ends = None;
                self.begin_batch(now);
            }
        }
    }

    /// The newest recorded map.
    #[must_use]
    pub fn map(&self) -> Option<&Map> {
        self.map.as_ref()
    }

    /// Agents that wait to be listed.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.candidates.len()
    }

    /// Pods whose member was found failed and that are not listed again.
    #[must_use]
    pub fn lost(&self) -> &BTreeSet<Uid> {
        &self.lost
    }

    /// An agent proved who it is. Its newest key counts.
    pub fn join(&mut self, now: Instant, candidate: Candidate) {
        if self.candidates.len() >= limits::MEMBERS_MAX
            && !self.candidates.contains_key(&candidate.uid)
        {
            return;
        }
        self.first_join.get_or_insert(now);
        self.candidates.insert(candidate.uid, candidate);
        self.begin_batch(now);
    }

    /// An agent went away before it was listed.
    pub fn withdraw(&mut self, uid: Uid, key: PublicKey) {
        if self
            .candidates
            .get(&uid)
            .is_some_and(|candidate| candidate.key == key)
        {
            self.candidates.remove(&uid);
        }
    }

    /// The verdict of the mesh: exactly these have failed.
    pub fn verdict(&mut self, now: Instant, failed: BTreeSet<MemberId>) {
        self.failed = failed;
        self.begin_batch(now);
    }

    /// The operator's own probes stay unanswered and the API says that pod or node is not well.
    pub fn presume_dead(&mut self, now: Instant, member: MemberId) {
        self.presumed.insert(member);
        self.begin_batch(now);
    }

    /// The other cells of the cluster are these.
    pub fn set_directory(&mut self, now: Instant, directory: Vec<DirectoryEntry>) {
        self.directory = Some(directory);
        self.begin_batch(now);
    }

    /// Whether a map is recorded and nothing waits to be changed in it.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        self.map.is_some() && !self.has_changes()
    }

    /// A member says that it leaves.
    pub fn leave(&mut self, now: Instant, member: MemberId) {
        self.leaving.insert(member);
        self.begin_batch(now);
    }

    /// The API says that a pod does not exist any more.
    pub fn pod_gone(&mut self, now: Instant, uid: Uid) {
        self.lost.remove(&uid);
        self.candidates.remove(&uid);
        self.gone.insert(uid);
        self.begin_batch(now);
    }

    /// A map was recorded: ours, or one found there.
    pub fn recorded(&mut self, map: Map, now: Instant) {
        let found_dead = self.failed.union(&self.presumed);
        let dropped = found_dead.filter(|member| map.member(member.uid).is_none());
        self.lost.extend(dropped.map(|member| member.uid));
        self.lost
            .retain(|uid| map.member(*uid).is_none() && !self.gone.contains(uid));
        self.candidates.retain(|uid, candidate| {
            map.member(*uid)
                .is_none_or(|member| member.key != candidate.key)
        });
        self.failed.retain(|member| map.lists(*member));
        self.presumed.retain(|member| map.lists(*member));
        self.leaving.retain(|member| map.lists(*member));
        self.gone.retain(|uid| map.member(*uid).is_some());
        self.map = Some(map);
        self.batch_ends = None;
        self.begin_batch(now);
    }

    /// When to ask for a proposal again.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        if self.map.is_none() {
            return self.first_join.map(|first| first + FIRST_MAP_WAIT);
        }
        self.batch_ends
    }

    /// The next map, if it is time for one. `wanted` members are expected, `old_pods` belong to a
    /// cluster of the same name that was deleted.
    ///
    /// # Errors
    /// When planner and checker disagree.
    pub fn propose(
        &self,
        now: Instant,
        wanted: usize,
        old_pods: usize,
    ) -> Result<Option<Proposal>, LifeError> {
        let due = match &self.map {
            Some(_) => self.batch_ends.is_some_and(|ends| now >= ends) && self.has_changes(),
            None => {
                let complete = !self.candidates.is_empty() && self.candidates.len() >= wanted;
                let waited = self
                    .first_join
                    .is_some_and(|first| now >= first + FIRST_MAP_WAIT);
                let batched = self.batch_ends.is_some_and(|ends| now >= ends);
                old_pods == 0 && !self.candidates.is_empty() && (waited || (complete && batched))
            }
        };
        if due {
            self.build().map(Some)
        } else {
            Ok(None)
        }
    }

    fn begin_batch(&mut self, now: Instant) {
        if self.batch_ends.is_none() && self.has_changes() {
            self.batch_ends = Some(now + BATCH);
        }
    }

    fn has_changes(&self) -> bool {
        let Some(map) = &self.map else {
            return !self.candidates.is_empty();
        };
        if !map.delegation.is_empty() {
            // Its parts go on.
            return false;
        }
        !self.candidates.is_empty()
            || self
                .directory
                .as_ref()
                .is_some_and(|directory| *directory != map.directory)
            || map.protocol.heartbeat_interval_ms != self.settings.heartbeat_interval_ms
            || map.members.iter().any(|member| self.is_removed(member))
    }

    fn is_dead(&self, member: &Member) -> bool {
        self.failed.contains(&member.id()) || self.presumed.contains(&member.id())
    }

    fn is_removed(&self, member: &Member) -> bool {
        self.is_dead(member)
            || self.leaving.contains(&member.id())
            || self.gone.contains(&member.uid)
    }

    fn build(&self) -> Result<Proposal, LifeError> {
        let mut map = self.map.clone().unwrap_or_else(|| Map {
            cluster: self.settings.cluster,
            cell: self.settings.cell.clone(),
            era: 0,
            epoch: 0,
            slots: SlotSet::full(),
            protocol: Protocol {
                mode: Mode::Affinity,
                ..Protocol::default()
            },
            members: Vec::new(),
            delegation: Vec::new(),
            directory: Vec::new(),
        });
        let parent_epoch = map.epoch;
        let served = map.owners().fold(SlotSet::empty(), |slots, (_, owner)| {
            slots.union(&owner.slots)
        });
        if let Some(directory) = &self.directory {
            map.directory.clone_from(directory);
        }
        map.protocol.heartbeat_interval_ms = self.settings.heartbeat_interval_ms;
        map.epoch = (parent_epoch + 1).max(self.settings.first_epoch);

        let (mut failed, mut left) = (Vec::new(), Vec::new());
        for member in map
            .members
            .iter()
            .filter(|member| !self.candidates.contains_key(&member.uid))
        {
            if self.gone.contains(&member.uid) || self.leaving.contains(&member.id()) {
                left.push(member.name.clone());
            } else if self.is_dead(member) {
                failed.push(member.name.clone());
            }
        }
        map.members
            .retain(|member| self.candidates.contains_key(&member.uid) || !self.is_removed(member));
        let (joined, recovered) = self.admit(&mut map);
        map.members.sort_by(|a, b| a.name.cmp(&b.name));

        let snapshot = snapshot_of(&map, parent_epoch);
        let failed_over = served.intersection(&snapshot.ownerless()).len();
        let plan = plan(&snapshot);
        check(&snapshot, &plan)?;
        for step in &plan.moves {
            for owner in map.members.iter_mut().flat_map(|member| &mut member.owners) {
                if Some(owner.uid) == step.from {
                    owner.slots.remove(&step.slots);
                } else if owner.uid == step.to {
                    owner.slots = owner.slots.union(&step.slots);
                }
            }
        }
        map.validate()?;
        let (moves, minimum_moves) = (plan.moved_slots(), plan.minimum_moves);
        Ok(Proposal {
            map,
            joined,
            recovered,
            failed,
            left,
            failed_over,
            moves,
            minimum_moves,
        })
    }

    /// Lists the candidates; one whose pod was listed takes over what its older self owned.
    fn admit(&self, map: &mut Map) -> (Vec<String>, Vec<String>) {
        let (mut joined, mut recovered) = (Vec::new(), Vec::new());
        for candidate in self.candidates.values() {
            let older = map
                .members
                .iter()
                .position(|member| member.uid == candidate.uid);
            let older = older.map(|index| map.members.remove(index));
            if older.is_none() && map.members.len() >= limits::MEMBERS_MAX {
                continue;
            }
            let names = if self.lost.contains(&candidate.uid) {
                &mut recovered
            } else {
                &mut joined
            };
            names.push(candidate.name.clone());
            let held = older.map(|member| member.slots()).unwrap_or_default();
            map.members.push(Member {
                name: candidate.name.clone(),
                uid: candidate.uid,
                incarnation: map.epoch,
                key: candidate.key,
                node: candidate.node.clone(),
                zone: candidate.zone.clone(),
                address: candidate.address,
                failed: false,
                owners: vec![Owner {
                    name: candidate.name.clone(),
                    uid: candidate.uid,
                    address: candidate.client_address,
                    capacity: candidate.capacity,
                    slots: held,
                }],
            });
        }
        (joined, recovered)
    }
}

fn snapshot_of(map: &Map, parent_epoch: Epoch) -> Snapshot {
    let holding = |owner: &Owner| Holding {
        capacity: owner.capacity,
        slots: owner.slots.clone(),
    };
    let owners = map
        .owners()
        .map(|(_, owner)| (owner.uid, holding(owner)))
        .collect();
    Snapshot {
        parent_epoch,
        slots: map.slots.clone(),
        owners,
    }
}

#[cfg(test)]
mod tests;
