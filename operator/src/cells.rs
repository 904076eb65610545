//! The cells of one cluster: which there are, which of them a joining agent belongs to, what they know
//! of each other, and how one becomes two ([`crate::split`]).
//!
//! ```text
//!   join ── knocks ──▶ Cells ──┬──▶ Cell ──▶ record, mesh
//!                        ▲     └──▶ Cell ──▶ record, mesh
//!                        └── place and status of each; merged into one status
//! ```
//!
//! Each cell writes its own record and nobody else's. What happens here between two cells (making the
//! records of parts, deleting that of their parent) is decided from the parent's record alone, so an
//! operator that is killed at any point is followed by one that goes on from there.

mod certificate;
mod merge;
mod splitting;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use slotmesh_mesh::identity::{Keypair, Uid};
use slotmesh_mesh::limits;
use slotmesh_mesh::map::{DirectoryEntry, Map};
use slotmesh_transport::authority::Authority;
use slotmesh_transport::endpoint::EndpointError;
use slotmesh_transport::identity::IdentityError;
use thiserror::Error;
use tokio::sync::{Notify, mpsc, watch};

use crate::cell::{self, Command, Parts, Running};
use crate::join::{Knock, Registry};
use crate::metrics::Metrics;
use crate::seam::{
    CELL_EVENTS_MAX, CellEvent, CellHandle, CellSettings, CellStatus, Inventory, Kubernetes,
    RecordVersion, Wishes,
};
use crate::split;

use certificate::{Certificate, Issuer};

/// Pause after the API server failed us.
const RETRY: Duration = Duration::from_secs(1);
/// Requests to join that wait for the end of a split; who comes later asks again.
const HELD_MAX: usize = 256;

/// Why the cells of a cluster do not start.
#[derive(Debug, Error)]
pub enum CellsError {
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
    /// Where it answers joins.
    pub join_address: SocketAddr,
    /// The join endpoint's register.
    pub joins: Registry,
    /// Metrics.
    pub metrics: Metrics,
}

/// Starts the cells of a cluster. Dropping the handle stops them at once.
///
/// # Errors
/// When the cluster's keys cannot be used or a socket cannot be had.
pub fn start<K: Kubernetes>(
    settings: CellSettings,
    kubernetes: Arc<K>,
    inventory: watch::Receiver<Inventory>,
    wishes: watch::Receiver<Wishes>,
    shared: &Shared,
) -> Result<CellHandle, CellsError> {
    let now = SystemTime::now();
    let ca = &settings.keys.ca;
    let authority = Arc::new(Authority::from_pem(ca.certificate_pem(), ca.key_pem())?);
    let keypair = Keypair::from_seed(random_seed()?);
    let issuer = Issuer {
        cluster: settings.cluster.uid,
        authority: authority.clone(),
        keypair,
        lifetime: shared.joins.lifetime(),
        metrics: shared.metrics.clone(),
    };
    let credentials = issuer.issue(now)?;
    let (registered, knocks) = shared.joins.register(
        &settings.cluster,
        authority.clone(),
        &credentials,
        inventory.clone(),
    )?;
    let (status, status_receiver) = watch::channel(CellStatus::default());
    let (events, events_receiver) = mpsc::channel(CELL_EVENTS_MAX);
    let cells = Cells {
        settings,
        kubernetes,
        inventory,
        wishes,
        authority,
        certificate: Certificate::new(issuer, registered, credentials, now),
        local: shared.local,
        join_address: shared.join_address,
        lifetime: shared.joins.lifetime(),
        metrics: shared.metrics.clone(),
        knocks,
        held: Vec::new(),
        running: BTreeMap::new(),
        poke: Arc::new(Notify::new()),
        status,
        events,
    };
    let task = tokio::spawn(cells.run());
    Ok(CellHandle::new(status_receiver, events_receiver, task))
}

