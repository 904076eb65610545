//! The DaemonSet of agents.

use serde_json::{Value, json};
use slotmesh_api::names;

use super::{Child, Parent, child, labels};

/// Life of a projected token; the kubelet renews it.
const TOKEN_SECONDS: u32 = 3600;
/// Time for an agent to leave: its own bound is 5 s.
const GRACE_SECONDS: u32 = 15;
const TRUST_DIR: &str = "/etc/slotmesh/trust";
const TOKEN_DIR: &str = "/var/run/secrets/slotmesh";

pub(super) fn build(parent: &Parent<'_>) -> Child {
    let selector = labels::selector(parent.name, parent.uid);
    let body = json!({"spec": {
        "selector": {"matchLabels": selector},
        "minReadySeconds": 5,
        "updateStrategy": {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": "10%", "maxUnavailable": 0},
        },
        "template": {
            "metadata": {"labels": labels::of_child(parent.name, parent.uid, "agent")},
            "spec": pod(parent),
        },
    }});
    child(
        parent,
        ("apps/v1", "DaemonSet", "daemonsets"),
        names::agent(parent.name),
        "agent",
        body,
    )
}

fn pod(parent: &Parent<'_>) -> Value {
    json!({
        "serviceAccountName": names::agent(parent.name),
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container(parent)],
        "volumes": [
            {"name": "trust", "configMap": {"name": names::trust(parent.name)}},
            {"name": "token", "projected": {"sources": [{"serviceAccountToken": {
                "audience": parent.uid, "expirationSeconds": TOKEN_SECONDS, "path": "token",
            }}]}},
        ],
    })
}

fn container(parent: &Parent<'_>) -> Value {
    let from_field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    let probe = |path: &str, seconds: u32, failures: u32| {
        json!({
            "httpGet": {"path": path, "port": "http"},
            "periodSeconds": seconds,
            "failureThreshold": failures,
        })
    };
    json!({
        "name": "agent",
        "image": parent.agent_image,
        "imagePullPolicy": "IfNotPresent",
        "env": [
            {"name": "SLOTMESH_CLUSTER_NAME", "value": parent.name},
            {"name": "SLOTMESH_CLUSTER_UID", "value": parent.uid},
            from_field("SLOTMESH_POD_NAME", "metadata.name"),
            from_field("SLOTMESH_POD_UID", "metadata.uid"),
            from_field("SLOTMESH_POD_IP", "status.podIP"),
            from_field("SLOTMESH_NODE_NAME", "spec.nodeName"),
            {"name": "SLOTMESH_TRUST_DIR", "value": TRUST_DIR},
            {"name": "SLOTMESH_TOKEN_FILE", "value": format!("{TOKEN_DIR}/token")},
        ],
        "ports": [
            {"name": "mesh", "containerPort": names::PORT_MESH, "protocol": "UDP"},
            {"name": "http", "containerPort": names::PORT_HTTP, "protocol": "TCP"},
            {"name": "metrics", "containerPort": names::PORT_METRICS, "protocol": "TCP"},
        ],
        "resources": {
            "requests": {"cpu": "20m", "memory": "32Mi"},
            "limits": {"memory": "128Mi"},
        },
        "startupProbe": probe("/livez", 1, 60),
        "livenessProbe": probe("/livez", 10, 3),
        "readinessProbe": probe("/readyz", 1, 3),
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "trust", "mountPath": TRUST_DIR, "readOnly": true},
            {"name": "token", "mountPath": TOKEN_DIR, "readOnly": true},
        ],
    })
}
