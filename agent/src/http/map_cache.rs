//! The JSON of `/v1/map`.

use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;
use slotmesh_mesh::map::Map;

use super::answers::MapBody;
use crate::snapshot::Snapshot;

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
