//! A cell of two for tests of the local API. The examples of `docs/agent-api.md` are of it too.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use slotmesh_mesh::identity::{Keypair, MemberId, Uid};
use slotmesh_mesh::map::{Map, Member, Owner, Protocol};
use slotmesh_mesh::member::{Health, MemberHealth};
use slotmesh_mesh::signed::SignedMap;
use slotmesh_mesh::slot::SlotSet;

use crate::http::{self, Limits};
use crate::metrics::Metrics;
use crate::snapshot::{Degraded, Departed, Shared, Snapshot, Standing};

pub(crate) const CLUSTER: Uid = Uid::from_bytes([9; 16]);

pub(crate) fn map_key() -> Keypair {
    Keypair::from_seed([250; 32])
}

/// Two members with half of the slots each, but for the last 384, which nobody owns.
pub(crate) fn map(epoch: u64) -> Map {
    let member = |letter: char, n: u8, slots: &str| Member {
        name: format!("sessions-agent-{letter}"),
        uid: Uid::from_bytes([n; 16]),
        incarnation: 7,
        key: Keypair::from_seed([n; 32]).public(),
        node: format!("worker-{n}"),
        zone: "eu-1a".into(),
        address: format!("10.0.0.{n}:7400").parse().unwrap(),
        failed: false,
        owners: vec![Owner {
            name: format!("sessions-agent-{letter}"),
            uid: Uid::from_bytes([n; 16]),
            address: format!("10.0.0.{n}:7402").parse().unwrap(),
            capacity: 100,
            slots: slots.parse().unwrap(),
        }],
    };
    Map {
        cluster: CLUSTER,
        cell: "sessions-bcdfg".into(),
        era: 0,
        epoch,
        slots: SlotSet::full(),
        protocol: Protocol::default(),
        members: vec![member('a', 1, "0-7999"), member('b', 2, "8000-15999")],
        delegation: Vec::new(),
        directory: Vec::new(),
    }
}

pub(crate) fn signed(epoch: u64) -> SignedMap {
    SignedMap::sign(map(epoch), &map_key()).unwrap()
}

/// As agent a sees it: b misses its heartbeats, and a third has left.
pub(crate) fn at_epoch(epoch: u64) -> Snapshot {
    let signed = signed(epoch);
    let id = |n| MemberId {
        uid: Uid::from_bytes([n; 16]),
        incarnation: 7,
    };
    let health = |n, health, reported_by| MemberHealth {
        id: id(n),
        health,
        reported_by,
    };
    let departed = Departed {
        id: id(3),
        name: "sessions-agent-c".into(),
        reason: "Left",
        at_unix_ms: 1_790_000_412_000,
    };
    Snapshot {
        map: signed.map().clone(),
        signed,
        me: id(1),
        standing: Standing::Member,
        confirmed_at: Instant::now(),
        health: vec![
            health(1, Health::Suspect, vec![MemberId::OPERATOR, id(2)]),
            health(2, Health::Alive, Vec::new()),
        ],
        degraded: Degraded::of(vec![(id(2), id(1))]),
        departed: VecDeque::from([departed]),
    }
}

pub(crate) fn snapshot() -> Snapshot {
    at_epoch(7)
}

pub(crate) fn published(snapshot: Snapshot) -> Shared {
    let shared = Shared::default();
    shared.store(Arc::new(snapshot));
    shared
}

pub(crate) fn api(shared: &Shared) -> Router {
    http::api(shared.clone(), Metrics::new().unwrap(), Limits::default())
}
