//! A watch of the map, in the shape of a Kubernetes watch: a JSON object a line, `MODIFIED` with each
//! newer map, `BOOKMARK` with its number alone, `ERROR` as the last.
//!
//! There is no queue: the next line is made when the last one has left, from what is newest then. So a
//! slow reader misses epochs, never the newest, and costs no memory; one that is too slow is dropped.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures::stream;
use serde::Serialize;
use slotmesh_mesh::identity::Epoch;
use tokio::sync::watch::Receiver;
use tokio::time::Instant;

use super::answers::BookmarkBody;
use super::asked::Asked;
use super::ended::Ended;
use super::map_cache::MapCache;
use super::places::Place;
use super::problem::{Problem, RefusalBody, shutting_down};
use super::{Api, no_store};
use crate::snapshot::{News, Shared, Snapshot};

/// How long a watch waits for what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Longest silence: then comes a bookmark, so that either side finds a dead connection.
    pub(crate) bookmark: Duration,
    /// Time for a client to take a line.
    pub(crate) line: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            bookmark: Duration::from_secs(15),
            line: Duration::from_secs(30),
        }
    }
}

/// One watch.
pub(super) struct Watch {
    snapshots: Shared,
    maps: Arc<MapCache>,
    news: Receiver<News>,
    place: Place,
    pace: Pace,
    until: Instant,
    /// The newest that the client has.
    seen: (u32, Epoch),
    /// What it was last told of staleness.
    told_stale: Option<bool>,
    /// When the last line was handed over.
    handed_at: Option<Instant>,
}

/// What comes next.
enum Next {
    Line(Bytes),
    Last(Bytes),
    End,
}

#[derive(Serialize)]
#[serde(tag = "type", content = "object", rename_all = "UPPERCASE")]
enum Line<'a> {
    Bookmark(BookmarkBody<'a>),
    Error(RefusalBody<'a>),
}

impl Watch {
    pub(super) fn new(api: &Api, place: Place, asked: Asked) -> Self {
        Self {
            snapshots: api.snapshots.clone(),
            maps: api.maps.clone(),
            news: api.snapshots.subscribe(),
            place,
            pace: api.pace,
            until: Instant::now() + asked.timeout,
            seen: asked.newer_than,
            told_stale: None,
            handed_at: None,
        }
    }

    async fn next(&mut self) -> Next {
        // The server asks for a line when the last one has left its buffer.
        if self
            .handed_at
            .is_some_and(|at| at.elapsed() > self.pace.line)
        {
            let seconds = self.pace.line.as_secs();
            let message = format!("the last line took more than {seconds} s to leave; read faster");
            let refusal = Problem::SlowReader.because(message);
            self.place.ended = Ended::SlowReader;
            return Next::Last(line(&Line::Error(refusal.body())));
        }
        let next = self.wait().await;
        self.handed_at = Some(Instant::now());
        next
    }

    async fn wait(&mut self) -> Next {
        let silence = tokio::time::sleep(self.pace.bookmark);
        tokio::pin!(silence);
        loop {
            let closing = self.news.borrow_and_update().closing;
            if let Some(news) = self.snapshots.load_full().and_then(|it| self.news(&it)) {
                return Next::Line(news);
            }
            if closing {
                self.place.ended = Ended::ShuttingDown;
                return Next::Last(line(&Line::Error(shutting_down().body())));
            }
            tokio::select! {
                changed = self.news.changed() => if changed.is_err() { return Next::End },
                () = tokio::time::sleep_until(self.until) => {
                    self.place.ended = Ended::InTime;
                    return Next::End;
                }
                () = &mut silence => self.told_stale = None,
            }
        }
    }

    /// What the client does not know yet.
    fn news(&mut self, snapshot: &Snapshot) -> Option<Bytes> {
        let stale = snapshot.standing.is_stale();
        let is_newer = snapshot.map.version() > self.seen;
        if !is_newer && self.told_stale == Some(stale) {
            return None;
        }
        self.told_stale = Some(stale);
        if !is_newer {
            return Some(line(&Line::Bookmark(BookmarkBody::of(snapshot))));
        }
        self.seen = snapshot.map.version();
        Some(self.maps.encoded(snapshot).line)
    }
}

impl IntoResponse for Watch {
    fn into_response(self) -> Response {
        let lines = stream::unfold(Some(self), |watch| async move {
            let mut watch = watch?;
            match watch.next().await {
                Next::Line(line) => Some((Ok::<_, Infallible>(line), Some(watch))),
                Next::Last(line) => Some((Ok(line), None)),
                Next::End => None,
            }
        });
        let kind = HeaderValue::from_static("application/x-ndjson");
        let headers = [(header::CONTENT_TYPE, kind), no_store()];
        (headers, Body::from_stream(lines)).into_response()
    }
}

fn line(line: &Line<'_>) -> Bytes {
    // Plain structures have no way to fail.
    let mut bytes = serde_json::to_vec(line).unwrap_or_default();
    bytes.push(b'\n');
    bytes.into()
}
