//! The local API and `/metrics`. Answers come from the published snapshot, never from the mesh itself,
//! so that no reader can hold up a heartbeat. `docs/agent-api.md` describes it, and a test compares.

mod answers;
mod asked;
mod clients;
mod connection;
mod elsewhere;
pub(crate) mod ended;
mod map_cache;
mod maps;
mod places;
mod problem;
mod query;
mod server;
mod watch;

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use slotmesh_mesh::slot::{SLOT_COUNT, Slot, slot_of_key};

use crate::metrics::Metrics;
use crate::snapshot::{Shared, Snapshot, Standing};
use answers::{LocationBody, MembersBody};
use map_cache::MapCache;
use places::Places;
use problem::Refusal;

pub(crate) use problem::Problem;
pub(crate) use server::{Limits, serve};
#[cfg(test)]
pub(crate) use watch::Pace;

/// Whether an answer may be outdated; `Age` says for how long.
const STALE: HeaderName = HeaderName::from_static("slotmesh-stale");

/// Paths of the local API.
pub(crate) const PATHS: [&str; 6] = [
    "/v1/locate?key=",
    "/v1/slots/{slot}",
    "/v1/members",
    "/v1/map",
    "/livez",
    "/readyz",
];

/// What every handler needs.
#[derive(Clone, Debug)]
struct Api {
    snapshots: Shared,
    maps: Arc<MapCache>,
    places: Places,
    pace: watch::Pace,
}

impl Api {
    fn current(&self) -> Result<Arc<Snapshot>, Refusal> {
        self.snapshots.load_full().ok_or_else(|| {
            Problem::NotJoined
                .because("this agent has not joined its cluster yet; its log says why")
        })
    }
}

/// The local API, with places for so many watchers.
pub(crate) fn api(snapshots: Shared, metrics: Metrics, limits: Limits) -> Router {
    Router::new()
        .route("/v1/locate", get(locate))
        .route("/v1/slots/{slot}", get(slot))
        .route("/v1/members", get(members))
        .route("/v1/map", get(maps::map))
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .fallback(|| async { not_found(&PATHS) })
        .method_not_allowed_fallback(read_only)
        .with_state(Api {
            snapshots,
            maps: Arc::default(),
            places: Places::new(limits.watchers, metrics),
            pace: limits.pace,
        })
}

/// `/metrics`, on a port of its own.
pub(crate) fn metrics(metrics: Metrics) -> Router {
    Router::new()
        .route("/metrics", get(exposition))
        .fallback(|| async { not_found(&["/metrics"]) })
        .method_not_allowed_fallback(read_only)
        .with_state(metrics)
}

fn not_found(paths: &[&str]) -> Refusal {
    Problem::NotFound.because(format!("there is {}", paths.join(", ")))
}

async fn read_only() -> Refusal {
    Problem::MethodNotAllowed.because("everything here is read with GET")
}

async fn locate(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let query = query.unwrap_or_default();
    let key = query::key(&query).map_err(|error| error.problem().because(error.to_string()))?;
    let text = String::from_utf8_lossy(&key).into_owned();
    let path = format!("/v1/locate?{query}");
    location(&*api.current()?, slot_of_key(&key), Some(text), &path)
}

async fn slot(
    State(api): State<Api>,
    slot: Result<Path<String>, PathRejection>,
) -> Result<Response, Refusal> {
    let slot = slot.ok().and_then(|Path(slot)| query::digits(&slot));
    let slot = slot.and_then(Slot::new).ok_or_else(|| {
        let last = SLOT_COUNT - 1;
        Problem::NoSuchSlot.because(format!("a slot is a number from 0 to {last}"))
    })?;
    let path = format!("/v1/slots/{}", slot.number());
    location(&*api.current()?, slot, None, &path)
}

/// Who owns a slot; `path` asks for the same elsewhere.
fn location(
    snapshot: &Snapshot,
    slot: Slot,
    key: Option<String>,
    path: &str,
) -> Result<Response, Refusal> {
    if let Some(elsewhere) = elsewhere::redirect(snapshot, slot, path) {
        return Ok(marked(snapshot, elsewhere));
    }
    let (number, epoch) = (slot.number(), snapshot.map.epoch);
    let body = LocationBody::of(snapshot, slot, key).ok_or_else(|| {
        Problem::SlotUnserved.because(format!(
            "slot {number} has no owner in the map of epoch {epoch}; kubectl describe the GossipCluster says why"
        ))
    })?;
    Ok(marked(snapshot, Json(body)))
}

async fn members(State(api): State<Api>) -> Result<Response, Refusal> {
    let snapshot = api.current()?;
    Ok(marked(&snapshot, Json(MembersBody::of(&snapshot))))
}

/// An answer that may be outdated says so in its headers too, for those who do not read the body.
fn marked(snapshot: &Snapshot, body: impl IntoResponse) -> Response {
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.extend([no_store()]);
    if let Some(stale) = snapshot.stale_for() {
        headers.insert(STALE, HeaderValue::from_static("true"));
        headers.insert(header::AGE, HeaderValue::from(stale.as_secs()));
    }
    response
}

fn no_store() -> (HeaderName, HeaderValue) {
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store"))
}

/// Ready: admitted, and a map in force. One that hears nobody stays ready, because a look-up that may
/// be outdated helps an application more than none, and it follows the maps again by itself. One in
/// conflict does so only when somebody restarts it: its answers get older without end, and which of the
/// two maps is the cluster's it cannot tell.
async fn readyz(State(api): State<Api>) -> Result<&'static str, Refusal> {
    let (problem, message) = match api.current()?.standing {
        Standing::Member | Standing::Alone => return Ok("ok\n"),
        Standing::Conflict => (
            Problem::MapConflict,
            "this agent saw two different maps of one epoch and applies no newer one; look at the operator's condition MapConflict, then delete this agent's pod",
        ),
        Standing::Former => (
            Problem::NotAMember,
            "this agent is joining again; answers are from the last map it had",
        ),
        Standing::Kept => (
            Problem::NotAMember,
            "this agent has not joined yet; answers are from the map kept on disk",
        ),
    };
    Err(problem.because(message))
}

async fn exposition(State(metrics): State<Metrics>) -> Result<Response, Refusal> {
    let text = metrics
        .render()
        .map_err(|error| Problem::Metrics.because(error.to_string()))?;
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}
