//! The objects that a cluster owns. Each is a pure function of the cluster; the reconciler applies
//! them (server-side apply, our field manager). The same spec and image always give the same bytes,
//! so that an upgrade of the operator rolls no agents by surprise.

mod daemonset;
pub mod labels;
mod overrides;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde_json::{Value, json};
use slotmesh_api::{AgentSpec, names};

pub use daemonset::agents;
pub use overrides::PodOverridesError;

type Kind = (&'static str, &'static str, &'static str);
const SERVICE_ACCOUNT: Kind = ("v1", "ServiceAccount", "serviceaccounts");
const CONFIG_MAP: Kind = ("v1", "ConfigMap", "configmaps");
const SERVICE: Kind = ("v1", "Service", "services");
const NETWORK_POLICY: Kind = ("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies");
const DAEMON_SET: Kind = ("apps/v1", "DaemonSet", "daemonsets");

/// apiVersion, kind and plural of every child but the DaemonSet.
pub const KINDS: [Kind; 4] = [SERVICE_ACCOUNT, CONFIG_MAP, SERVICE, NETWORK_POLICY];

/// What children are made from.
#[derive(Clone, Debug)]
pub struct Parent<'a> {
    /// Namespace of the cluster.
    pub namespace: &'a str,
    /// Name of the cluster.
    pub name: &'a str,
    /// UID of the cluster.
    pub uid: &'a str,
    /// Controller reference to the cluster.
    pub owner: OwnerReference,
    /// Image of the agents.
    pub agent_image: &'a str,
    /// What the user wants of the agents.
    pub agent: &'a AgentSpec,
}

/// What agents need to trust and find the operator.
#[derive(Clone, Debug)]
pub struct Trust<'a> {
    /// PEM bundle of the CA.
    pub ca: &'a str,
    /// Keys that verify maps, base64, one a line.
    pub map_keys: &'a str,
    /// `ip:port` of the leader's join endpoint.
    pub join_address: &'a str,
}

/// One child, ready to be applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Child {
    /// apiVersion.
    pub api_version: &'static str,
    /// kind.
    pub kind: &'static str,
    /// Plural of the kind.
    pub plural: &'static str,
    /// metadata.name.
    pub name: String,
    /// The whole object.
    pub object: Value,
}

impl Child {
    /// Whether it runs the agents.
    #[must_use]
    pub fn is_daemon_set(&self) -> bool {
        self.plural == DAEMON_SET.2
    }
}

/// Every child of a cluster but its DaemonSet ([`agents`]), which refers to these.
#[must_use]
pub fn before_agents(parent: &Parent<'_>, trust: &Trust<'_>) -> Vec<Child> {
    vec![
        service_account(parent),
        trust_map(parent, trust),
        service(parent),
        network_policy(parent),
    ]
}

fn child(
    parent: &Parent<'_>,
    (api_version, kind, plural): Kind,
    name: String,
    component: &str,
    body: Value,
) -> Child {
    let mut object = json!({
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": parent.namespace,
            "labels": labels::of_child(parent.name, parent.uid, component),
            "ownerReferences": [parent.owner],
        },
    });
    if let (Some(object), Value::Object(body)) = (object.as_object_mut(), body) {
        object.extend(body);
    }
    Child {
        api_version,
        kind,
        plural,
        name,
        object,
    }
}

fn service_account(parent: &Parent<'_>) -> Child {
    let body = json!({"automountServiceAccountToken": false});
    child(
        parent,
        SERVICE_ACCOUNT,
        names::agent(parent.name),
        "agent",
        body,
    )
}

fn trust_map(parent: &Parent<'_>, trust: &Trust<'_>) -> Child {
    let body = json!({"data": {
        names::TRUST_CA: trust.ca,
        names::TRUST_MAP_KEYS: trust.map_keys,
        names::TRUST_JOIN_ADDRESS: trust.join_address,
    }});
    child(parent, CONFIG_MAP, names::trust(parent.name), "trust", body)
}

fn service(parent: &Parent<'_>) -> Child {
    let body = json!({"spec": {
        "selector": labels::selector(parent.name, parent.uid),
        "internalTrafficPolicy": "Local",
        "ports": [{"name": "http", "port": names::PORT_HTTP, "targetPort": "http", "protocol": "TCP"}],
    }});
    child(parent, SERVICE, names::service(parent.name), "api", body)
}

fn network_policy(parent: &Parent<'_>) -> Child {
    let operator = json!({
        "namespaceSelector": {},
        "podSelector": {"matchLabels": {"app.kubernetes.io/component": "operator", "app.kubernetes.io/part-of": names::PART_OF}},
    });
    let body = json!({"spec": {
        "podSelector": {"matchLabels": labels::selector(parent.name, parent.uid)},
        "policyTypes": ["Ingress"],
        "ingress": [
            {
                "from": [{"podSelector": {"matchLabels": labels::selector(parent.name, parent.uid)}}, operator],
                "ports": [{"port": names::PORT_MESH, "protocol": "UDP"}],
            },
            {"from": [{"podSelector": {}}], "ports": [{"port": names::PORT_HTTP, "protocol": "TCP"}]},
            {"ports": [{"port": names::PORT_METRICS, "protocol": "TCP"}]},
        ],
    }});
    child(
        parent,
        NETWORK_POLICY,
        names::agent(parent.name),
        "agent",
        body,
    )
}

#[cfg(test)]
mod tests;
