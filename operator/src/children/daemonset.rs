//! The DaemonSet of agents.

use serde_json::{Value, json};
use slotmesh_api::{AgentResources, AgentSpec, UpdateSpec, UpdateType, names};

use super::overrides::{self, PodOverridesError};
use super::{Child, DAEMON_SET, Parent, child, labels};

/// Life of a projected token; the kubelet renews it.
const TOKEN_SECONDS: u32 = 3600;
/// Time for an agent to leave: its own bound is 5 s.
const GRACE_SECONDS: u32 = 15;
const TRUST_DIR: &str = "/etc/slotmesh/trust";
const TOKEN_DIR: &str = "/var/run/secrets/slotmesh";
/// The last map outlives a container there, but not its pod.
const STATE_DIR: &str = "/var/lib/slotmesh";
/// Several times the largest map that is kept.
const STATE_SIZE_LIMIT: &str = "8Mi";

/// The DaemonSet of the cluster's agents.
///
/// # Errors
/// When the overrides cannot be merged.
pub fn agents(parent: &Parent<'_>) -> Result<Child, PodOverridesError> {
    let selector = labels::selector(parent.name, parent.uid);
    let mut template = json!({
        "metadata": {"labels": labels::of_child(parent.name, parent.uid, "agent")},
        "spec": pod(parent),
    });
    if let Some(overrides) = &parent.agent.pod_overrides {
        template = overrides::merge(template, overrides)?;
    }
    let body = json!({"spec": {
        "selector": {"matchLabels": selector},
        "minReadySeconds": 5,
        "updateStrategy": update_strategy(parent.agent),
        "template": template,
    }});
    Ok(child(
        parent,
        DAEMON_SET,
        names::agent(parent.name),
        "agent",
        body,
    ))
}

fn update_strategy(agent: &AgentSpec) -> Value {
    let UpdateSpec { type_, max_surge } = agent.update.clone().unwrap_or_default();
    match type_ {
        UpdateType::RollingUpdate => json!({
            "type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": max_surge, "maxUnavailable": 0},
        }),
        UpdateType::OnDelete => json!({"type": "OnDelete"}),
    }
}

fn pod(parent: &Parent<'_>) -> Value {
    let agent = parent.agent;
    let mut pod = json!({
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
            {"name": "state", "emptyDir": {"sizeLimit": STATE_SIZE_LIMIT}},
        ],
    });
    // What is not wanted is not there at all: an empty spec gives the same bytes as ever.
    let mut set = |name: &str, value: Value| {
        if let Some(pod) = pod.as_object_mut() {
            pod.insert(name.to_owned(), value);
        }
    };
    if !agent.image_pull_secrets.is_empty() {
        set("imagePullSecrets", json!(agent.image_pull_secrets));
    }
    if !agent.node_selector.is_empty() {
        set("nodeSelector", json!(agent.node_selector));
    }
    if !agent.tolerations.is_empty() {
        set("tolerations", json!(agent.tolerations));
    }
    if let Some(class) = &agent.priority_class_name {
        set("priorityClassName", json!(class));
    }
    pod
}

/// Enough for a member of a large cell; voters of one need more.
fn resources(wanted: Option<&AgentResources>) -> Value {
    match wanted {
        Some(resources) => json!(resources),
        None => json!({
            "requests": {"cpu": "20m", "memory": "32Mi"},
            "limits": {"memory": "128Mi"},
        }),
    }
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
        "name": overrides::CONTAINER,
        "image": parent.agent_image,
        "imagePullPolicy": parent.agent.image_pull_policy.unwrap_or_default(),
        "env": [
            {"name": "SLOTMESH_CLUSTER_NAME", "value": parent.name},
            {"name": "SLOTMESH_CLUSTER_UID", "value": parent.uid},
            from_field("SLOTMESH_POD_NAME", "metadata.name"),
            from_field("SLOTMESH_POD_UID", "metadata.uid"),
            from_field("SLOTMESH_POD_IP", "status.podIP"),
            from_field("SLOTMESH_NODE_NAME", "spec.nodeName"),
            {"name": "SLOTMESH_TRUST_DIR", "value": TRUST_DIR},
            {"name": "SLOTMESH_TOKEN_FILE", "value": format!("{TOKEN_DIR}/token")},
            {"name": "SLOTMESH_STATE_DIR", "value": STATE_DIR},
        ],
        "ports": [
            {"name": "mesh", "containerPort": names::PORT_MESH, "protocol": "UDP"},
            {"name": "http", "containerPort": names::PORT_HTTP, "protocol": "TCP"},
            {"name": "metrics", "containerPort": names::PORT_METRICS, "protocol": "TCP"},
        ],
        "resources": resources(parent.agent.resources.as_ref()),
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
            {"name": "state", "mountPath": STATE_DIR},
        ],
    })
}
