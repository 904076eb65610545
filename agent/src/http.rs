//! The local API and `/metrics`. Answers come from the published snapshot, never from the mesh itself,
//! so that no reader can hold up a heartbeat.

mod answers;
mod query;
mod server;

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use slotmesh_mesh::slot::{SLOT_COUNT, Slot, slot_of_key};

use crate::metrics::Metrics;
use crate::snapshot::{Shared, Snapshot, Standing};
use answers::{LocationBody, MapBody, MembersBody};

pub(crate) use server::{Limits, serve};

/// The local API.
pub(crate) fn api(snapshots: Shared) -> Router {
    Router::new()
        .route("/v1/locate", get(locate))
        .route("/v1/slots/{slot}", get(slot))
        .route("/v1/members", get(members))
        .route("/v1/map", get(map))
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .fallback(|| async {
            refusal(
                StatusCode::NOT_FOUND,
                "NotFound",
                "there is /v1/locate?key=, /v1/slots/{n}, /v1/members, /v1/map, /livez and /readyz",
            )
        })
        .method_not_allowed_fallback(read_only)
        .with_state(snapshots)
}

/// `/metrics`, on a port of its own.
pub(crate) fn metrics(metrics: Metrics) -> Router {
    Router::new()
        .route("/metrics", get(exposition))
        .fallback(|| async { refusal(StatusCode::NOT_FOUND, "NotFound", "there is /metrics") })
        .method_not_allowed_fallback(read_only)
        .with_state(metrics)
}

/// Why there is no answer.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    error: &'static str,
    message: String,
}

#[derive(Serialize)]
struct RefusalBody {
    error: &'static str,
    message: String,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = RefusalBody {
            error: self.error,
            message: self.message,
        };
        (self.status, Json(body)).into_response()
    }
}

fn refusal(status: StatusCode, error: &'static str, message: impl Into<String>) -> Refusal {
    Refusal {
        status,
        error,
        message: message.into(),
    }
}

async fn read_only() -> Refusal {
    let message = "everything here is read with GET";
    refusal(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
}

fn current(snapshots: &Shared) -> Result<Arc<Snapshot>, Refusal> {
    snapshots.load_full().ok_or_else(|| {
        refusal(
            StatusCode::SERVICE_UNAVAILABLE,
            "NotJoined",
            "this agent has not joined its cluster yet; its log says why",
        )
    })
}

async fn locate(
    State(snapshots): State<Shared>,
    RawQuery(query): RawQuery,
) -> Result<Json<LocationBody>, Refusal> {
    let key = query::key(query.as_deref().unwrap_or_default())
        .map_err(|error| refusal(StatusCode::BAD_REQUEST, error.category(), error.to_string()))?;
    let text = String::from_utf8_lossy(&key).into_owned();
    location(&*current(&snapshots)?, slot_of_key(&key), Some(text))
}

async fn slot(
    State(snapshots): State<Shared>,
    slot: Result<Path<String>, PathRejection>,
) -> Result<Json<LocationBody>, Refusal> {
    let slot = slot.ok().and_then(|Path(slot)| slot.parse().ok());
    let slot = slot.and_then(Slot::new).ok_or_else(|| {
        let message = format!("a slot is a number from 0 to {}", SLOT_COUNT - 1);
        refusal(StatusCode::BAD_REQUEST, "NoSuchSlot", message)
    })?;
    location(&*current(&snapshots)?, slot, None)
}

fn location(
    snapshot: &Snapshot,
    slot: Slot,
    key: Option<String>,
) -> Result<Json<LocationBody>, Refusal> {
    let (number, epoch) = (slot.number(), snapshot.map.epoch);
    LocationBody::of(snapshot, slot, key)
        .map(Json)
        .ok_or_else(|| {
            let message = format!("slot {number} has no owner in the map of epoch {epoch}");
            refusal(StatusCode::SERVICE_UNAVAILABLE, "SlotUnserved", message)
        })
}

async fn members(State(snapshots): State<Shared>) -> Result<Json<MembersBody>, Refusal> {
    Ok(Json(MembersBody::of(&*current(&snapshots)?)))
}

async fn map(State(snapshots): State<Shared>) -> Result<Json<MapBody>, Refusal> {
    Ok(Json(MapBody::of(&*current(&snapshots)?)))
}

/// Ready: admitted, and a map in force. One that hears nobody stays ready, because a look-up that may
/// be outdated helps an application more than none.
async fn readyz(State(snapshots): State<Shared>) -> Result<&'static str, Refusal> {
    if current(&snapshots)?.standing != Standing::Former {
        return Ok("ok\n");
    }
    let message = "this agent is joining again; answers are from the last map it had";
    Err(refusal(
        StatusCode::SERVICE_UNAVAILABLE,
        "NotAMember",
        message,
    ))
}

async fn exposition(State(metrics): State<Metrics>) -> Result<Response, Refusal> {
    let text = metrics.render().map_err(|error| {
        refusal(
            StatusCode::INTERNAL_SERVER_ERROR,
            "Metrics",
            error.to_string(),
        )
    })?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response())
}
