use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::fixture::{api, published, snapshot};
use crate::snapshot::{Shared, Snapshot, Standing};

async fn answer(shared: &Shared, method: Method, path: &str) -> (StatusCode, HeaderMap, Vec<u8>) {
    let request = Request::builder().method(method).uri(path);
    let request = request.body(Body::empty()).unwrap();
    let response = api(shared).oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    (parts.status, parts.headers, bytes.to_vec())
}

async fn ask(shared: &Shared, path: &str) -> (StatusCode, Value) {
    let (status, _, bytes) = answer(shared, Method::GET, path).await;
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    (status, body)
}

fn standing(standing: Standing) -> Snapshot {
    snapshot().with_standing(standing)
}

#[tokio::test]
async fn look_ups_name_slot_owner_and_epoch() {
    let snapshots: Shared = published(snapshot());
    let (status, body) = ask(&snapshots, "/v1/locate?key=foo").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        (&body["slot"], &body["owner"]["name"]),
        (&12182.into(), &"sessions-agent-b".into())
    );
    assert_eq!(
        (&body["epoch"], &body["mode"], &body["stale"]),
        (&7.into(), &"Affinity".into(), &false.into())
    );
    let (_, body) = ask(&snapshots, "/v1/slots/15999").await;
    assert_eq!(body["owner"]["node"], "worker-2");
    let (_, body) = ask(&snapshots, "/v1/members").await;
    assert_eq!(body["members"][0]["state"], "Suspect");
    assert_eq!(body["members"][0]["reportedBy"][0], "operator");
    let (_, body) = ask(&snapshots, "/v1/map").await;
    assert_eq!(body["owners"][0]["slots"], "0-7999");
    assert_eq!(body["members"][1]["slots"], "8000-15999");
    assert_eq!(body["guarantee"], "best effort");
    assert_eq!(ask(&snapshots, "/readyz").await.0, StatusCode::OK);
}

#[tokio::test]
async fn what_cannot_be_answered_says_why() {
    let snapshots: Shared = published(snapshot());
    let long = format!("/v1/locate?key={}", "x".repeat(5000));
    for (path, status, error) in [
        ("/v1/locate", StatusCode::BAD_REQUEST, "KeyMissing"),
        (long.as_str(), StatusCode::BAD_REQUEST, "KeyTooLong"),
        ("/v1/slots/16384", StatusCode::BAD_REQUEST, "NoSuchSlot"),
        ("/v1/slots/-1", StatusCode::BAD_REQUEST, "NoSuchSlot"),
        ("/v1/slots/+7", StatusCode::BAD_REQUEST, "NoSuchSlot"),
        ("/v1/slots/%2B7", StatusCode::BAD_REQUEST, "NoSuchSlot"),
        (
            "/v1/slots/16000",
            StatusCode::SERVICE_UNAVAILABLE,
            "SlotUnserved",
        ),
        ("/v1/slots/%ff", StatusCode::BAD_REQUEST, "NoSuchSlot"),
        ("/v1/slots/", StatusCode::NOT_FOUND, "NotFound"),
        ("/v2", StatusCode::NOT_FOUND, "NotFound"),
        ("/", StatusCode::NOT_FOUND, "NotFound"),
        ("/v1/map?watch=yes", StatusCode::BAD_REQUEST, "BadParameter"),
        ("/v1/map?epoch=-1", StatusCode::BAD_REQUEST, "BadParameter"),
        ("/v1/map?epoch=+42", StatusCode::BAD_REQUEST, "BadParameter"),
        (
            "/v1/map?era=4294967296",
            StatusCode::BAD_REQUEST,
            "BadParameter",
        ),
        (
            "/v1/map?timeoutSeconds=3601",
            StatusCode::BAD_REQUEST,
            "BadParameter",
        ),
        (
            "/v1/map?epoch=1&epoch=2",
            StatusCode::BAD_REQUEST,
            "BadParameter",
        ),
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
    let snapshots: Shared = Shared::default();
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
        snapshots.store(Arc::new(self::standing(standing)));
        let stale = ask(&snapshots, "/v1/locate?key=foo").await.1["stale"].clone();
        assert_eq!(stale, standing == Standing::Alone);
        assert_eq!(ask(&snapshots, "/readyz").await.0, StatusCode::OK);
    }
    for standing in [Standing::Former, Standing::Kept] {
        snapshots.store(Arc::new(self::standing(standing)));
        assert_eq!(ask(&snapshots, "/v1/locate?key=foo").await.1["stale"], true);
        let (status, body) = ask(&snapshots, "/readyz").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(body["error"], "NotAMember");
    }
}

