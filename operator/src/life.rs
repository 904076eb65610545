//! A member's life, as the operator sees it: joins, deaths and departures go in, the next map comes
//! out. Pure: time is a parameter, and what it wants written is data.
//!
//! ```text
//!   join ──▶ candidate ──▶ listed ──┬─ verdict ───────────────▶ removed, its slots re-homed
//!              (batch)        ▲     ├─ presumed dead ──────────▶ removed, its slots re-homed
//!                             │     ├─ says Leave, or pod gone ▶ removed, its slots re-homed
//!                             ├─────┴─ joins again (new key) ──▶ replaced, keeps its slots
//!                             │
//!                             └─ joins again ── listed as failed, with its slots ◀── too many
//!                                                (`freeze.rs`: what too many are)
//! ```
//!
//! A removed member's slots go to its heir on the same node where there is one (`heirs.rs`), else to
//! whom the plan gives them.

mod build;
mod chain;
mod freeze;
mod heirs;
mod standing;
mod types;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use slotmesh_mesh::batch::Batch;
use slotmesh_mesh::identity::{MemberId, PublicKey, Uid};
use slotmesh_mesh::limits;
use slotmesh_mesh::map::{DirectoryEntry, Map, Member};
use slotmesh_mesh::time::Instant;

use crate::seam::{FrozenCause, Inventory, PlanPreview};

use chain::Chain;
use freeze::Freezes;
pub use types::{Candidate, LifeError, LifeSettings, Policy, Proposal};

/// The first map waits that long, after the first join, for pods that are still missing.
pub const FIRST_MAP_WAIT: Duration = Duration::from_secs(10);

/// What the API says of a pod, as far as a life depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pod {
    node: String,
    /// Neither being deleted nor finished.
    lives: bool,
    capacity: u16,
}

/// What the API says of a cell's pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Pods {
    by_uid: BTreeMap<Uid, Pod>,
    /// Members that there should be, once the DaemonSet is known.
    wanted: Option<usize>,
}

/// The life of the members of one cell.
#[derive(Clone, Debug)]
pub struct Life {
    settings: LifeSettings,
    policy: Policy,
    pods: Pods,
    map: Option<Map>,
    candidates: BTreeMap<Uid, Candidate>,
    /// Found failed by the mesh, and since when.
    failed: BTreeMap<MemberId, Instant>,
    /// Dead by the operator's probes and the API's word, where the mesh could not prove it.
    presumed: BTreeSet<MemberId>,
    leaving: BTreeSet<MemberId>,
    /// The other cells, as the next map is to name them; none as long as nobody has said.
    directory: Option<Vec<DirectoryEntry>>,
    gone: BTreeSet<Uid>,
    /// Listed members whose pod is gone or on its way out, and since when.
    away_since: BTreeMap<Uid, Instant>,
    /// Pods whose member was found failed, until they are listed again.
    lost: BTreeSet<Uid>,
    chain: Chain,
    freezes: Freezes,
    preview: Option<PlanPreview>,
    first_join: Option<Instant>,
    /// The wait for the first map is over, and time alone will not bring it.
    waits_for_others: bool,
    batch: Batch,
    /// Something other than a member's fate changed: look whether another map would be made now.
    look_again: bool,
}

impl Life {
    /// From the recorded map, if there is one.
    #[must_use]
    pub fn new(settings: LifeSettings, map: Option<Map>, now: Instant) -> Self {
        let mut life = Self {
            settings,
            policy: Policy::default(),
            pods: Pods::default(),
            map: None,
            candidates: BTreeMap::new(),
            failed: BTreeMap::new(),
            presumed: BTreeSet::new(),
            leaving: BTreeSet::new(),
            directory: None,
            gone: BTreeSet::new(),
            away_since: BTreeMap::new(),
            lost: BTreeSet::new(),
            chain: Chain::default(),
            freezes: Freezes::default(),
            preview: None,
            first_join: None,
            waits_for_others: false,
            batch: Batch::default(),
            look_again: false,
        };
        if map.is_some() {
            life.reload(map, now);
        }
        life
    }

    /// What the API server holds, read again after a doubt; agents that wait go on waiting.
    pub fn reload(&mut self, map: Option<Map>, now: Instant) {
        self.look_again = true;
        match map {
            // What this operator holds already, it has judged already; and a window that is open closes
            // when it would have, however often somebody touches the record.
            Some(map) if self.map.as_ref() == Some(&map) => self.begin_batch(now),
            Some(map) => {
                if self.map.as_ref().map(Map::version) != Some(map.version()) {
                    self.freezes.resume(now, &map, self.policy);
                }
                self.recorded(map, now);
            }
            None => {
                self.map = None;
                self.preview = None;
                self.batch.close();
                self.begin_batch(now);
            }
        }
    }