fn random_seed() -> Result<[u8; 32], CellsError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| IdentityError::Key(error.to_string()))?;
    Ok(seed)
}

struct Cells<K> {
    settings: CellSettings,
    kubernetes: Arc<K>,
    inventory: watch::Receiver<Inventory>,
    wishes: watch::Receiver<Wishes>,
    authority: Arc<Authority>,
    certificate: Certificate,
    local: IpAddr,
    join_address: SocketAddr,
    lifetime: Duration,
    metrics: Metrics,
    knocks: mpsc::Receiver<Knock>,
    /// Requests to join that wait for the end of a split.
    held: Vec<Knock>,
    running: BTreeMap<String, Running>,
    poke: Arc<Notify>,
    status: watch::Sender<CellStatus>,
    events: mpsc::Sender<CellEvent>,
}

impl<K: Kubernetes> Cells<K> {
    async fn run(mut self) {
        self.begin().await;
        let mut retry = tokio::time::interval(RETRY);
        retry.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let poke = self.poke.clone();
        loop {
            tokio::select! {
                Some(knock) = self.knocks.recv() => self.on_knock(knock),
                () = poke.notified() => {}
                () = self.certificate.is_due() => {
                    self.certificate.renew(&self.settings.cluster, SystemTime::now());
                }
                _ = retry.tick(), if self.is_splitting() => {}
                changed = self.inventory.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
            }
            self.go_on_splitting().await;
            self.tell_directories();
            self.report();
            if let Some(cell) = self.ended() {
                tracing::error!(cluster = %self.settings.cluster, cell, "a cell's task ended: a defect; all cells of the cluster begin anew from their records");
                return tokio::time::sleep(RETRY).await;
            }
        }
    }

    /// A cell that is not looked after any more.
    fn ended(&self) -> Option<&str> {
        let mut ended = self.running.iter().filter(|(_, cell)| cell.has_ended());
        ended.next().map(|(name, _)| name.as_str())
    }

    /// Starts a cell for each record there is, or the first one.
    async fn begin(&mut self) {
        let names = loop {
            match self.kubernetes.list_records(&self.settings.cluster).await {
                Ok(names) => break names,
                Err(failure) => {
                    tracing::warn!(cluster = %self.settings.cluster, %failure, "the records were not listed");
                    tokio::time::sleep(RETRY).await;
                }
            }
        };
        if names.is_empty() {
            let first = self.settings.cell.clone();
            return self.start_cell(first, true, false);
        }
        // Perhaps one of them is being split: then the others have to be asked whether they have arrived.
        let several = names.len() > 1;
        for name in names
            .into_iter()
            .take(limits::OTHER_CELLS_MAX + 1 + limits::DELEGATION_PARTS)
        {
            self.start_cell(name, false, several);
        }
    }

    fn start_cell(&mut self, name: String, may_begin: bool, take_census: bool) {
        let settings = CellSettings {
            cell: name.clone(),
            ..self.settings.clone()
        };
        let parts = Parts {
            settings,
            kubernetes: self.kubernetes.clone(),
            inventory: self.inventory.clone(),
            wishes: self.wishes.clone(),
            authority: self.authority.clone(),
            credentials: self.certificate.shown(),
            lifetime: self.lifetime,
            local: self.local,
            join_address: self.join_address,
            metrics: self.metrics.clone(),
            events: self.events.clone(),
            poke: self.poke.clone(),
            may_begin,
            take_census,
        };
        self.running.insert(name, cell::start(parts));
    }

    /// The newest recorded map of a cell, and the version of its record.
    fn recorded(&self, cell: &str) -> Option<(Arc<Map>, RecordVersion)> {
        self.running.get(cell)?.place.borrow().recorded.clone()
    }

    /// Maps of all cells that go on: not of one that was split.
    fn maps(&self) -> Vec<Arc<Map>> {
        let maps = self.running.values().filter_map(|cell| {
            let (map, _) = cell.place.borrow().recorded.clone()?;
            map.delegation.is_empty().then_some(map)
        });
        maps.collect()
    }

