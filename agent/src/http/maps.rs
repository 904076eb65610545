//! `/v1/map`: the map at once, when it is newer than the one at hand, or each time that it changes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use slotmesh_mesh::identity::Epoch;
use slotmesh_mesh::map::Map;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::answers::MapBody;
use super::connection::Connection;
use super::problem::{Problem, Refusal};
use super::query;
use super::watch::Watch;
use super::{Api, marked};
use crate::metrics::Metrics;
use crate::snapshot::{Shared, Snapshot};

/// Longest watch, and longest wait for a newer map. A client then asks again.
const SECONDS_MAX: u64 = 3600;

/// What is asked of `/v1/map`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) watch: bool,
    /// Only what is newer: (era, epoch). An era that is not named is the first, so that after the
    /// restoration of a record the map comes once too often and not never.
    pub(super) newer_than: (u32, Epoch),
    pub(super) timeout: Duration,
}

impl Asked {
    pub(super) fn read(query: &str) -> Result<Self, Refusal> {
        let wrong = |message: String| Problem::BadParameter.because(message);
        let watch = query::flag(query, "watch").map_err(wrong)?;
        let era = query::number(query, "era", u32::MAX.into()).map_err(wrong)?;
        let epoch = query::number(query, "epoch", u64::MAX).map_err(wrong)?;
        let seconds = query::number(query, "timeoutSeconds", SECONDS_MAX).map_err(wrong)?;
        let usual = if watch { SECONDS_MAX } else { 0 };
        let era = u32::try_from(era.unwrap_or(0)).unwrap_or(u32::MAX);
        Ok(Self {
            watch,
            newer_than: (era, epoch.unwrap_or(0)),
            timeout: Duration::from_secs(seconds.unwrap_or(usual)),
        })
    }
}

/// The newest map as bytes, made once for all who ask.
#[derive(Debug, Default)]
pub(super) struct MapCache(Mutex<Option<Entry>>);

#[derive(Debug)]
struct Entry {
    map: Arc<Map>,
    stale_seconds: Option<u64>,
    encoded: Encoded,
}

/// A map as a line of a watch, and the part of it that is the map alone.
#[derive(Clone, Debug)]
pub(super) struct Encoded {
    pub(super) line: Bytes,
    pub(super) json: Bytes,
}

impl Encoded {
    fn of(snapshot: &Snapshot) -> Self {
        let (before, after) = (br#"{"type":"MODIFIED","object":"#, b"}\n");
        // Plain structures have no way to fail.
        let json = serde_json::to_vec(&MapBody::of(snapshot)).unwrap_or_default();
        let line: Bytes = [&before[..], &json, after].concat().into();
        let json = line.slice(before.len()..before.len() + json.len());
        Self { line, json }
    }
}

impl MapCache {
    pub(super) fn encoded(&self, snapshot: &Snapshot) -> Encoded {
        let stale_seconds = snapshot.stale_for().map(|stale| stale.as_secs());
        let mut newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = newest.as_ref()
            && Arc::ptr_eq(&entry.map, &snapshot.map)
            && entry.stale_seconds == stale_seconds
        {
            return entry.encoded.clone();
        }
        let encoded = Encoded::of(snapshot);
        *newest = Some(Entry {
            map: snapshot.map.clone(),
            stale_seconds,
            encoded: encoded.clone(),
        });
        encoded
    }
}

/// Places for those who watch or wait.
#[derive(Clone, Debug)]
pub(super) struct Places {
    free: Arc<Semaphore>,
    count: usize,
    metrics: Metrics,
}

/// Why a watch ended: label of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Answered, or its time was over.
    InTime,
    /// The client closed the connection.
    ByClient,
    /// The client took a line too slowly.
    SlowReader,
    /// The client took no byte for too long.
    Stalled,
    /// This agent ends.
    ShuttingDown,
}

impl Ended {
    pub(crate) const ALL: [Self; 5] = [
        Self::InTime,
        Self::ByClient,
        Self::SlowReader,
        Self::Stalled,
        Self::ShuttingDown,
    ];

    pub(crate) fn cause(self) -> &'static str {
        match self {
            Self::InTime => "in_time",
            Self::ByClient => "by_client",
            Self::SlowReader => "slow_reader",
            Self::Stalled => "stalled",
            Self::ShuttingDown => "shutting_down",
        }
    }
}

/// The place of one watcher; whoever drops it says why it ended.
#[derive(Debug)]
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
    metrics: Metrics,
    connection: Option<Connection>,
    pub(super) ended: Ended,
}

impl Places {
    pub(super) fn new(count: usize, metrics: Metrics) -> Self {
        Self {
            free: Arc::new(Semaphore::new(count)),
            count,
            metrics,
        }
    }

    fn take(&self, connection: Option<Connection>) -> Result<Place, Refusal> {
        let Ok(permit) = self.free.clone().try_acquire_owned() else {
            self.metrics.watchers_refused.inc();
            return Err(Problem::TooManyWatchers.because(format!(
                "{} clients watch the map at this agent already: share one watch among the threads of a process, or ask without watch=true",
                self.count
            )));
        };
        self.metrics.watchers.inc();
        if let Some(connection) = &connection {
            connection.set_watching(true);
        }
        Ok(Place {
            _permit: permit,
            metrics: self.metrics.clone(),
            connection,
            ended: Ended::ByClient,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.metrics.watchers.dec();
        let mut ended = self.ended;
        if let Some(connection) = &self.connection {
            connection.set_watching(false);
            if connection.has_stalled() {
                ended = Ended::Stalled;
            }
            if matches!(ended, Ended::SlowReader | Ended::Stalled) {
                let (remote, cause) = (connection.remote(), ended.cause());
                tracing::warn!(%remote, cause, "a watcher of the map was dropped: it reads too slowly");
            }
        }
        self.metrics.watch_ended(ended);
    }
}

pub(super) async fn map(
    State(api): State<Api>,
    connection: Option<Extension<Connection>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let asked = Asked::read(query.as_deref().unwrap_or_default())?;
    let snapshot = api.current()?;
    let is_newer = snapshot.map.version() > asked.newer_than;
    if !asked.watch && (is_newer || asked.timeout.is_zero()) {
        return Ok(whole(&api, &snapshot));
    }
    if api.snapshots.subscribe().borrow().closing {
        return Err(shutting_down());
    }
    let mut place = api.places.take(connection.map(|Extension(it)| it))?;
    if asked.watch {
        return Ok(Watch::new(&api, place, asked).into_response());
    }
    let snapshot = newer(&api.snapshots, snapshot, asked).await;
    place.ended = Ended::InTime;
    Ok(whole(&api, &snapshot))
}

/// The first map that is newer, or the one at hand when time is over.
async fn newer(snapshots: &Shared, at_hand: Arc<Snapshot>, asked: Asked) -> Arc<Snapshot> {
    let mut news = snapshots.subscribe();
    let is_there =
        news.wait_for(|news| news.closing || news.version.is_some_and(|it| it > asked.newer_than));
    let _ = tokio::time::timeout_at(Instant::now() + asked.timeout, is_there).await;
    snapshots.load_full().unwrap_or(at_hand)
}

fn whole(api: &Api, snapshot: &Snapshot) -> Response {
    let json = HeaderValue::from_static("application/json");
    let body = (
        [(header::CONTENT_TYPE, json)],
        api.maps.encoded(snapshot).json,
    );
    marked(snapshot, body)
}

pub(super) fn shutting_down() -> Refusal {
    Problem::ShuttingDown.because("this agent ends; ask the agent that takes its place")
}