    /// What the spec wants.
    pub fn set_policy(&mut self, now: Instant, policy: Policy) {
        if self.policy == policy {
            return;
        }
        if self.map.is_some() && policy.max_unhealthy_percent > self.policy.max_unhealthy_percent {
            self.freezes.limit_was_raised();
        }
        self.policy = policy;
        self.look_again = true;
        self.begin_batch(now);
        self.preview_again();
    }

    /// What the API says of the cell's pods: their nodes' capacity, who is on the way out, and who has
    /// a successor on its node.
    pub fn set_inventory(&mut self, now: Instant, inventory: &Inventory) {
        let pod = |pod: &crate::seam::PodFacts| Pod {
            node: pod.node.clone(),
            lives: !pod.deleting && !pod.finished,
            capacity: pod.capacity,
        };
        let by_uid = inventory.pods.iter().map(|(uid, facts)| (*uid, pod(facts)));
        let pods = Pods {
            by_uid: by_uid.collect(),
            wanted: inventory.daemon_set_uid.map(|_| inventory.wanted),
        };
        if pods == self.pods {
            return;
        }
        // Whoever was looked for in vain and is shown again was not gone.
        self.gone.retain(|uid| !pods.by_uid.contains_key(uid));
        self.pods = pods;
        self.note_who_is_away(now);
        self.look_again = true;
        self.begin_batch(now);
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

    /// Why nothing is planned, if so: each cause with who, why and the next command.
    #[must_use]
    pub fn frozen(&self) -> &BTreeMap<FrozenCause, String> {
        self.freezes.told()
    }

    /// What evening out would come to, while it only may be shown.
    #[must_use]
    pub fn preview(&self) -> Option<&PlanPreview> {
        self.preview.as_ref().filter(|_| self.frozen().is_empty())
    }

    /// Whether that pod cannot be listed because the cell lists as many members as it can.
    #[must_use]
    pub fn is_full_for(&self, uid: Uid) -> bool {
        let map = self.map.as_ref();
        map.is_some_and(|map| map.members.len() >= limits::MEMBERS_MAX && map.member(uid).is_none())
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
        // The first map waits for all that are wanted anyway.
        if self.map.is_some() && self.has_changes() && !self.is_anybody_in_question() {
            self.batch.hold_for_joins(now);
        }
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
        if self.failed.keys().eq(&failed) {
            return;
        }
        let since = |id: MemberId| (id, self.failed.get(&id).copied().unwrap_or(now));
        let failed = failed.into_iter().map(since).collect();
        self.failed = failed;
        self.note_who_is_away(now);
        self.batch.release();
        self.begin_batch(now);
        if !self.failed.is_empty() && self.is_anybody_in_question() {
            self.batch.ripen(now, self.interval());
        }
    }

    /// The mesh is about to find more: those that it has found wait for them.
    pub fn await_deaths(&mut self, now: Instant) {
        self.batch.hold_for_deaths(now, self.interval());
    }

    /// The operator's own probes stay unanswered and the API says that pod or node is not well.
    pub fn presume_dead(&mut self, now: Instant, member: MemberId) {
        self.presumed.insert(member);
        self.begin_batch(now);
    }

    /// Whose death the mesh still finds and cannot prove: of all others a presumption no longer holds.
    pub fn keep_presumed(&mut self, unproven: &BTreeSet<MemberId>) {
        self.presumed.retain(|member| unproven.contains(member));
    }

    /// The other cells of the cluster are these.
    pub fn set_directory(&mut self, now: Instant, directory: Vec<DirectoryEntry>) {
        self.directory = Some(directory);
        self.begin_batch(now);
    }

    /// Whether a map is recorded and nothing waits to be changed in it, nor anybody to inherit.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        let no_heirs = |map: &Map| self.heirs(map).is_empty();
        self.map.as_ref().is_some_and(no_heirs) && !self.has_changes()
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
        if self.gone.insert(uid) {
            self.away_since.insert(uid, now);
        }
        self.begin_batch(now);
    }

    /// A map was recorded: ours, or one found there.
    pub fn recorded(&mut self, map: Map, now: Instant) {
        if let Some(before) = self.map.take() {
            self.chain.follow(now, &before, &map, |member| {
                member.failed
                    || self.failed.contains_key(&member.id())
                    || self.presumed.contains(&member.id())
            });
            let dropped = before.members.iter().filter(|member| member.failed);
            self.lost.extend(dropped.map(|member| member.uid));
        }
        let found_dead = self.failed.keys().chain(&self.presumed);
        self.lost.extend(found_dead.map(|member| member.uid));
        self.lost
            .retain(|uid| map.member(*uid).is_none() && !self.gone.contains(uid));
        self.candidates.retain(|uid, candidate| {
            map.member(*uid)
                .is_none_or(|member| member.key != candidate.key)
        });
        self.failed.retain(|member, _| map.lists(*member));
        self.presumed.retain(|member| map.lists(*member));
        self.leaving.retain(|member| map.lists(*member));
        self.gone.retain(|uid| map.member(*uid).is_some());
        self.map = Some(map);
        self.note_who_is_away(now);
        self.preview_again();
        self.batch.close();
        self.begin_batch(now);
    }

