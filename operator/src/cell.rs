//! The task of one cluster: it hears of failures over the mesh, decides the next map, records it, and
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

mod doubts;
mod mesh;
mod report;
mod unproven;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use slotmesh_mesh::identity::{Keypair, MemberId, Uid};
use slotmesh_mesh::machine::Event;
use slotmesh_mesh::map::Map;
use slotmesh_mesh::signed::SignedMap;
use slotmesh_transport::authority::Authority;
use slotmesh_transport::clock;
use slotmesh_transport::endpoint::{Credentials, EndpointError};
use slotmesh_transport::identity::IdentityError;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};

use crate::join::{Knock, Registered, Registry};
use crate::life::{Candidate, Life, LifeSettings, Policy, Proposal};
use crate::metrics::Metrics;
use crate::seam::{
    CELL_EVENTS_MAX, CellEvent, CellHandle, CellSettings, CellStatus, Inventory, Kubernetes,
    RecordFailure, RecordVersion, Wishes,
};

use mesh::CellMesh;
use report::Reporter;

/// Pause after the API server failed us.
const RETRY: Duration = Duration::from_secs(1);
/// Pause between two looks at a record that cannot be used.
const FROZEN_RETRY: Duration = Duration::from_secs(5);
/// Pace of looks at the mesh; the API is asked only about members that look dead.
const TICK: Duration = Duration::from_secs(1);

