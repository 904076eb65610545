//! One membership: from the first map that lists this agent's key to the one that no longer does.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use slotmesh_mesh::counters::Counters;
use slotmesh_mesh::identity::{Epoch, MemberId};
use slotmesh_mesh::limits;
use slotmesh_mesh::machine::{Event, Input};
use slotmesh_mesh::member::{Health, MemberHealth, Mesh, MeshConfig};
use slotmesh_mesh::signed::SignedMap;
use slotmesh_transport::clock;
use slotmesh_transport::driver::{Driver, DriverConfig, TrafficSums};
use slotmesh_transport::refusal::Refusal;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Interval, MissedTickBehavior};

use crate::config::Config;
use crate::door::Door;
use crate::error::AgentError;
use crate::join::Joined;
use crate::metrics::Metrics;
use crate::renewal::Renewal;
use crate::snapshot::{Degraded, Partings, Shared, Snapshot, Standing};

/// Pace at which counters reach the metrics.
const TICK: Duration = Duration::from_secs(1);

/// What changes how an agent lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// A map no longer lists this agent.
    Deposed { epoch: Epoch },
    /// Nobody is heard. Perhaps everybody closed the door while this process slept, perhaps the
    /// network is cut; only the operator can tell.
    Alone,
    /// Somebody is heard again: it was the network.
    Heard,
    /// The driver ended by itself: a defect, mended by joining again.
    Stopped,
}

/// A running membership.
#[derive(Debug)]
pub(crate) struct Member {
    driver: Driver<Mesh>,
    events: mpsc::Receiver<Event>,
    metrics: Metrics,
    snapshots: Shared,
    counters: Counters,
    traffic: TrafficSums,
    refusals: BTreeMap<Refusal, u64>,
    /// What was said of members that are still listed.
    partings: Partings,
    tick: Interval,
    silent_ticks: u32,
    alone: bool,
    door: Arc<Door>,
    /// Renews the certificate; ends with the membership.
    _renewal: AbortOnDrop,
}

/// A task that ends with its owner.
#[derive(Debug)]
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What the shell reads of the machine at once.
struct View {
    signed: SignedMap,
    me: MemberId,
    deposed: bool,
    health: Vec<MemberHealth>,
    degraded: Degraded,
    counters: Counters,
    connections: usize,
    opening_edges: usize,
    conflict: bool,
    silent_for: Duration,
}

impl Member {
    pub(crate) async fn start(
        config: &Config,
        joined: Joined,
        door: &Arc<Door>,
        metrics: &Metrics,
    ) -> Result<Self, AgentError> {
        let keypair = joined.keypair.clone();
        let mesh_config = MeshConfig {
            cluster: config.cluster_uid,
            uid: config.pod_uid,
            keypair: joined.keypair,
            map_keys: joined.anchors.map_keys.clone(),
            seed: getrandom::u64().unwrap_or_default(),
            interner: None,
        };
        let mesh = Mesh::new(mesh_config, joined.map, clock::now())?;
        let cluster = config.cluster_uid;
        let (endpoint, client) = (door.endpoint.clone(), joined.client);
        let (driver, events) = Driver::start(
            mesh,
            DriverConfig {
                endpoint,
                client,
                cluster,
            },
        );
        let renewal = Renewal {
            config: config.clone(),
            door: door.clone(),
            metrics: metrics.clone(),
            keypair,
            anchors: joined.anchors,
            validity: joined.validity,
            dialer: driver.dialer(),
        };
        let mut member = Self {
            door: door.clone(),
            _renewal: AbortOnDrop(tokio::spawn(renewal.keep())),
            driver,
            events,
            metrics: metrics.clone(),
            snapshots: door.snapshots.clone(),
            counters: Counters::default(),
            traffic: TrafficSums::default(),
            refusals: BTreeMap::new(),
            partings: Partings::default(),
            tick: tokio::time::interval(TICK),
            silent_ticks: 0,
            alone: false,
        };
        member
            .tick
            .set_missed_tick_behavior(MissedTickBehavior::Delay);
        member.publish().await;
        Ok(member)
    }

