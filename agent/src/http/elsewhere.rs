//! Slots of other cells: whoever asks is sent to a member of the cell that has them, one hop away.

use std::net::SocketAddr;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use slotmesh_mesh::map::DirectoryEntry;
use slotmesh_mesh::slot::Slot;

use crate::snapshot::Snapshot;

/// Where to ask instead.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ElsewhereBody<'a> {
    slot: u16,
    cell: &'a str,
    /// Members of that cell.
    entries: &'a [SocketAddr],
    /// Of the map whose directory says so.
    epoch: u64,
    stale: bool,
}

/// None when the slot belongs to this cell, or nobody there is known. `path` is what to ask for there.
pub(super) fn redirect(snapshot: &Snapshot, slot: Slot, path: &str) -> Option<Response> {
    let DirectoryEntry { cell, entries, .. } = snapshot.map.elsewhere(slot)?;
    // Slots are spread over the entries, so that one member does not answer for all.
    let turn = usize::from(slot.number()) % entries.len().max(1);
    let entry = entries.get(turn)?;
    let location = HeaderValue::from_str(&format!("http://{entry}{path}")).ok()?;
    let body = ElsewhereBody {
        slot: slot.number(),
        cell,
        entries,
        epoch: snapshot.map.epoch,
        stale: snapshot.standing.is_stale(),
    };
    let mut response = (StatusCode::TEMPORARY_REDIRECT, Json(body)).into_response();
    response.headers_mut().insert(header::LOCATION, location);
    Some(response)
}
