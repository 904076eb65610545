//! The task of one cell: it hears of failures over the mesh, decides the next map, records it, and
//! only then signs and publishes it.
//!
//! ```text
//!   mesh ── verdict, leave ──┐                ┌─▶ record (compare-and-swap)
//!   join ── candidates ──────┼─▶ Life ─▶ map ─┤        │ written
//!   API ─── inventory ───────┘                │        ▼
//!                                             └──── sign ─▶ mesh, joiners, status
//! ```
//!
//! A record that somebody else wrote in the meantime is read again and everything starts from there.

mod certificates;
mod convergence;
mod doubts;
mod events;
mod gone;
mod mesh;
mod others_hand;
mod report;
mod running;
mod split;
mod unproven;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use slotmesh_mesh::identity::{MemberId, Uid};
use slotmesh_mesh::map::{DirectoryEntry, Map};
use slotmesh_mesh::signed::SignedMap;
use slotmesh_transport::authority::Authority;
use slotmesh_transport::clock;
use slotmesh_transport::endpoint::Credentials;
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::join::{Admission, Knock};
use crate::life::{Candidate, Life, LifeSettings, Policy, Proposal};
use crate::metrics::Metrics;
use crate::seam::{
    CellEvent, CellSettings, CellStatus, Inventory, Kubernetes, RecordFailure, RecordVersion,
    Wishes,
};

use certificates::Certificates;
use mesh::CellMesh;
use others_hand::OwnVersions;
use report::Reporter;
use running::Count;
pub(crate) use running::Running;

/// Pause after the API server failed us.
const RETRY: Duration = Duration::from_secs(1);
/// Pause between two looks at a record that cannot be used.
const FROZEN_RETRY: Duration = Duration::from_secs(5);
/// Commands that wait for a cell.
const COMMANDS_MAX: usize = 256;
/// Pace of looks at the mesh; the API is asked only about members that look dead.
const TICK: Duration = Duration::from_secs(1);

/// What a cell is made of.
pub(crate) struct Parts<K> {
    /// Whose cell, and its name.
    pub(crate) settings: CellSettings,
    pub(crate) kubernetes: Arc<K>,
    pub(crate) inventory: watch::Receiver<Inventory>,
    pub(crate) wishes: watch::Receiver<Wishes>,
    pub(crate) authority: Arc<Authority>,
    /// This operator's certificate, renewed now and then.
    pub(crate) credentials: watch::Receiver<Credentials>,
    /// How long certificates live.
    pub(crate) lifetime: Duration,
    /// Address of this operator's pod.
    pub(crate) local: IpAddr,
    /// Where it answers joins.
    pub(crate) join_address: SocketAddr,
    pub(crate) metrics: Metrics,
    pub(crate) events: mpsc::Sender<CellEvent>,
    /// Told when the cell's state has changed.
    pub(crate) poke: Arc<Notify>,
    /// Whether there may be no record yet: the cell with which a cluster begins.
    pub(crate) may_begin: bool,
    /// Whether to find out of every member that it has a map of this cell.
    pub(crate) take_census: bool,
}

/// What is asked of a running cell.
#[derive(Debug)]
pub(crate) enum Command {
    /// Something from the join endpoint.
    Knock(Knock),
    /// The other cells of the cluster, as the next map is to name them.
    Directory(Vec<DirectoryEntry>),
}

/// Where a cell is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    /// The newest recorded map, and the version of its record.
    pub(crate) recorded: Option<(Arc<Map>, RecordVersion)>,
    /// Every member has applied a map of this cell, as far as that is to be found out.
    pub(crate) settled: bool,
}

/// Starts a cell.
pub(crate) fn start<K: Kubernetes>(parts: Parts<K>) -> Running {
    let (status, status_receiver) = watch::channel(CellStatus::default());
    let (place, place_receiver) = watch::channel(Place::default());
    let (commands, commands_receiver) = mpsc::channel(COMMANDS_MAX);
    let count = Count {
        metrics: parts.metrics.clone(),
        poke: parts.poke.clone(),
    };
    let cell = Cell {
        life: Life::new(life_settings(&parts.settings), None, clock::now()),
        mesh: CellMesh::new(&parts),
        reporter: Reporter::new(status, parts.events, parts.poke.clone()),
        waiting: BTreeMap::new(),
        version: None,
        own_versions: OwnVersions::default(),
        read_at: Instant::now(),
        look_again: false,
        certificates: Certificates::new(parts.lifetime),
        settled: !parts.take_census,
        may_begin: parts.may_begin,
        metrics: parts.metrics,
        settings: parts.settings,
        kubernetes: parts.kubernetes,
        inventory: parts.inventory,
        wishes: parts.wishes,
        commands: commands_receiver,
        place,
        poke: parts.poke,
    };
    let task = tokio::spawn(async move {
        count.metrics.cells.inc();
        cell.run().await;
        drop(count);
    });
    Running {
        commands,
        status: status_receiver,
        place: place_receiver,
        task,
    }
}

