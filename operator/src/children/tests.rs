#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::Path;

use super::*;

fn children() -> Vec<Child> {
    let owner = OwnerReference {
        api_version: "slotmesh.dev/v1alpha1".into(),
        kind: "GossipCluster".into(),
        name: "sessions".into(),
        uid: "6f1c2d3e-0000-4000-8000-000000000001".into(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    };
    let uid = owner.uid.clone();
    let parent = Parent {
        namespace: "team",
        name: "sessions",
        uid: &uid,
        owner,
        agent_image: "agent:1",
    };
    let trust = Trust {
        ca: "PEM",
        map_keys: "KEY",
        join_address: "10.0.0.1:7401",
    };
    all(&parent, &trust)
}

/// A change here restarts every agent of every cluster on upgrade: make it on purpose only.
#[test]
fn the_pod_template_is_what_it_was() {
    let daemon_set = children().pop().unwrap();
    let found = serde_json::to_string_pretty(&daemon_set.object).unwrap() + "\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/children/daemonset.golden.json");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    let golden = std::fs::read_to_string(path).unwrap();
    assert_eq!(
        found, golden,
        "run with UPDATE_GOLDEN=1 if every agent is to restart on upgrade"
    );
}

#[test]
fn every_child_is_owned_labelled_and_unversioned() {
    for child in children() {
        let metadata = &child.object["metadata"];
        assert_eq!(
            metadata["ownerReferences"][0]["controller"], true,
            "{}",
            child.kind
        );
        assert_eq!(metadata["labels"]["slotmesh.dev/cluster"], "sessions");
        assert!(
            !child
                .object
                .to_string()
                .contains("app.kubernetes.io/version")
        );
        assert_eq!(child.object["kind"], child.kind);
    }
}
