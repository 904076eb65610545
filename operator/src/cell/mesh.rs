//! The cell's place in the mesh: the watch and its driver, from the first map on.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use slotmesh_mesh::identity::{Epoch, Keypair, MemberId, Uid};
use slotmesh_mesh::machine::Event;
use slotmesh_mesh::signed::SignedMap;
use slotmesh_mesh::watch::{Watch, WatchConfig};
use slotmesh_transport::authority::Authority;
use slotmesh_transport::clock;
use slotmesh_transport::driver::{Driver, DriverConfig};
use slotmesh_transport::endpoint::{Credentials, client_config, dialing_endpoint};
use slotmesh_transport::verifier::PeerVerifier;
use tokio::sync::{mpsc, watch};

use super::Parts;

/// The mesh counts as out of reach when no member was connected for that long.
const UNREACHABLE_AFTER: Duration = Duration::from_secs(5);

/// What the operator reaches of a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// There is no mesh yet, or some member is connected (or was a moment ago).
    Fine,
    /// No member is connected.
    Nobody,
    /// The operator's own end of the mesh cannot be opened, and why.
    Unopened(String),
}

/// Whom the mesh finds failed, under the map of that (era, epoch).
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) version: (u32, Epoch),
    pub(super) failed: BTreeSet<MemberId>,
}

impl Found {
    fn by(watch: &Watch) -> Self {
        Self {
            version: watch.signed_map().map().version(),
            failed: watch.found_failed().clone(),
        }
    }
}

/// What is seen of a cell at one look.
#[derive(Debug, Default)]
pub(super) struct View {
    pub(super) found: Option<Found>,
    pub(super) unproven: Vec<(MemberId, Duration)>,
    /// Nobody's word is missing that it has a map of this cell.
    pub(super) arrived: bool,
}

/// The operator's side of the mesh of one cell.
pub(super) struct CellMesh {
    cluster: Uid,
    map_key: Keypair,
    authority: Arc<Authority>,
    credentials: watch::Receiver<Credentials>,
    local: IpAddr,
    join_address: SocketAddr,
    take_census: bool,
    /// The newest map handed out: with it the mesh is started, and started again.
    newest: Option<SignedMap>,
    running: Option<(Driver<Watch>, mpsc::Receiver<Event>)>,
    /// Why it does not run though there is a map.
    unopened: Option<String>,
    last_reached: Instant,
}

impl CellMesh {
    pub(super) fn new<K>(parts: &Parts<K>) -> Self {
        Self {
            cluster: parts.settings.cluster.uid,
            map_key: parts.settings.keys.map.clone(),
            authority: parts.authority.clone(),
            credentials: parts.credentials.clone(),
            local: parts.local,
            join_address: parts.join_address,
            take_census: parts.take_census,
            newest: None,
            running: None,
            unopened: None,
            last_reached: Instant::now(),
        }
    }

    /// Hands a recorded map to the mesh; the first one starts the watch.
    pub(super) async fn publish(&mut self, map: &SignedMap) {
        if self.newest.replace(map.clone()).is_none() {
            self.last_reached = Instant::now();
        }
        if let Some((driver, _)) = &self.running {
            let map = map.clone();
            let handed = driver
                .handle()
                .with(move |watch: &mut Watch| watch.publish(clock::now(), map))
                .await;
            if handed.is_ok() {
                return;
            }
        }
        self.start();
    }

    fn start(&mut self) {
        let Some(map) = self.newest.clone() else {
            return;
        };
        let at = SocketAddr::new(self.local, 0);
        let credentials = self.credentials.borrow_and_update().clone();
        let (endpoint, client) = match dialing_endpoint(at, &credentials, &self.verifier()) {
            Ok(endpoint) => endpoint,
            Err(error) => {
                let error = error.to_string();
                if self.unopened.as_ref() != Some(&error) {
                    tracing::error!(
                        error,
                        "the mesh cannot be reached; trying again each second"
                    );
                }
                self.unopened = Some(error);
                return;
            }
        };
        self.unopened = None;
        let config = WatchConfig {
            keypair: self.map_key.clone(),
            first_sequence: unix_micros(),
            take_census: self.take_census,
        };
        let mut watch = Watch::new(config, map, clock::now());
        watch.answer_joins_at(self.join_address);
        let cluster = self.cluster;
        self.running = Some(Driver::start(
            watch,
            DriverConfig {
                endpoint,
                client,
                cluster,
            },
        ));
    }

    /// Shows a renewed certificate to members that are dialed from now on.
    pub(super) fn show_newest_certificate(&mut self) {
        let Some((driver, _)) = &self.running else {
            return;
        };
        if !self.credentials.has_changed().unwrap_or(false) {
            return;
        }
        let credentials = self.credentials.borrow_and_update().clone();
        match client_config(&credentials, &self.verifier()) {
            Ok(client) => driver.dialer().set(client),
            Err(error) => {
                tracing::error!(%error, "the new certificate cannot be used in the mesh")
            }
        }
    }

    /// The watch dials members that the map lists and compares UID and key itself, so an expired
    /// certificate is as good as a valid one.
    fn verifier(&self) -> Arc<PeerVerifier> {
        let roots = vec![self.authority.certificate().clone()];
        PeerVerifier::new(self.cluster, roots, Arc::new(|_| true))
    }

    /// The next event; waits for ever while there is no mesh. Cancel-safe.
    pub(super) async fn next_event(&mut self) -> Event {
        if let Some((_, events)) = &mut self.running
            && let Some(event) = events.recv().await
        {
            return event;
        }
        std::future::pending().await
    }

    /// Looks whether anybody is connected, whose death the mesh cannot prove (and for how long each of
    /// them has answered nothing), and whether a map of this cell is still missing somewhere. A mesh that
    /// should run and does not is started: without it no evidence comes, so no map may ever follow.
    pub(super) async fn look(&mut self) -> View {
        if self.running.is_none() {
            self.start();
        }
        let Some((driver, _)) = &self.running else {
            let map = self.newest.as_ref().map(SignedMap::map);
            if map.is_none_or(|map| map.members.is_empty()) {
                self.last_reached = Instant::now();
            }
            return View::default();
        };
        let handle = driver.handle();
        let looked = handle.with(|watch: &mut Watch| {
            let reached = watch.reach() > 0 || watch.signed_map().map().members.is_empty();
            let view = View {
                found: Some(Found::by(watch)),
                unproven: watch.unproven(clock::now()),
                arrived: watch.census_missing() == 0,
            };
            (reached, view)
        });
        let Ok((reached, view)) = looked.await else {
            tracing::error!("the mesh's task has ended; it is started again");
            self.running = None;
            return View::default();
        };
        if reached {
            self.last_reached = Instant::now();
        }
        view
    }

    /// Whom the mesh finds failed now.
    pub(super) async fn found(&self) -> Option<Found> {
        let (driver, _) = self.running.as_ref()?;
        let handle = driver.handle();
        let found = handle.with(|watch: &mut Watch| Found::by(watch));
        found.await.ok()
    }

    pub(super) fn reach(&self) -> Reach {
        if self.last_reached.elapsed() <= UNREACHABLE_AFTER {
            return Reach::Fine;
        }
        match &self.unopened {
            Some(error) => Reach::Unopened(error.clone()),
            None => Reach::Nobody,
        }
    }
}

/// Numbers what this operator states above all of its predecessors.
fn unix_micros() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