fn life_settings(settings: &CellSettings) -> LifeSettings {
    LifeSettings {
        cluster: settings.cluster.uid,
        cell: settings.cell.clone(),
        first_epoch: settings.first_epoch,
        heartbeat_interval_ms: settings.heartbeat_interval_ms,
    }
}

struct Cell<K> {
    settings: CellSettings,
    kubernetes: Arc<K>,
    inventory: watch::Receiver<Inventory>,
    wishes: watch::Receiver<Wishes>,
    commands: mpsc::Receiver<Command>,
    place: watch::Sender<Place>,
    poke: Arc<Notify>,
    life: Life,
    mesh: CellMesh,
    reporter: Reporter,
    /// Agents that wait for the first map that lists them.
    waiting: BTreeMap<Uid, oneshot::Sender<Admission>>,
    version: Option<RecordVersion>,
    own_versions: OwnVersions,
    /// When the record was last read.
    read_at: Instant,
    /// A look at a pod failed: once more.
    look_again: bool,
    /// Every member has a map of this cell, as far as that is to be found out.
    settled: bool,
    /// There may be no record yet.
    may_begin: bool,
    metrics: Metrics,
    certificates: Certificates,
}

impl<K: Kubernetes> Cell<K> {
    async fn run(mut self) {
        self.take_wishes();
        self.take_inventory();
        self.load().await;
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let due = self.life.next_deadline();
            let due = due.filter(|_| self.reporter.doubts.is_empty());
            let wait = due.map(|at| at.saturating_since(clock::now()));
            tokio::select! {
                Some(command) = self.commands.recv() => self.on_command(command),
                event = self.mesh.next_event() => self.hear(event).await,
                changed = self.inventory.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.take_inventory();
                    self.look_at_the_record().await;
                    self.look_for_gone_pods().await;
                }
                changed = self.wishes.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.take_wishes();
                }
                () = sleep(wait) => {}
                _ = tick.tick() => {
                    self.tend_certificates();
                    self.look().await;
                }
            }
            self.advance().await;
            self.report();
        }
    }

    fn take_wishes(&mut self) {
        let policy = Policy::from(&*self.wishes.borrow_and_update());
        self.life.set_policy(clock::now(), policy);
    }

    fn take_inventory(&mut self) {
        let inventory = self.inventory.borrow_and_update();
        self.life.set_inventory(clock::now(), &inventory);
    }

    /// Reads the record until it can be used.
    async fn load(&mut self) {
        loop {
            self.read_at = Instant::now();
            let read = self
                .kubernetes
                .read_record(&self.settings.cluster, &self.settings.cell);
            match read.await {
                Ok(None) if !self.may_begin => self.restore().await,
                Ok(recorded) => {
                    let now = clock::now();
                    let (map, version) = match recorded {
                        Some(recorded) => (Some(recorded.map), Some(recorded.version)),
                        None => (None, None),
                    };
                    self.may_begin &= map.is_none();
                    self.own_versions.extend(version.as_ref());
                    self.version = version;
                    self.reporter.doubts.read(map.as_ref().map(Map::version));
                    self.life.reload(map.clone(), now);
                    if let Some(map) = map {
                        self.publish(map).await;
                    }
                    self.report();
                    self.look_for_gone_pods().await;
                    return;
                }
                Err(failure @ (RecordFailure::Tampered(_) | RecordFailure::Invalid(_))) => {
                    let describe = match self.life.map() {
                        Some(_) => doubts::describe_mendable,
                        None => doubts::describe,
                    };
                    let message = describe(&self.settings, &failure.to_string());
                    self.reporter.doubts.tampered(message);
                    self.reporter.report_frozen(&self.life);
                    tokio::time::sleep(FROZEN_RETRY).await;
                }
                Err(failure) => {
                    tracing::warn!(cluster = %self.settings.cluster, %failure, "the record was not read");
                    self.reporter.refused_by_api(&failure);
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Knock(knock) => self.on_knock(knock),
            Command::Directory(directory) => self.life.set_directory(clock::now(), directory),
        }
    }

    fn on_knock(&mut self, knock: Knock) {
        match knock {
            Knock::Admit { candidate, reply } => self.admit(candidate, reply),
            Knock::Withdraw { uid, key } => self.life.withdraw(uid, key),
            Knock::Refused {
                pod,
                category,
                message,
            } => {
                self.reporter.event(CellEvent::JoinRefused {
                    pod,
                    category,
                    message,
                });
            }
        }
    }

    fn admit(&mut self, candidate: Candidate, reply: oneshot::Sender<Admission>) {
        let (name, cluster) = (&candidate.name, &self.settings.cluster);
        self.certificates.issued_to(candidate.uid, Instant::now());
        let listed = self.life.map().and_then(|map| map.member(candidate.uid));
        if listed.is_some_and(|member| member.key == candidate.key) {
            tracing::info!(%cluster, pod = %name, "certificate renewed");
            // An agent that went away in the meantime has its certificate all the same.
            let _ = reply.send(Admission::Renewed);
            return;
        }
        tracing::info!(%cluster, pod = %name, node = %candidate.node, "agent asks to join");
        if self.life.is_full_for(candidate.uid) {
            self.reporter.cell_is_full_for(name);
        }
        self.waiting.insert(candidate.uid, reply);
        self.life.join(clock::now(), candidate);
    }

    fn name_of(&self, id: MemberId) -> String {
        let member = self.life.map().and_then(|map| map.member(id.uid));
        member.map_or_else(|| id.to_string(), |member| member.name.clone())
    }

    /// Records and publishes the next map, if it is time for one.
    async fn advance(&mut self) {
        if !self.reporter.doubts.is_empty() {
            if self.read_at.elapsed() < FROZEN_RETRY {
                return;
            }
            self.load().await;
            if !self.reporter.doubts.is_empty() {
                return;
            }
        }
        let (wanted, old_pods) = {
            let inventory = self.inventory.borrow();
            (inventory.wanted, inventory.old_pods)
        };
        let proposal = match self.life.propose(clock::now(), wanted, old_pods) {
            Ok(None) => return self.split_if_due().await,
            Ok(Some(proposal)) => proposal,
            Err(error) => {
                self.metrics.plans_refused.inc();
                tracing::error!(cluster = %self.settings.cluster, %error, "no map can be made; please report this");
                return tokio::time::sleep(RETRY).await;
            }
        };
        if self.write(&proposal.map).await {
            self.recorded(proposal).await;
        }
    }

    /// Writes the record; after a failure it reads what is there. Returns whether it was written.
    async fn write(&mut self, map: &Map) -> bool {
        let begun = Instant::now();
        let written = self
            .kubernetes
            .write_record(&self.settings.cluster, self.version.as_ref(), map)
            .await;
        match written {
            Ok(version) => {
                self.metrics
                    .write_seconds
                    .observe(begun.elapsed().as_secs_f64());
                self.own_versions.extend(Some(&version));
                self.version = Some(version);
                self.may_begin = false;
                self.reporter.set_forbidden(None);
                true
            }
            Err(failure) => {
                let cause = match failure {
                    RecordFailure::Tampered(_) => "tampered",
                    RecordFailure::Invalid(_) => "invalid",
                    RecordFailure::Conflict(_) => "conflict",
                    RecordFailure::Forbidden(_) => "forbidden",
                    RecordFailure::Unavailable(_) => "unavailable",
                };
                self.reporter.refused_by_api(&failure);
                self.metrics
                    .write_failures
                    .with_label_values(&[cause])
                    .inc();
                tracing::warn!(cluster = %self.settings.cluster, %failure, "the map was not recorded");
                if cause != "conflict" {
                    tokio::time::sleep(RETRY).await;
                }
                // It may have been written all the same: what counts is what is there.
                self.load().await;
                false
            }
        }
    }

    async fn recorded(&mut self, proposal: Proposal) {
        self.metrics.epochs.inc();
        self.metrics.moved_slots.inc_by(proposal.moves.into());
        if let Some(verdict_at) = proposal.verdict_at {
            let taken = clock::now().saturating_since(verdict_at);
            self.metrics.verdict_seconds.observe(taken.as_secs_f64());
        }
        tracing::info!(
            cluster = %self.settings.cluster,
            epoch = proposal.map.epoch,
            members = proposal.map.members.len(),
            joined = proposal.joined.join(","),
            recovered = proposal.recovered.join(","),
            failed = proposal.failed.join(","),
            presumed = proposal.presumed.join(","),
            overdue = proposal.overdue.join(","),
            left = proposal.left.join(","),
            moves = proposal.moves,
            minimum_moves = proposal.minimum_moves,
            "map recorded"
        );
        self.life.recorded(proposal.map.clone(), clock::now());
        self.publish(proposal.map.clone()).await;
        self.reporter.changed(&proposal);
    }

    /// Signs a recorded map, hands it to the mesh and to the agents that wait for it.
    async fn publish(&mut self, map: Map) {
        let signed = match SignedMap::sign(map, &self.settings.keys.map) {
            Ok(signed) => signed,
            Err(error) => {
                let message = doubts::describe(&self.settings, &error.to_string());
                return self.reporter.doubts.tampered(message);
            }
        };
        self.mesh.publish(&signed).await;
        let listed: Vec<Uid> = self
            .waiting
            .keys()
            .filter(|uid| signed.map().member(**uid).is_some())
            .copied()
            .collect();
        for uid in listed {
            if let Some(reply) = self.waiting.remove(&uid) {
                // An agent that went away in the meantime joins again.
                let _ = reply.send(Admission::Listed(signed.clone()));
            }
        }
    }

    fn report(&mut self) {
        let inventory = self.inventory.borrow().clone();
        self.reporter
            .report(&self.life, &inventory, self.mesh.reach());
        let recorded = self.life.map().zip(self.version.as_ref());
        let same = match (recorded, &self.place.borrow().recorded) {
            (Some((_, version)), Some((_, told))) => version == told,
            (recorded, told) => recorded.is_none() && told.is_none(),
        };
        if same && self.place.borrow().settled == self.settled {
            return;
        }
        self.place.send_replace(Place {
            recorded: recorded.map(|(map, version)| (Arc::new(map.clone()), version.clone())),
            settled: self.settled,
        });
        self.poke.notify_one();
    }
}

async fn sleep(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}
