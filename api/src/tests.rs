#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use std::path::Path;

use crate::{GossipCluster, GossipClusterSpec, crds, names};

/// kubectl keeps the last applied object in an annotation, which may hold 256 KiB.
const CRD_BYTES_MAX: usize = 200 * 1024;

#[test]
fn committed_crds_are_current_and_small() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for (file, crd) in crds::all() {
        let expected = serde_saphyr::to_string(&crd).unwrap();
        let of_chart = root.join("charts/slotmesh/files/crds").join(file);
        assert_eq!(
            std::fs::read_to_string(of_chart).unwrap_or_default(),
            expected,
            "the chart's {file} is stale: run `make crds`"
        );
        let found = std::fs::read_to_string(root.join("crds").join(file)).unwrap_or_default();
        assert_eq!(found, expected, "crds/{file} is stale: run `make crds`");
        assert!(
            serde_json::to_vec(&crd).unwrap().len() < CRD_BYTES_MAX,
            "{file} is too large"
        );
    }
}

#[test]
fn empty_spec_is_complete() {
    let cluster = GossipCluster::new("sessions", GossipClusterSpec::default());
    assert_eq!(
        serde_json::to_value(&cluster.spec).unwrap(),
        serde_json::json!({})
    );
    assert_eq!(cluster.heartbeat_interval_milliseconds(), 200);
    let parsed: GossipClusterSpec =
        serde_json::from_value(serde_json::json!({"health": {}})).unwrap();
    assert_eq!(parsed.health.unwrap().heartbeat_interval_milliseconds, 200);
}

#[test]
fn every_field_is_documented() {
    for (file, crd) in crds::all() {
        let schema = serde_json::to_value(&crd.spec.versions[0].schema).unwrap();
        let parts = &schema["openAPIV3Schema"]["properties"];
        assert!(parts["spec"]["properties"].is_object(), "{file}: no spec");
        // A record has no status; should it get one, it is looked at as well.
        let status = parts["status"]["properties"].is_object();
        assert_eq!(status, crd.spec.names.kind == "GossipCluster", "{file}");
        assert_documented(file, "", &schema["openAPIV3Schema"]);
    }
}

fn assert_documented(file: &str, path: &str, schema: &serde_json::Value) {
    let Some(properties) = schema["properties"].as_object() else {
        return;
    };
    for (name, property) in properties {
        let path = format!("{path}.{name}");
        assert!(
            property["description"].is_string(),
            "{file}: {path} has no description"
        );
        assert_documented(file, &path, property);
        assert_documented(file, &path, &property["items"]);
    }
}

#[test]
fn names_fit_and_are_stable() {
    let uid = "6f1c2d3e-0000-4000-8000-000000000001";
    let longest = "x".repeat(40);
    assert_eq!(
        names::cell("sessions", uid, 0),
        names::cell("sessions", uid, 0)
    );
    assert_ne!(
        names::cell("sessions", uid, 0),
        names::cell("sessions", uid, 1)
    );
    for name in [
        names::agent(&longest),
        names::trust(&longest),
        names::cell(&longest, uid, 7),
    ] {
        assert!(name.len() <= 63, "{name}");
    }
    assert_eq!(
        names::ca_secret("team", "sessions", uid),
        "team.sessions.6f1c2d3e-ca"
    );
}