    /// Publishes what the machine knows, until something changes how this agent lives. May be dropped
    /// and called again.
    pub(crate) async fn change(&mut self) -> Change {
        loop {
            tokio::select! {
                event = self.events.recv() => {
                    let Some(event) = event else { return Change::Stopped };
                    if let Some(change) = self.take_in(event).await {
                        return change;
                    }
                }
                _ = self.tick.tick() => {
                    let Some(view) = self.publish().await else { return Change::Stopped };
                    if view.deposed {
                        // In a storm its event may have found a full queue.
                        return Change::Deposed { epoch: view.signed.map().epoch };
                    }
                    let others = view.signed.map().active().count() > 1;
                    if let Some(change) = self.listen(view.silent_for, others) {
                        // Readers see at once that answers may be outdated, or that they are not.
                        self.publish().await;
                        return change;
                    }
                }
            }
        }
    }

    /// Everything that has happened by now, then one snapshot: the machine is ahead of its events, and
    /// whoever reads it must know them all.
    async fn take_in(&mut self, event: Event) -> Option<Change> {
        let (mut next, mut news, mut deposed) = (Some(event), false, None);
        while let Some(event) = next {
            self.log(&event);
            self.partings.note(&event);
            news |= !matches!(event, Event::Refused { .. });
            if let Event::Deposed { epoch } = event {
                deposed = Some(Change::Deposed { epoch });
            }
            next = self.events.try_recv().ok();
        }
        if news {
            self.publish().await;
        }
        deposed
    }

    /// Once a tick: whether anybody is heard.
    fn listen(&mut self, silent_for: Duration, others: bool) -> Option<Change> {
        let limit = if others {
            limits::ALONE_AFTER
        } else {
            limits::ALONE_AFTER_AS_THE_ONLY
        };
        if silent_for <= limit {
            self.silent_ticks = 0;
            return std::mem::take(&mut self.alone).then_some(Change::Heard);
        }
        self.silent_ticks += 1;
        if self.alone || self.silent_ticks < limits::ALONE_TICKS {
            return None;
        }
        self.alone = true;
        Some(Change::Alone)
    }

    /// Tells the others, and waits until a map without this agent comes back.
    pub(crate) async fn leave(mut self) {
        tracing::info!("leaving the mesh");
        if self.driver.handle().input(Input::Leave).await.is_ok() {
            let gone = tokio::time::timeout(limits::LEAVE_TIMEOUT, self.lost_its_place());
            if gone.await.is_err() {
                tracing::warn!("no map without this agent came in time; leaving all the same");
            }
        }
        self.stop().await;
        tracing::info!("left");
    }

    /// Look-ups are answered until the end, so what is known goes on being published meanwhile.
    async fn lost_its_place(&mut self) {
        while let Change::Alone | Change::Heard = self.change().await {}
    }

    /// Closes every connection.
    pub(crate) async fn stop(self) {
        self.metrics.joined.set(0);
        self.driver.stop().await;
    }

    /// From now on answers are from the last map.
    pub(crate) fn become_stale(&self) {
        self.metrics.joined.set(0);
        self.metrics.alone.set(0);
        if let Some(last) = self.snapshots.load_full() {
            let former = last.with_standing(Standing::Former);
            self.snapshots.store(Arc::new(former));
        }
    }

    async fn publish(&mut self) -> Option<View> {
        let handle = self.driver.handle();
        let view = handle.with(|mesh: &mut Mesh| View {
            signed: mesh.signed_map().clone(),
            me: mesh.id(),
            deposed: mesh.is_deposed(),
            health: mesh.members(),
            degraded: Degraded::of(mesh.degraded_links()),
            counters: mesh.counters().clone(),
            connections: mesh.connections(),
            opening_edges: mesh.opening_edges(),
            conflict: mesh.has_map_conflict(),
            silent_for: clock::now().saturating_since(mesh.heard_anybody_at()),
        });
        let view = view.await.ok()?;
        self.snapshots.store(Arc::new(self.snapshot(&view)));
        self.partings.retain_for(view.signed.map());
        self.measure(&view);
        Some(view)
    }

    fn snapshot(&self, view: &View) -> Snapshot {
        let previous = self.snapshots.load_full();
        let map = view.signed.map().clone();
        let alone = self.alone && map.members.len() > 1;
        let standing = match (view.deposed, view.conflict, alone) {
            (true, _, _) => Standing::Former,
            (false, true, _) => Standing::Conflict,
            (false, false, true) => Standing::Alone,
            (false, false, false) => Standing::Member,
        };
        let now = Instant::now();
        let confirmed_at = match (standing, &previous) {
            (Standing::Member, _) | (_, None) => Some(now),
            (Standing::Alone, _) => now.checked_sub(view.silent_for),
            // As it was when doubt came up: nothing confirms the map any more.
            (_, Some(previous)) => Some(previous.confirmed_at),
        };
        let mut snapshot = Snapshot {
            map,
            signed: view.signed.clone(),
            me: view.me,
            standing,
            confirmed_at: confirmed_at.unwrap_or(now),
            health: view.health.clone(),
            degraded: view.degraded.clone(),
            departed: VecDeque::new(),
        };
        if let Some(previous) = previous {
            snapshot.remember(&previous, &self.partings);
        }
        snapshot
    }

