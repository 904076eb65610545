//! `docs/agent-api.md` says what the code does.

use std::collections::{BTreeMap, BTreeSet};

use axum::body::Body;
use axum::http::Request;
use futures::StreamExt;
use serde_json::Value;
use slotmesh_mesh::counters::Counters;
use slotmesh_transport::refusal::Refusal;
use tower::ServiceExt;

use super::fixture::{api, published, snapshot};
use super::metrics::families;
use crate::http::{Limits, PATHS, Problem};
use crate::metrics::Metrics;

const PAGE: &str = include_str!("../../../docs/agent-api.md");

/// Cells of the rows below a header, without backquotes.
fn table(header: &str) -> Vec<Vec<String>> {
    let (_, rest) = PAGE.split_once(header).expect(header);
    let rows = rest
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let cells = |row: &str| {
        let row = row.trim_matches('|').split(" | ");
        row.map(|cell| cell.trim().replace('`', "")).collect()
    };
    rows.map(cells).collect()
}

/// First line or whole of an answer.
async fn answer(path: &str) -> Value {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response = api(&published(snapshot())).oneshot(request).await.unwrap();
    let mut body = response.into_body().into_data_stream();
    let bytes = body.next().await.unwrap().unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

#[tokio::test]
async fn each_example_is_what_is_answered() {
    let mut shown = BTreeSet::new();
    for example in PAGE.split("```http\nGET ").skip(1) {
        let (path, rest) = example.split_once("\n```\n```json\n").unwrap();
        let (json, _) = rest.split_once("\n```").unwrap();
        let shows: Value = serde_json::from_str(json).unwrap();
        let answers = answer(path).await;
        let pretty = serde_json::to_string_pretty(&answers).unwrap();
        assert_eq!(shows, answers, "GET {path} answers\n{pretty}");
        shown.insert(path.split(['?', '=']).next().unwrap().to_owned());
    }
    assert!(shown.len() >= 4, "{shown:?}");
}

#[test]
fn each_path_is_there() {
    let paths = table("| path | answers |");
    let paths: Vec<&str> = paths.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(paths, PATHS);
}

#[test]
fn each_error_is_there_with_its_status() {
    let shown = table("| error | status | when |");
    let shown: BTreeMap<&str, &str> = shown.iter().map(|row| (&*row[0], &*row[1])).collect();
    let statuses = Problem::ALL.map(|problem| problem.status().as_u16().to_string());
    let known = Problem::ALL.iter().map(|problem| problem.category());
    let known: BTreeMap<&str, &str> = known.zip(statuses.iter().map(String::as_str)).collect();
    assert_eq!(shown, known);
}

#[test]
fn each_limit_is_there() {
    let limits = Limits::default();
    let shown = table("| what | limit |");
    let seconds = |time: std::time::Duration| format!("{} s", time.as_secs());
    for (row, expected) in [
        (0, format!("{};", limits.connections)),
        (1, format!("{};", limits.connections_per_client)),
        (2, format!("{};", limits.watchers)),
        (
            3,
            format!("16 KiB, 64 headers, {}", seconds(limits.head_timeout)),
        ),
        (4, seconds(limits.write_stall)),
        (5, seconds(limits.pace.line)),
        (6, seconds(limits.connection_age)),
    ] {
        assert!(
            shown[row][1].starts_with(&expected),
            "{:?}: {expected}",
            shown[row]
        );
    }
    let bookmark = format!(
        "after {} without another line",
        seconds(limits.pace.bookmark)
    );
    assert!(PAGE.contains(&bookmark), "{bookmark}");
}

#[test]
fn each_metric_is_there() {
    let metrics = Metrics::new().unwrap();
    // These show their causes once there is one.
    let (zero, mut counters) = (Counters::default(), Counters::default());
    counters.refuse("BadSignature");
    metrics.follow(&zero, &counters);
    let handshakes = BTreeMap::from([(Refusal::NoAnswer, 1)]);
    metrics.follow_handshakes(&BTreeMap::new(), &handshakes);
    let text = String::from_utf8(metrics.render().unwrap()).unwrap();
    let known = families(&text);
    let known = known
        .iter()
        .filter(|(name, _)| !name.starts_with("process_"));
    let row = |(name, (help, kind, _)): (&String, &(String, String, bool))| {
        format!("| `{name}` | {kind} | {help} |")
    };
    let known: Vec<String> = known.map(row).collect();
    let (_, shown) = PAGE
        .split_once("| metric | type | meaning |\n|---|---|---|\n")
        .unwrap();
    let known = known.join("\n");
    assert_eq!(shown.trim_end(), known, "the table is\n{known}");
}