/// Why a cell does not start.
#[derive(Debug, Error)]
pub enum CellError {
    /// The keys in the Secret do not fit.
    #[error("the cluster's CA cannot be used: {0}")]
    Keys(#[from] IdentityError),
    /// No endpoint.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
}

/// What every cell of an operator shares.
#[derive(Clone, Debug)]
pub struct Shared {
    /// Address of this operator's pod.
    pub local: IpAddr,
    /// The join endpoint's register.
    pub joins: Registry,
    /// Metrics.
    pub metrics: Metrics,
}

/// Starts the cell of a cluster. Dropping the handle stops it at once.
///
/// # Errors
/// When the cluster's keys cannot be used or a socket cannot be had.
pub fn start<K: Kubernetes>(
    settings: CellSettings,
    kubernetes: Arc<K>,
    inventory: watch::Receiver<Inventory>,
    wishes: watch::Receiver<Wishes>,
    shared: &Shared,
) -> Result<CellHandle, CellError> {
    let now = SystemTime::now();
    let ca = &settings.keys.ca;
    let authority = Arc::new(Authority::from_pem(ca.certificate_pem(), ca.key_pem())?);
    let keypair = Keypair::from_seed(random_seed()?);
    let leaf = authority.issue_operator(&keypair, settings.cluster.uid, now)?;
    let credentials = Credentials {
        chain: vec![leaf],
        keypair,
    };
    let (registered, knocks) = shared.joins.register(
        &settings.cluster,
        authority.clone(),
        &credentials,
        inventory.clone(),
    )?;
    let (status, status_receiver) = watch::channel(CellStatus::default());
    let (events, events_receiver) = mpsc::channel(CELL_EVENTS_MAX);
    let cell = Cell {
        life: Life::new(life_settings(&settings), None, clock::now()),
        mesh: CellMesh::new(&settings, authority, credentials, shared.local),
        reporter: Reporter::new(status, events),
        waiting: BTreeMap::new(),
        version: None,
        verdict_at: None,
        read_at: Instant::now(),
        look_again: false,
        metrics: shared.metrics.clone(),
        _registered: registered,
        settings,
        kubernetes,
        inventory,
        wishes,
        knocks,
    };
    let metrics = shared.metrics.clone();
    let task = tokio::spawn(async move {
        metrics.cells.inc();
        let _count = Count(metrics);
        cell.run().await;
    });
    Ok(CellHandle::new(status_receiver, events_receiver, task))
}

/// Counts a running cell until it is dropped, however the task ends.
struct Count(Metrics);

impl Drop for Count {
    fn drop(&mut self) {
        self.0.cells.dec();
    }
}

fn random_seed() -> Result<[u8; 32], CellError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| IdentityError::Key(error.to_string()))?;
    Ok(seed)
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
    knocks: mpsc::Receiver<Knock>,
    life: Life,
    mesh: CellMesh,
    reporter: Reporter,
    /// Agents that wait for the first map that lists them.
    waiting: BTreeMap<Uid, oneshot::Sender<SignedMap>>,
    version: Option<RecordVersion>,
    verdict_at: Option<Instant>,
    /// When the record was last read.
    read_at: Instant,
    /// A look at a pod failed: once more.
    look_again: bool,
    metrics: Metrics,
    _registered: Registered,
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
                Some(knock) = self.knocks.recv() => self.on_knock(knock),
                event = self.mesh.next_event() => self.on_event(event),
                changed = self.inventory.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.take_inventory();
                    self.look_for_gone_pods().await;
                }
                changed = self.wishes.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.take_wishes();
                }
                () = sleep(wait) => {}
                _ = tick.tick() => self.look().await,
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
            match self.kubernetes.read_record(&self.settings.cluster).await {
                Ok(recorded) => {
                    let now = clock::now();
                    let (map, version) = match recorded {
                        Some(recorded) => (Some(recorded.map), Some(recorded.version)),
                        None => (None, None),
                    };
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
                    let message = self.doubt(&failure.to_string());
                    self.reporter.doubts.tampered(message);
                    self.reporter.report_frozen(&self.life);
                    tokio::time::sleep(FROZEN_RETRY).await;
                }
                Err(failure) => {
                    tracing::warn!(cluster = %self.settings.cluster.name, %failure, "the record was not read");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    fn on_knock(&mut self, knock: Knock) {
        match knock {
            Knock::Admit { candidate, reply } => self.admit(candidate, reply),
            Knock::Withdraw { uid, key } => {
                self.life.withdraw(uid, key);
            }
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

    fn admit(&mut self, candidate: Candidate, reply: oneshot::Sender<SignedMap>) {
        let name = &candidate.name;
        tracing::info!(cluster = %self.settings.cluster.name, pod = %name, node = %candidate.node, "agent asks to join");
        if self.life.is_full_for(candidate.uid) {
            self.reporter.event(CellEvent::JoinRefused {
                pod: name.clone(),
                category: "CellFull".to_owned(),
                message: format!(
                    "the cell lists {} members, as many as it can; it joins when one leaves",
                    slotmesh_mesh::limits::MEMBERS_MAX
                ),
            });
        }
        self.waiting.insert(candidate.uid, reply);
        self.life.join(clock::now(), candidate);
    }

    fn on_event(&mut self, event: Event) {
        let cluster = &self.settings.cluster.name;
        match event {
            Event::Verdict { epoch, failed } => {
                self.metrics.verdicts.inc();
                self.verdict_at = Some(Instant::now());
                let names: Vec<String> = failed.iter().map(|id| self.name_of(*id)).collect();
                tracing::warn!(cluster, epoch, failed = names.join(","), "verdict: failed");
                self.life
                    .verdict(clock::now(), failed.into_iter().collect());
            }
            Event::VerdictWithdrawn { epoch } => {
                tracing::info!(cluster, epoch, "verdict withdrawn");
                self.life
                    .verdict(clock::now(), std::collections::BTreeSet::new());
            }
            Event::Leaving { member } => {
                tracing::info!(cluster, member = self.name_of(member), "member leaves");
                self.life.leave(clock::now(), member);
            }
            Event::MapConflict { epoch } => {
                let message = self.doubt(&format!("the mesh holds another map of epoch {epoch}"));
                let era = self.life.map().map_or(0, |map| map.era);
                self.reporter.doubts.conflict_seen((era, epoch), message);
            }
            Event::NewerMapSeen {
                version: (era, epoch),
            } => {
                let message = format!(
                    "the mesh holds a newer map (era {era}, epoch {epoch}) than the record"
                );
                let message = self.doubt(&message);
                self.reporter.doubts.newer_seen((era, epoch), message);
            }
            other => tracing::debug!(cluster, event = ?other, "mesh"),
        }
    }

    fn name_of(&self, id: MemberId) -> String {
        let member = self.life.map().and_then(|map| map.member(id.uid));
        member.map_or_else(|| id.to_string(), |member| member.name.clone())
    }

    /// Members whose pod the cache no longer shows: only a live look decides.
    async fn look_for_gone_pods(&mut self) {
        let missing: Vec<(Uid, String)> = {
            let inventory = self.inventory.borrow_and_update();
            let members = self
                .life
                .map()
                .map(|map| map.members.iter())
                .into_iter()
                .flatten();
            members
                .filter(|member| !inventory.pods.contains_key(&member.uid))
                .map(|member| (member.uid, member.name.clone()))
                .collect()
        };
        self.look_again = false;
        for (uid, name) in missing {
            match self
                .kubernetes
                .live_pod(&self.settings.cluster.namespace, &name)
                .await
            {
                Ok(Some(pod)) if pod.uid == uid => {}
                Ok(_) => self.life.pod_gone(clock::now(), uid),
                Err(failure) => {
                    tracing::warn!(pod = name, %failure, "could not look at the pod; looking again");
                    self.look_again = true;
                    return;
                }
            }
        }
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
            Ok(None) => return,
            Ok(Some(proposal)) => proposal,
            Err(error) => {
                self.metrics.plans_refused.inc();
                tracing::error!(cluster = %self.settings.cluster.name, %error, "no map can be made; please report this");
                return tokio::time::sleep(RETRY).await;
            }
        };
        let begun = Instant::now();
        let written = self
            .kubernetes
            .write_record(&self.settings.cluster, self.version.as_ref(), &proposal.map)
            .await;
        match written {
            Ok(version) => {
                self.metrics
                    .write_seconds
                    .observe(begun.elapsed().as_secs_f64());
                self.version = Some(version);
                self.recorded(proposal).await;
            }
            Err(failure) => {
                let cause = match failure {
                    RecordFailure::Tampered(_) => "tampered",
                    RecordFailure::Invalid(_) => "invalid",
                    RecordFailure::Conflict(_) => "conflict",
                    RecordFailure::Unavailable(_) => "unavailable",
                };
                self.metrics
                    .write_failures
                    .with_label_values(&[cause])
                    .inc();
                tracing::warn!(cluster = %self.settings.cluster.name, %failure, "the map was not recorded");
                if cause != "conflict" {
                    tokio::time::sleep(RETRY).await;
                }
                // It may have been written all the same: what counts is what is there.
                self.load().await;
            }
        }
    }

    async fn recorded(&mut self, proposal: Proposal) {
        self.metrics.epochs.inc();
        self.metrics.moved_slots.inc_by(proposal.moves.into());
        if let Some(verdict_at) = self.verdict_at.take() {
            self.metrics
                .verdict_seconds
                .observe(verdict_at.elapsed().as_secs_f64());
        }
        tracing::info!(
            cluster = %self.settings.cluster.name,
            epoch = proposal.map.epoch,
            members = proposal.map.members.len(),
            joined = proposal.joined.join(","),
            recovered = proposal.recovered.join(","),
            failed = proposal.failed.join(","),
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
                let message = self.doubt(&error.to_string());
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
                let _ = reply.send(signed.clone());
            }
        }
    }

    fn doubt(&self, what: &str) -> String {
        format!(
            "{what}; no further map is made. Look at it: kubectl -n {} get gossipcell {} -o yaml",
            self.settings.cluster.namespace, self.settings.cell
        )
    }

    fn report(&mut self) {
        let inventory = self.inventory.borrow().clone();
        self.reporter
            .report(&self.life, &inventory, self.mesh.reach());
    }
}

async fn sleep(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}
