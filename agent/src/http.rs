//! The local API and `/metrics`. Answers come from the published snapshot, never from the mesh itself.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use slotmesh_mesh::map::Mode;
use slotmesh_mesh::member::Health;
use slotmesh_mesh::slot::{SLOT_COUNT, Slot, slot_of_key};
use tokio::net::TcpListener;
use tower::limit::GlobalConcurrencyLimitLayer;

use crate::metrics::Metrics;
use crate::run::AgentError;
use crate::snapshot::{Shared, Snapshot};

/// Bytes of a key.
const KEY_BYTES_MAX: usize = 4096;
/// Requests at once.
const REQUESTS_MAX: usize = 256;

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
        (
            self.status,
            Json(RefusalBody {
                error: self.error,
                message: self.message,
            }),
        )
            .into_response()
    }
}

fn refusal(status: StatusCode, error: &'static str, message: impl Into<String>) -> Refusal {
    Refusal {
        status,
        error,
        message: message.into(),
    }
}

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
        .layer(GlobalConcurrencyLimitLayer::new(REQUESTS_MAX))
        .with_state(snapshots)
}

/// `/metrics`, on a port of its own.
pub(crate) fn metrics(metrics: Metrics) -> Router {
    Router::new()
        .route(
            "/metrics",
            get(|State(metrics): State<Metrics>| async move {
                match metrics.render() {
                    Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text)
                        .into_response(),
                    Err(error) => refusal(
                        StatusCode::INTERNAL_SERVER_ERROR,
                        "Metrics",
                        error.to_string(),
                    )
                    .into_response(),
                }
            }),
        )
        .layer(GlobalConcurrencyLimitLayer::new(REQUESTS_MAX))
        .with_state(metrics)
}

/// Serves a router until the process ends.
pub(crate) async fn serve(address: SocketAddr, router: Router) -> Result<(), AgentError> {
    let listener = TcpListener::bind(address)
        .await
        .map_err(|source| AgentError::Bind { address, source })?;
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%address, %error, "the HTTP server ended");
        }
    });
    Ok(())
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