    /// When to ask for a proposal again.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        if self.policy.paused {
            return None;
        }
        let Some(map) = &self.map else {
            let waited = self.first_join.map(|first| first + FIRST_MAP_WAIT);
            return waited.filter(|_| !self.waits_for_others);
        };
        // A cell that was split changes no more.
        let may_change = map.delegation.is_empty();
        self.batch
            .ends()
            .or(self.freezes.next_look())
            .filter(|_| may_change)
    }

    /// The next map, if it is time for one. `wanted` members are expected, `old_pods` belong to a
    /// cluster of the same name that was deleted.
    ///
    /// # Errors
    /// When planner and checker disagree.
    pub fn propose(
        &mut self,
        now: Instant,
        wanted: usize,
        old_pods: usize,
    ) -> Result<Option<Proposal>, LifeError> {
        if self.policy.paused {
            return Ok(None);
        }
        let Some(map) = &self.map else {
            let complete = !self.candidates.is_empty() && self.candidates.len() >= wanted;
            let waited = self
                .first_join
                .is_some_and(|first| now >= first + FIRST_MAP_WAIT);
            let batched = self.batch.ends().is_some_and(|ends| now >= ends);
            let due =
                old_pods == 0 && !self.candidates.is_empty() && (waited || (complete && batched));
            self.waits_for_others = waited && !due;
            return if due { self.first_map() } else { Ok(None) };
        };
        if self.next_deadline().is_none_or(|at| now < at) {
            return Ok(None);
        }
        let standing = self.standing(map, now);
        let third = self.chain.third_death(now, self.newly_dead(map, &standing));
        let policy = self.policy;
        self.freezes.assess(now, &standing, third, policy);
        self.batch.close();
        self.look_again = false;
        self.next_map(&standing)
    }

    fn begin_batch(&mut self, now: Instant) {
        if self.is_anybody_in_question() {
            self.batch.hasten(now);
        } else if self.has_changes() {
            self.batch.begin(now);
        }
    }

    /// Whether there may be something to do; what there is, [`Life::propose`] finds out.
    fn has_changes(&self) -> bool {
        let Some(map) = &self.map else {
            return !self.candidates.is_empty();
        };
        if !map.delegation.is_empty() {
            // Its parts go on.
            return false;
        }
        self.look_again
            || !self.candidates.is_empty()
            || self
                .directory
                .as_ref()
                .is_some_and(|directory| *directory != map.directory)
            || map.protocol.heartbeat_interval_ms != self.settings.heartbeat_interval_ms
            || self.is_anybody_in_question()
    }

    /// Time between two beats, by the map in force.
    fn interval(&self) -> Duration {
        let map = self.map.as_ref();
        let ms = map.map_or(self.settings.heartbeat_interval_ms, |map| {
            map.protocol.heartbeat_interval_ms
        });
        Duration::from_millis(ms.into())
    }

    fn is_anybody_in_question(&self) -> bool {
        let may_change = |map: &&Map| map.delegation.is_empty();
        let map = self.map.as_ref().filter(may_change);
        map.is_some_and(|map| map.members.iter().any(|member| self.is_in_question(member)))
    }

    fn is_dead(&self, member: &Member) -> bool {
        self.failed.contains_key(&member.id()) || self.presumed.contains(&member.id())
    }

    fn is_in_question(&self, member: &Member) -> bool {
        member.failed
            || self.is_dead(member)
            || self.leaving.contains(&member.id())
            || self.gone.contains(&member.uid)
    }

    /// Keeps since when listed members' pods are gone or on the way out.
    fn note_who_is_away(&mut self, now: Instant) {
        let listed = self.map.iter().flat_map(|map| &map.members);
        let away: BTreeSet<Uid> = listed
            .map(|member| member.uid)
            .filter(|uid| self.is_away(*uid))
            .collect();
        self.away_since.retain(|uid, _| away.contains(uid));
        for uid in away {
            self.away_since.entry(uid).or_insert(now);
        }
    }

    fn is_away(&self, uid: Uid) -> bool {
        self.gone.contains(&uid) || self.pods.by_uid.get(&uid).is_some_and(|pod| !pod.lives)
    }
}

#[cfg(test)]
pub(super) mod tests;
