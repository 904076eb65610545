#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

use super::*;

fn name(name: &str) -> Name {
    ("default".to_owned(), name.to_owned())
}

#[test]
fn what_vanished_while_a_watch_was_down_is_looked_at() {
    let mut seen = Seen::default();
    seen.listed.extend([name("a"), name("b")]);
    assert!(
        seen.relisted().is_empty(),
        "the first listing lacks nothing"
    );
    seen.before.insert(name("c"));
    seen.listed.extend([name("b")]);
    assert_eq!(seen.relisted(), [name("a"), name("c")]);
    seen.listed.extend([name("b")]);
    assert!(seen.relisted().is_empty(), "told once");
}

/// What is thrown away must be nothing that anybody reads.
#[test]
fn a_trimmed_pod_says_the_same_and_is_smaller() {
    let whole: Pod = serde_json::from_value(json!({
        "metadata": {
            "name": "a", "namespace": "team", "uid": "6f1c2d3e-0000-4000-8000-000000000001",
            "labels": {
                "slotmesh.dev/cluster": "sessions",
                "slotmesh.dev/cluster-uid": "6f1c2d3e-0000-4000-8000-000000000002",
                "topology.kubernetes.io/zone": "z",
            },
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "DaemonSet", "name": "sessions-agent", "controller": true,
                "uid": "6f1c2d3e-0000-4000-8000-000000000003",
            }],
            "managedFields": [{"manager": "x", "fieldsV1": {"f:spec": {}}}],
        },
        "spec": {
            "nodeName": "n",
            "containers": [{"name": "agent", "image": "agent:1", "env": [{"name": "A", "value": "b"}]}],
            "volumes": [{"name": "token"}],
        },
        "status": {
            "phase": "Running", "podIP": "10.0.0.1",
            "conditions": [{"type": "Ready", "status": "True"}, {"type": "PodScheduled", "status": "True"}],
            "containerStatuses": [],
        },
    }))
    .unwrap();
    let mut trimmed = whole.clone();
    trim_pod(&mut trimmed);
    let nodes = Nodes::new();
    let facts = crate::inventory::pod_facts(&whole, &nodes).unwrap();
    assert!(facts.ready && facts.ip.is_some() && facts.daemon_set_uid.is_some());
    assert_eq!(crate::inventory::pod_facts(&trimmed, &nodes), Some(facts));
    assert_eq!(cluster_of(&trimmed.metadata), cluster_of(&whole.metadata));
    let kept = serde_json::to_value(&trimmed).unwrap();
    assert_eq!(
        kept["spec"],
        json!({"nodeName": "n", "containers": [{"name": "agent", "image": "agent:1"}]})
    );
    assert_eq!(kept["metadata"].get("managedFields"), None);
}

/// Somebody may edit the labels; the cluster must hear of it all the same.
#[test]
fn a_child_belongs_to_its_controller() {
    let metadata = |owners: Value| -> ObjectMeta {
        serde_json::from_value(json!({
            "namespace": "team", "labels": {"slotmesh.dev/cluster": "edited"}, "ownerReferences": owners,
        }))
        .unwrap()
    };
    let owner = |kind: &str| json!([{"apiVersion": "slotmesh.dev/v1alpha1", "kind": kind, "name": "sessions", "uid": "u", "controller": true}]);
    let of = |owners| child::cluster_of(&metadata(owners)).unwrap().1;
    assert_eq!(of(owner("GossipCluster")), "sessions");
    assert_eq!(of(owner("Deployment")), "edited");
    assert_eq!(of(json!([])), "edited");
}

/// A node that is cordoned drains its owner: nothing else would tell the cluster.
#[tokio::test]
async fn a_node_that_changed_wakes_every_cluster_and_a_heartbeat_none() {
    let mut writer = Writer::<GossipCluster>::default();
    let watch = NodeWatch {
        nodes: Arc::default(),
        clusters: vec![writer.as_reader()],
        queue: Queue::default(),
    };
    let mut cluster = GossipCluster::new("sessions", slotmesh_api::GossipClusterSpec::default());
    cluster.metadata.namespace = Some("team".to_owned());
    writer.apply_watcher_event(&watcher::Event::Apply(cluster));
    let node = |unschedulable: bool, heartbeat: &str| -> Node {
        serde_json::from_value(json!({
            "metadata": {"name": "n", "annotations": {"beat": heartbeat}},
            "spec": {"unschedulable": unschedulable},
        }))
        .unwrap()
    };
    let expected = ("team".to_owned(), "sessions".to_owned());
    for (unschedulable, heartbeat, wakes) in [
        (false, "1", true),
        (false, "2", false),
        (true, "3", true),
        (true, "4", false),
    ] {
        watch.seen(&node(unschedulable, heartbeat));
        let next = futures::FutureExt::now_or_never(watch.queue.next());
        assert_eq!(next, wakes.then(|| expected.clone()), "beat {heartbeat}");
    }
}