#[derive(Deserialize)]
struct LocateQuery {
    key: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Location {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    slot: u16,
    owner: OwnerBody,
    cell: String,
    era: u32,
    epoch: u64,
    mode: &'static str,
    stale: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OwnerBody {
    name: String,
    uid: String,
    address: SocketAddr,
    node: String,
}

async fn locate(
    State(snapshots): State<Shared>,
    Query(query): Query<LocateQuery>,
) -> Result<Json<Location>, Refusal> {
    let key = query.key.ok_or_else(|| {
        refusal(
            StatusCode::BAD_REQUEST,
            "KeyMissing",
            "name a key: /v1/locate?key=user:42",
        )
    })?;
    if key.len() > KEY_BYTES_MAX {
        let message = format!("a key has at most {KEY_BYTES_MAX} bytes");
        return Err(refusal(StatusCode::BAD_REQUEST, "KeyTooLong", message));
    }
    let slot = slot_of_key(key.as_bytes());
    location(&*current(&snapshots)?, slot, Some(key))
}

async fn slot(
    State(snapshots): State<Shared>,
    Path(slot): Path<String>,
) -> Result<Json<Location>, Refusal> {
    let slot = slot.parse().ok().and_then(Slot::new).ok_or_else(|| {
        let message = format!("a slot is a number from 0 to {}", SLOT_COUNT - 1);
        refusal(StatusCode::BAD_REQUEST, "NoSuchSlot", message)
    })?;
    location(&*current(&snapshots)?, slot, None)
}

fn location(
    snapshot: &Snapshot,
    slot: Slot,
    key: Option<String>,
) -> Result<Json<Location>, Refusal> {
    let map = &snapshot.map;
    let (member, owner) = map.owner_of(slot).ok_or_else(|| {
        let message = format!(
            "slot {} has no owner in the map of epoch {}",
            slot.number(),
            map.epoch
        );
        refusal(StatusCode::SERVICE_UNAVAILABLE, "SlotUnserved", message)
    })?;
    Ok(Json(Location {
        key,
        slot: slot.number(),
        owner: OwnerBody {
            name: owner.name.clone(),
            uid: owner.uid.to_string(),
            address: owner.address,
            node: member.node.clone(),
        },
        cell: map.cell.clone(),
        era: map.era,
        epoch: map.epoch,
        mode: mode(map.protocol.mode),
        stale: !snapshot.member,
    }))
}

fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Affinity => "Affinity",
        Mode::Exclusive => "Exclusive",
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MembersBody {
    epoch: u64,
    #[serde(rename = "self")]
    me: String,
    stale: bool,
    members: Vec<MemberBody>,
    departed: Vec<DepartedBody>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MemberBody {
    name: String,
    uid: String,
    incarnation: u64,
    node: String,
    address: SocketAddr,
    state: &'static str,
    reported_by: Vec<String>,
    slots: u16,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DepartedBody {
    name: String,
    uid: String,
    incarnation: u64,
    reason: &'static str,
    at_unix_milliseconds: u64,
}

async fn members(State(snapshots): State<Shared>) -> Result<Json<MembersBody>, Refusal> {
    let snapshot = current(&snapshots)?;
    let members = snapshot.map.members.iter().map(|member| {
        let health = snapshot
            .health
            .iter()
            .find(|health| health.id == member.id());
        let name = |uid| {
            snapshot
                .map
                .member(uid)
                .map_or_else(|| "operator".to_owned(), |m| m.name.clone())
        };
        MemberBody {
            name: member.name.clone(),
            uid: member.uid.to_string(),
            incarnation: member.incarnation,
            node: member.node.clone(),
            address: member.address,
            state: health.map_or("Unknown", |health| state(health.health)),
            reported_by: health
                .map(|health| health.reported_by.iter().map(|id| name(id.uid)).collect())
                .unwrap_or_default(),
            slots: member.slots().len(),
        }
    });
    let departed = snapshot.departed.iter().map(|departed| DepartedBody {
        name: departed.name.clone(),
        uid: departed.id.uid.to_string(),
        incarnation: departed.id.incarnation,
        reason: departed.reason,
        at_unix_milliseconds: departed.at_unix_ms,
    });
    Ok(Json(MembersBody {
        epoch: snapshot.map.epoch,
        me: snapshot.me.uid.to_string(),
        stale: !snapshot.member,
        members: members.collect(),
        departed: departed.collect(),
    }))
}

fn state(health: Health) -> &'static str {
    match health {
        Health::Alive => "Alive",
        Health::Suspect => "Suspect",
        Health::Failed => "Failed",
        Health::Leaving => "Leaving",
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MapBody {
    cluster: String,
    cell: String,
    era: u32,
    epoch: u64,
    mode: &'static str,
    stale: bool,
    owners: Vec<MapOwnerBody>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MapOwnerBody {
    name: String,
    uid: String,
    address: SocketAddr,
    node: String,
    zone: String,
    slots: String,
}

async fn map(State(snapshots): State<Shared>) -> Result<Json<MapBody>, Refusal> {
    let snapshot = current(&snapshots)?;
    let map = &snapshot.map;
    let owners = map.owners().map(|(member, owner)| MapOwnerBody {
        name: owner.name.clone(),
        uid: owner.uid.to_string(),
        address: owner.address,
        node: member.node.clone(),
        zone: member.zone.clone(),
        slots: owner.slots.to_string(),
    });
    Ok(Json(MapBody {
        cluster: map.cluster.to_string(),
        cell: map.cell.clone(),
        era: map.era,
        epoch: map.epoch,
        mode: mode(map.protocol.mode),
        stale: !snapshot.member,
        owners: owners.collect(),
    }))
}

async fn readyz(State(snapshots): State<Shared>) -> Result<&'static str, Refusal> {
    if current(&snapshots)?.member {
        return Ok("ok\n");
    }
    let message = "this agent is joining again; answers are from the last map it had";
    Err(refusal(
        StatusCode::SERVICE_UNAVAILABLE,
        "NotAMember",
        message,
    ))
}