    fn measure(&mut self, view: &View) {
        let count = |wanted| {
            i64::try_from(
                view.health
                    .iter()
                    .filter(|health| health.health == wanted)
                    .count(),
            )
            .unwrap_or(0)
        };
        let metrics = &self.metrics;
        metrics.joined.set(i64::from(!view.deposed));
        metrics.alone.set(i64::from(self.alone));
        metrics.map_conflict.set(i64::from(view.conflict));
        let map = view.signed.map();
        metrics
            .map_epoch
            .set(i64::try_from(map.epoch).unwrap_or(i64::MAX));
        metrics
            .members
            .set(i64::try_from(map.members.len()).unwrap_or(0));
        metrics
            .degraded_links
            .set(i64::try_from(view.degraded.count).unwrap_or(i64::MAX));
        metrics.suspected_members.set(count(Health::Suspect));
        metrics.failed_members.set(count(Health::Failed));
        metrics
            .connections
            .set(i64::try_from(view.connections).unwrap_or(0));
        metrics
            .opening_edges
            .set(i64::try_from(view.opening_edges).unwrap_or(0));
        metrics.follow(&self.counters, &view.counters);
        let traffic = self.driver.traffic();
        metrics.follow_traffic(self.traffic, traffic);
        let refusals = self.driver.refusals();
        metrics.follow_handshakes(&self.refusals, &refusals);
        self.refusals = refusals;
        self.counters = view.counters.clone();
        self.traffic = traffic;
    }

    fn is_me(&self, member: MemberId) -> bool {
        let snapshot = self.snapshots.load();
        snapshot.as_ref().is_some_and(|last| last.me == member)
    }

    /// One line a decision; times of verdict and map are metrics too.
    fn log(&self, event: &Event) {
        match event {
            Event::MapApplied { epoch } => {
                self.metrics.map_applied.set(unix_seconds());
                tracing::info!(epoch, "map applied");
            }
            Event::Verdict { epoch, failed } => {
                self.metrics.verdicts.inc();
                self.metrics.last_verdict.set(unix_seconds());
                let failed: Vec<String> = failed.iter().map(ToString::to_string).collect();
                tracing::warn!(epoch, failed = failed.join(","), "verdict: failed");
            }
            Event::VerdictWithdrawn { epoch } => tracing::info!(epoch, "verdict withdrawn"),
            // What others report is theirs to log: a mass of reports times a mass of members.
            Event::Suspected { observer, subject } if self.is_me(*observer) => {
                tracing::info!(%observer, %subject, "suspected");
            }
            Event::Cleared { observer, subject } if self.is_me(*observer) => {
                tracing::info!(%observer, %subject, "cleared");
            }
            Event::Suspected { .. } | Event::Cleared { .. } => tracing::debug!(?event, "mesh"),
            Event::Leaving { member } => tracing::info!(%member, "leaving"),
            Event::Deposed { .. } => {}
            Event::SelfDoubt { on: true } => {
                tracing::warn!(
                    "late, dropping messages, or hearing nobody: the fault may be here, so nobody is accused"
                );
            }
            Event::SelfDoubt { on: false } => tracing::info!("no longer in doubt of itself"),
            Event::MapConflict { epoch } => tracing::error!(
                epoch,
                "two different maps of one epoch: no further map is applied; restart the agent once the operator's record is sound"
            ),
            Event::Separated { from, to } => {
                tracing::info!(
                    from,
                    to,
                    "the cell was split: this agent belongs to a part now"
                )
            }
            // Only the operator is told of these.
            Event::Converged(_) | Event::VerdictAwaited { .. } => {}
            Event::NewerMapSeen { version } => tracing::debug!(?version, "newer map seen"),
            Event::JoinAddress { address } => {
                self.door.set_leader(*address);
                tracing::debug!(%address, "the operator answers joins there");
            }
            Event::Refused { cause } => tracing::debug!(cause, "message refused"),
        }
    }
}

fn unix_seconds() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64()
}

#[cfg(test)]
mod tests;
