//! `/v1/map`: the map at once, when it is newer than the one at hand, or each time that it changes.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;

use super::asked::Asked;
use super::connection::Connection;
use super::ended::Ended;
use super::problem::{Refusal, shutting_down};
use super::watch::Watch;
use super::{Api, marked};
use crate::snapshot::{Shared, Snapshot};

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