#[tokio::test]
async fn everything_is_read_only() {
    let snapshots = published(snapshot());
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
        let (status, headers, bytes) = answer(&snapshots, method, "/v1/map").await;
        assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(headers["allow"], "GET,HEAD");
        assert_eq!(headers["content-type"], "application/json");
        let body: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(body["error"], "MethodNotAllowed");
    }
}

#[tokio::test]
async fn head_has_the_headers_of_get_and_no_body() {
    let snapshots = published(snapshot());
    for (path, kind) in [
        ("/v1/locate?key=a", "application/json"),
        ("/v1/map", "application/json"),
        ("/v1/map?watch=true", "application/x-ndjson"),
        ("/livez", "text/plain; charset=utf-8"),
        ("/v1/locate", "application/json"),
    ] {
        let (_, headers, body) = answer(&snapshots, Method::HEAD, path).await;
        assert_eq!(headers["content-type"], kind, "{path}");
        assert!(body.is_empty(), "{path}");
    }
}

#[tokio::test]
async fn what_may_be_outdated_says_so_in_body_and_headers() {
    let snapshots = published(snapshot());
    let paths = [
        "/v1/locate?key=foo",
        "/v1/slots/7",
        "/v1/members",
        "/v1/map",
        // One that is at hand is not waited for.
        "/v1/map?epoch=6&timeoutSeconds=60",
    ];
    for path in paths {
        let (_, headers, _) = answer(&snapshots, Method::GET, path).await;
        assert!(!headers.contains_key("slotmesh-stale"), "{path}");
        assert!(!headers.contains_key("age"), "{path}");
        assert_eq!(headers["cache-control"], "no-store", "{path}");
    }
    snapshots.store(Arc::new(confirmed_42_seconds_ago(Standing::Alone)));
    for path in paths {
        let (status, headers, bytes) = answer(&snapshots, Method::GET, path).await;
        assert_eq!(
            (status, &headers["slotmesh-stale"]),
            (StatusCode::OK, &"true".parse().unwrap())
        );
        let age: u64 = headers["age"].to_str().unwrap().parse().unwrap();
        assert!(age >= 42, "{path}: {age}");
        let body: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(body["stale"], true, "{path}");
        assert!(body["staleSeconds"].as_u64().unwrap() >= 42, "{path}");
    }
}

fn confirmed_42_seconds_ago(standing: Standing) -> Snapshot {
    let mut snapshot = snapshot().with_standing(standing);
    let ago = Duration::from_secs(42);
    snapshot.confirmed_at = snapshot.confirmed_at.checked_sub(ago).unwrap();
    snapshot
}

