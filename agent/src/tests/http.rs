use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::Value;
use slotmesh_mesh::identity::{Keypair, MemberId, Uid};
use slotmesh_mesh::map::{Map, Member, Owner, Protocol};
use slotmesh_mesh::member::{Health, MemberHealth};
use slotmesh_mesh::slot::SlotSet;
use tower::ServiceExt;

use crate::http::api;
use crate::snapshot::{Shared, Snapshot, Standing};

fn snapshot() -> Snapshot {
    let uid = Uid::from_bytes([1; 16]);
    let address: SocketAddr = "10.0.0.1:7400".parse().unwrap();
    let owner = Owner {
        name: "a".into(),
        uid,
        address: "10.0.0.1:7402".parse().unwrap(),
        capacity: 100,
        slots: "0-15999".parse().unwrap(),
    };
    let member = Member {
        name: "a".into(),
        uid,
        incarnation: 7,
        key: Keypair::from_seed([1; 32]).public(),
        node: "node-a".into(),
        zone: String::new(),
        address,
        failed: false,
        owners: vec![owner],
    };
    let me = MemberId {
        uid,
        incarnation: 7,
    };
    let map = Map {
        cluster: Uid::from_bytes([9; 16]),
        cell: "sessions-bcdfg".into(),
        era: 0,
        epoch: 7,
        slots: SlotSet::full(),
        protocol: Protocol::default(),
        members: vec![member],
        delegation: Vec::new(),
        directory: Vec::new(),
    };
    let health = vec![MemberHealth {
        id: me,
        health: Health::Suspect,
        reported_by: vec![MemberId::OPERATOR],
    }];
    Snapshot {
        map: Arc::new(map),
        me,
        standing: Standing::Member,
        health,
        departed: VecDeque::new(),
    }
}

async fn ask(snapshots: &Shared, path: &str) -> (StatusCode, Value) {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response = api(snapshots.clone()).oneshot(request).await.unwrap();
    let status = response.status();
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 20)
        .await
        .unwrap();
    (
        status,
        serde_json::from_slice(&bytes).unwrap_or(Value::Null),
    )
}

#[tokio::test]
async fn look_ups_name_slot_owner_and_epoch() {
    let snapshots: Shared = Arc::new(ArcSwapOption::from_pointee(snapshot()));
    let (status, body) = ask(&snapshots, "/v1/locate?key=foo").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        (&body["slot"], &body["owner"]["name"]),
        (&12182.into(), &"a".into())
    );
    assert_eq!(
        (&body["epoch"], &body["mode"], &body["stale"]),
        (&7.into(), &"Affinity".into(), &false.into())
    );
    let (_, body) = ask(&snapshots, "/v1/slots/15999").await;
    assert_eq!(body["owner"]["node"], "node-a");
    let (_, body) = ask(&snapshots, "/v1/members").await;
    assert_eq!(body["members"][0]["state"], "Suspect");
    assert_eq!(body["members"][0]["reportedBy"][0], "operator");
    let (_, body) = ask(&snapshots, "/v1/map").await;
    assert_eq!(body["owners"][0]["slots"], "0-15999");
    assert_eq!(body["members"][0]["slots"], "0-15999");
    assert_eq!(body["guarantee"], "best effort");
    assert_eq!(ask(&snapshots, "/readyz").await.0, StatusCode::OK);
}

#[tokio::test]
async fn what_cannot_be_answered_says_why() {
    let snapshots: Shared = Arc::new(ArcSwapOption::from_pointee(snapshot()));
    let long = format!("/v1/locate?key={}", "x".repeat(5000));
    for (path, status, error) in [
        ("/v1/locate", StatusCode::BAD_REQUEST, "KeyMissing"),
        (long.as_str(), StatusCode::BAD_REQUEST, "KeyTooLong"),
        ("/v1/slots/16384", StatusCode::BAD_REQUEST, "NoSuchSlot"),
        ("/v1/slots/-1", StatusCode::BAD_REQUEST, "NoSuchSlot"),
        (
            "/v1/slots/16000",
            StatusCode::SERVICE_UNAVAILABLE,
            "SlotUnserved",
        ),
        ("/v1/slots/%ff", StatusCode::BAD_REQUEST, "NoSuchSlot"),
        ("/v1/slots/", StatusCode::NOT_FOUND, "NotFound"),
        ("/v2", StatusCode::NOT_FOUND, "NotFound"),
    ] {
        let (found, body) = ask(&snapshots, path).await;
        assert_eq!((found, &body["error"]), (status, &error.into()), "{path}");
        assert!(
            body["message"]
                .as_str()
                .is_some_and(|message| !message.is_empty())
        );
    }
}

#[tokio::test]
async fn before_and_after_membership() {
    let snapshots: Shared = Arc::new(ArcSwapOption::empty());
    assert_eq!(
        ask(&snapshots, "/readyz").await.0,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(
        ask(&snapshots, "/v1/locate?key=a").await.1["error"],
        "NotJoined"
    );
    assert_eq!(ask(&snapshots, "/livez").await.0, StatusCode::OK);
    for standing in [Standing::Member, Standing::Alone] {
        snapshots.store(Some(Arc::new(Snapshot {
            standing,
            ..snapshot()
        })));
        let stale = ask(&snapshots, "/v1/locate?key=foo").await.1["stale"].clone();
        assert_eq!(stale, standing == Standing::Alone);
        assert_eq!(ask(&snapshots, "/readyz").await.0, StatusCode::OK);
    }
    snapshots.store(Some(Arc::new(Snapshot {
        standing: Standing::Former,
        ..snapshot()
    })));
    assert_eq!(ask(&snapshots, "/v1/locate?key=foo").await.1["stale"], true);
    assert_eq!(
        ask(&snapshots, "/readyz").await.0,
        StatusCode::SERVICE_UNAVAILABLE
    );
}

#[tokio::test]
async fn everything_is_read_only() {
    let snapshots: Shared = Arc::new(ArcSwapOption::from_pointee(snapshot()));
    let request = Request::post("/v1/map").body(Body::empty()).unwrap();
    let response = api(snapshots).oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 20)
        .await
        .unwrap();
    let body: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(body["error"], "MethodNotAllowed");
}
