//! The last signed map, kept on disk across a restart of the container: look-ups are answered from it,
//! marked as stale, until the agent has joined again.
//!
//! The file is a head, the UID of the pod, and the map as it travels. It is believed only when it is
//! of this pod and one of the cluster's keys signed the map; anything else is one line in the log, and
//! the agent goes on without. Writing happens on a thread of its own: no heartbeat waits for a disk.

use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use slotmesh_mesh::identity::{Epoch, PublicKey, Uid};
use slotmesh_mesh::limits;
use slotmesh_mesh::map::MapError;
use slotmesh_mesh::signed::SignedMap;
use thiserror::Error;
use tokio::time::MissedTickBehavior;

use crate::config::Config;
use crate::metrics::Metrics;
use crate::snapshot::{Shared, Snapshot, Standing};
use crate::state_folder;
use crate::trust::{TrustError, map_keys};

/// Name of the file.
const FILE: &str = "map";
/// What the file begins with, and its version.
const HEAD: &[u8] = b"slotmesh kept map 1\n";
/// Bytes of a UID.
const UID_BYTES: usize = 16;
/// Bytes of the file.
const BYTES_MAX: usize = HEAD.len() + UID_BYTES + limits::FRAME_BYTES_MAX;
/// Shortest time between two writes: many epochs in a row are one.
const WRITE_PAUSE: Duration = Duration::from_secs(1);
/// How often the file is told that its map is still in force.
const CONFIRM_INTERVAL: Duration = Duration::from_secs(60);

const _: () = assert!(BYTES_MAX < 2 << 20);

/// Why a map is not kept, or not believed.
#[derive(Debug, Error)]
pub(crate) enum KeepError {
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {path}: {source}")]
    Write { path: PathBuf, source: io::Error },
    #[error("{path} holds no kept map")]
    Foreign { path: PathBuf },
    #[error("{path} was kept by pod {pod}")]
    OtherPod { path: PathBuf, pod: Uid },
    #[error("{path}: {source}")]
    Map { path: PathBuf, source: MapError },
    #[error(transparent)]
    Trust(#[from] TrustError),
}

/// Answers from what was kept, and keeps what comes.
pub(crate) fn start(config: &Config, folder: &Path, snapshots: &Shared, metrics: &Metrics) {
    let kept = map_keys(&config.trust_dir)
        .map_err(KeepError::from)
        .and_then(|keys| load(folder, config.cluster_uid, config.pod_uid, &keys));
    let mut version = None;
    match kept {
        Ok(Some(kept)) => {
            let map = kept.signed.map();
            tracing::info!(
                epoch = map.epoch,
                age_seconds = kept.age.as_secs(),
                "look-ups are answered from the map kept on disk until this agent has joined"
            );
            version = Some(map.version());
            let snapshot = Snapshot::kept(kept.signed, config.pod_uid, kept.age);
            snapshots.store(Arc::new(snapshot));
        }
        Ok(None) => {}
        Err(error) => tracing::warn!(
            next_step = "nothing to do: it is written anew once this agent has joined",
            "the map kept on disk is ignored: {error}"
        ),
    }
    let keeper = Keeper {
        folder: folder.to_owned(),
        pod: config.pod_uid,
        written: version,
        failing: false,
        metrics: metrics.clone(),
    };
    tokio::spawn(keeper.follow(snapshots.clone()));
}

/// What was kept.
#[derive(Debug)]
struct Kept {
    signed: SignedMap,
    /// Time since it was last known to be in force.
    age: Duration,
}

/// Reads what a process before this one kept; none if there was none.
fn load(
    folder: &Path,
    cluster: Uid,
    pod: Uid,
    keys: &[PublicKey],
) -> Result<Option<Kept>, KeepError> {
    let path = folder.join(FILE);
    let (bytes, written) = match state_folder::read(&path, BYTES_MAX) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(KeepError::Read { path, source }),
    };
    let body = bytes.strip_prefix(HEAD);
    let Some((uid, map)) = body.and_then(|body| body.split_first_chunk::<UID_BYTES>()) else {
        return Err(KeepError::Foreign { path });
    };
    let kept_by = Uid::from_bytes(*uid);
    if kept_by != pod {
        return Err(KeepError::OtherPod { path, pod: kept_by });
    }
    match SignedMap::decode(map, cluster, keys) {
        Ok(signed) => Ok(Some(Kept {
            signed,
            age: SystemTime::now()
                .duration_since(written)
                .unwrap_or_default(),
        })),
        Err(source) => Err(KeepError::Map { path, source }),
    }
}

/// Replaces the file.
fn write(folder: &Path, pod: Uid, signed: &SignedMap) -> Result<(), KeepError> {
    let bytes = [HEAD, pod.as_bytes(), &signed.encode()].concat();
    state_folder::replace(folder, FILE, &bytes).map_err(|source| KeepError::Write {
        path: folder.join(FILE),
        source,
    })
}

/// The map on disk is still in force.
fn confirm(folder: &Path) -> Result<(), KeepError> {
    let path = folder.join(FILE);
    let file = OpenOptions::new().write(true).open(&path);
    file.and_then(|file| file.set_modified(SystemTime::now()))
        .map_err(|source| KeepError::Write { path, source })
}

/// Keeps each newer map.
struct Keeper {
    folder: PathBuf,
    pod: Uid,
    /// What the file holds.
    written: Option<(u32, Epoch)>,
    failing: bool,
    metrics: Metrics,
}

impl Keeper {
    async fn follow(mut self, snapshots: Shared) {
        let mut news = snapshots.subscribe();
        let mut confirmation = tokio::time::interval(CONFIRM_INTERVAL);
        confirmation.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = tokio::select! {
                changed = news.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    false
                }
                _ = confirmation.tick() => true,
            };
            let Some(snapshot) = snapshots.load_full() else {
                continue;
            };
            if self.written < Some(snapshot.map.version()) {
                self.keep(snapshot.signed.clone()).await;
                tokio::time::sleep(WRITE_PAUSE).await;
            } else if due && snapshot.standing == Standing::Member {
                self.attempt(confirm).await;
            }
        }
    }

    async fn keep(&mut self, signed: SignedMap) {
        let (pod, version) = (self.pod, signed.map().version());
        let written = move |folder: &Path| write(folder, pod, &signed);
        if self.attempt(written).await {
            self.written = Some(version);
        }
    }

    /// Touches the disk beside the agent's own thread. Of failures in a row one is logged.
    async fn attempt(
        &mut self,
        what: impl FnOnce(&Path) -> Result<(), KeepError> + Send + 'static,
    ) -> bool {
        let folder = self.folder.clone();
        let done = tokio::task::spawn_blocking(move || what(&folder)).await;
        let Ok(Err(error)) = done else {
            self.failing = false;
            return done.is_ok();
        };
        self.metrics.keeping_failed.inc();
        if !self.failing {
            tracing::warn!(
                next_step = "is the folder of --state-dir (or SLOTMESH_STATE_DIR) there, writable and not full?",
                "the map is not kept for a restart of the container: {error}"
            );
        }
        self.failing = true;
        false
    }
}

#[cfg(test)]
mod tests;