#[tokio::test]
async fn an_agent_in_conflict_answers_as_outdated_and_is_not_ready() {
    let snapshots = published(confirmed_42_seconds_ago(Standing::Conflict));
    let (status, headers, bytes) = answer(&snapshots, Method::GET, "/v1/locate?key=foo").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(headers["slotmesh-stale"], "true");
    let body: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(body["stale"], true);
    assert!(body["staleSeconds"].as_u64().unwrap() >= 42, "{body}");
    let (status, body) = ask(&snapshots, "/readyz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(body["error"], "MapConflict");
    let message = body["message"].as_str().unwrap();
    assert!(message.contains("delete this agent's pod"), "{message}");
    assert_eq!(ask(&snapshots, "/livez").await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_map_of_another_moment_is_encoded_anew() {
    let snapshots = published(snapshot());
    let router = api(&snapshots);
    let ask = async || {
        let request = Request::get("/v1/map").body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await;
        serde_json::from_slice::<Value>(&bytes.unwrap()).unwrap()
    };
    assert_eq!(ask().await["epoch"], 7);
    snapshots.store(Arc::new(super::fixture::at_epoch(8)));
    assert_eq!(ask().await["epoch"], 8);
    assert_eq!(ask().await["stale"], false);
    snapshots.store(Arc::new(
        super::fixture::at_epoch(8).with_standing(Standing::Former),
    ));
    assert_eq!(ask().await["stale"], true);
}

#[tokio::test]
async fn links_that_do_not_work_are_named_with_both_ends() {
    let (_, body) = ask(&published(snapshot()), "/v1/members").await;
    assert_eq!(body["degradedLinkCount"], 1);
    let links = json!([{"observer": "sessions-agent-b", "subject": "sessions-agent-a"}]);
    assert_eq!(body["degradedLinks"], links);
}

/// Slots of another cell: one hop, to a member of it, and spread over those.
#[tokio::test]
async fn slots_of_other_cells_are_asked_for_there() {
    let mut snapshot = standing(Standing::Member);
    let mut map = (*snapshot.map).clone();
    let there: slotmesh_mesh::slot::SlotSet = "16000-16383".parse().unwrap();
    map.slots = map.slots.difference(&there);
    map.directory = vec![slotmesh_mesh::map::DirectoryEntry {
        cell: "sessions-zzzzz".into(),
        slots: there,
        entries: vec![
            "10.0.1.1:7402".parse().unwrap(),
            "10.0.1.2:7402".parse().unwrap(),
        ],
    }];
    map.validate().unwrap();
    snapshot.map = Arc::new(map);
    let shared = Shared::default();
    shared.store(Arc::new(snapshot));
    for (slot, entry) in [(16000, "10.0.1.1"), (16001, "10.0.1.2")] {
        let path = format!("/v1/slots/{slot}");
        let (status, headers, body) = answer(&shared, Method::GET, &path).await;
        assert_eq!(status, StatusCode::TEMPORARY_REDIRECT);
        assert_eq!(headers["location"], format!("http://{entry}:7402{path}"));
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["cell"], "sessions-zzzzz");
        assert_eq!(body["entries"].as_array().unwrap().len(), 2);
    }
    // The query goes along as it came.
    let key = (0..).map(|n| format!("k%20{n}"));
    let mut key = key.filter(|key| {
        let plain = key.replace("%20", " ");
        slotmesh_mesh::slot::slot_of_key(plain.as_bytes()).number() >= 16000
    });
    let path = format!("/v1/locate?key={}", key.next().unwrap());
    let (status, headers, _) = answer(&shared, Method::GET, &path).await;
    assert_eq!(status, StatusCode::TEMPORARY_REDIRECT);
    assert!(headers["location"].to_str().unwrap().ends_with(&path));
    assert_eq!(
        ask(&shared, "/v1/map").await.1["directory"][0]["slots"],
        "16000-16383"
    );
}

#[test]
fn whoever_went_to_another_cell_has_not_departed() {
    let gone = |cell: &str| {
        let mut next = super::fixture::at_epoch(8);
        let mut map = (*next.map).clone();
        map.members.truncate(1);
        map.cell = cell.into();
        next.map = Arc::new(map);
        next.remember(&snapshot(), &crate::snapshot::Partings::default());
        next.departed.len() - snapshot().departed.len()
    };
    assert_eq!((gone("sessions-bcdfg"), gone("sessions-other")), (1, 0));
}
