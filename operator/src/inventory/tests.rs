#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::json;
use slotmesh_mesh::identity::Uid;

use super::{NodeFacts, Nodes, inventory, pod_facts};
use crate::seam::{ClusterKey, Inventory};

const CLUSTER: &str = "6f1c2d3e-0000-4000-8000-000000000001";
const FORMER: &str = "6f1c2d3e-0000-4000-8000-0000000000ff";

fn key() -> ClusterKey {
    ClusterKey {
        namespace: "team".into(),
        name: "sessions".into(),
        uid: CLUSTER.parse().unwrap(),
    }
}

fn pod(index: u8, node: &str, cluster_uid: &str) -> Pod {
    serde_json::from_value(json!({
        "metadata": {
            "name": format!("sessions-agent-{index}"), "namespace": "team",
            "uid": format!("00000000-0000-4000-8000-0000000000{index:02x}"),
            "labels": {"slotmesh.dev/cluster": "sessions", "slotmesh.dev/cluster-uid": cluster_uid},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "sessions-agent",
                "uid": "00000000-0000-4000-8000-00000000dddd", "controller": true}],
        },
        "spec": {"nodeName": node, "containers": []},
        "status": {"phase": "Running", "podIP": "10.0.0.7"},
    }))
    .unwrap()
}

fn daemon_set(desired: Option<i32>) -> DaemonSet {
    let status = desired.map(|desired| {
        json!({"observedGeneration": 1, "desiredNumberScheduled": desired,
            "currentNumberScheduled": 0, "numberMisscheduled": 0, "numberReady": 0})
    });
    serde_json::from_value(json!({
        "metadata": {"uid": "00000000-0000-4000-8000-00000000dddd"}, "status": status,
    }))
    .unwrap()
}

fn look(pods: &[Pod], set: Option<&DaemonSet>) -> Inventory {
    inventory(&key(), pods.iter(), set, &Nodes::new())
}

#[test]
fn wanted_never_falls_with_desired_number_scheduled_alone() {
    let pods = [pod(1, "a", CLUSTER), pod(2, "b", CLUSTER)];
    assert_eq!(
        look(&pods, Some(&daemon_set(Some(3)))).wanted,
        3,
        "a pod is still to come"
    );
    assert_eq!(
        look(&pods, Some(&daemon_set(Some(1)))).wanted,
        2,
        "a node is tainted unreachable"
    );
}

#[test]
fn two_pods_of_a_rollout_are_one_wanted_member() {
    let pods = [pod(1, "a", CLUSTER), pod(2, "a", CLUSTER)];
    assert_eq!(look(&pods, Some(&daemon_set(Some(1)))).wanted, 1);
}

#[test]
fn before_the_daemon_set_is_observed_one_more_is_wanted() {
    let pods = [pod(1, "a", CLUSTER)];
    assert_eq!(look(&pods, Some(&daemon_set(None))).wanted, 2);
    assert_eq!(look(&[], None).wanted, 1);
}

#[test]
fn pods_of_a_former_cluster_count_as_old_and_of_others_not_at_all() {
    let mut elsewhere = pod(4, "d", CLUSTER);
    elsewhere.metadata.namespace = Some("other".into());
    let pods = [pod(1, "a", CLUSTER), pod(2, "b", FORMER), elsewhere];
    let seen = look(&pods, Some(&daemon_set(Some(1))));
    assert_eq!((seen.pods.len(), seen.old_pods), (1, 1));
    let facts = seen.pods.values().next().unwrap();
    assert_eq!(facts.ip, Some("10.0.0.7".parse().unwrap()));
    assert_eq!(facts.daemon_set_uid, seen.daemon_set_uid);
    assert_eq!(
        facts.cluster_uid_label,
        Some(CLUSTER.parse::<Uid>().unwrap())
    );
}

#[test]
fn zone_and_capacity_come_from_the_node() {
    let table = [
        (json!({}), 100),
        (json!({"unschedulable": true}), 0),
        (
            json!({"taints": [{"key": "maintenance", "effect": "NoExecute"}]}),
            0,
        ),
        (
            json!({"taints": [{"key": "gpu", "effect": "NoSchedule"}]}),
            100,
        ),
        (
            json!({"taints": [{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}]}),
            100,
        ),
    ];
    for (spec, capacity) in table {
        let node: Node = serde_json::from_value(json!({
            "metadata": {"labels": {"topology.kubernetes.io/zone": "z1"}}, "spec": spec,
        }))
        .unwrap();
        assert_eq!(
            NodeFacts::of(&node),
            NodeFacts {
                zone: "z1".into(),
                capacity,
                ready: true,
            },
            "{node:?}"
        );
    }
    let nodes = Nodes::from([(
        "a".to_owned(),
        NodeFacts {
            zone: "z1".into(),
            capacity: 7,
            ready: true,
        },
    )]);
    let mut own = pod(2, "a", CLUSTER);
    own.metadata
        .labels
        .as_mut()
        .unwrap()
        .insert("topology.kubernetes.io/zone".into(), "z2".into());
    let seen = inventory(&key(), [pod(1, "a", CLUSTER), own].iter(), None, &nodes);
    let zones: Vec<_> = seen
        .pods
        .values()
        .map(|pod| (pod.zone.as_str(), pod.capacity))
        .collect();
    assert_eq!(zones, [("z1", 7), ("z2", 7)]);
}

#[test]
fn a_pod_is_ready_while_it_and_its_node_say_so() {
    let conditions = |status: &str| json!({"conditions": [{"type": "Ready", "status": status, "lastHeartbeatTime": null, "lastTransitionTime": null}]});
    for (of_pod, of_node, ready) in [
        ("True", "True", true),
        ("False", "True", false),
        ("True", "Unknown", false),
        ("True", "False", false),
    ] {
        let node: Node = serde_json::from_value(json!({"status": conditions(of_node)})).unwrap();
        let nodes = Nodes::from([("a".to_owned(), NodeFacts::of(&node))]);
        let mut pod = pod(1, "a", CLUSTER);
        pod.status = serde_json::from_value(conditions(of_pod)).unwrap();
        assert_eq!(
            pod_facts(&pod, &nodes).unwrap().ready,
            ready,
            "{of_pod} {of_node}"
        );
    }
    let silent = Nodes::from([("a".to_owned(), NodeFacts::default())]);
    let pod = pod(1, "a", CLUSTER);
    assert!(
        !pod_facts(&pod, &silent).unwrap().ready,
        "a pod that says nothing is not ready"
    );
}