    /// Joins go to a cell; while one is being split they wait.
    fn on_knock(&mut self, knock: Knock) {
        match knock {
            Knock::Admit { .. } if self.is_splitting() => {
                if self.held.len() < HELD_MAX {
                    self.held.push(knock);
                }
            }
            Knock::Admit { .. } => self.admit(knock),
            Knock::Withdraw { uid, key } => {
                self.held.retain(|held| !is_of(held, uid));
                for cell in self.running.values() {
                    send(cell, Command::Knock(Knock::Withdraw { uid, key }));
                }
            }
            Knock::Refused { .. } => {
                if let Some(cell) = self.running.values().next() {
                    send(cell, Command::Knock(knock));
                }
            }
        }
    }

    fn admit(&mut self, knock: Knock) {
        let Knock::Admit { candidate, .. } = &knock else {
            return;
        };
        let cell = home(&self.maps(), candidate.uid, &candidate.node);
        let cell = cell.unwrap_or_else(|| self.settings.cell.clone());
        // A request that nobody takes is answered with "ask again": its reply is dropped.
        if let Some(cell) = self.running.get(&cell) {
            send(cell, Command::Knock(knock));
        }
    }

    /// Tells each cell where the others are, when its map does not say so yet.
    fn tell_directories(&self) {
        if self.is_splitting() {
            return;
        }
        let maps = self.maps();
        if maps.len() < self.running.len() {
            // One has not read its record yet: it would be missing.
            return;
        }
        for map in &maps {
            let directory = directory_of(map, &maps);
            if directory != map.directory
                && let Some(cell) = self.running.get(&map.cell)
            {
                send(cell, Command::Directory(directory));
            }
        }
    }

    fn report(&self) {
        let going_on: Vec<CellStatus> = self
            .running
            .iter()
            .filter(|(name, _)| !self.has_parts(name))
            .map(|(_, cell)| cell.status.borrow().clone())
            .collect();
        let status = merge::merge(going_on, self.progress());
        self.status.send_if_modified(|current| {
            let changed = *current != status;
            *current = status;
            changed
        });
    }
}

/// The cell of a joining agent: the one that lists its pod, then the one with a member on its node (it
/// will take over from it), then the smallest. None while there is no map.
fn home(maps: &[Arc<Map>], uid: Uid, node: &str) -> Option<String> {
    let lists = |map: &&Arc<Map>| map.member(uid).is_some();
    let is_on_node = |map: &&Arc<Map>| map.members.iter().any(|member| member.node == node);
    let smallest = maps
        .iter()
        .min_by(|a, b| (a.members.len(), &a.cell).cmp(&(b.members.len(), &b.cell)));
    let found = maps.iter().find(lists);
    let found = found.or_else(|| maps.iter().find(is_on_node)).or(smallest);
    found.map(|map| map.cell.clone())
}

/// What a cell's map should say of the others.
fn directory_of(map: &Map, all: &[Arc<Map>]) -> Vec<DirectoryEntry> {
    let others = all.iter().filter(|other| other.cell != map.cell);
    let mut directory: Vec<DirectoryEntry> = others
        .map(|other| {
            let before = map.directory.iter().find(|entry| entry.cell == other.cell);
            split::entry_of(other, before)
        })
        .collect();
    directory.sort_by(|a, b| a.cell.cmp(&b.cell));
    directory
}

fn is_of(knock: &Knock, uid: Uid) -> bool {
    matches!(knock, Knock::Admit { candidate, .. } if candidate.uid == uid)
}

/// A cell that does not keep up loses a request; its agent asks again.
fn send(cell: &Running, command: Command) {
    if cell.commands.try_send(command).is_err() {
        tracing::warn!("a cell does not keep up: a request was dropped");
    }
}

#[cfg(test)]
mod tests;
