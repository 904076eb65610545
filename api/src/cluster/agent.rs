//! The agents of a cluster, as a user wants them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Toleration;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::quantity::Quantity;

/// Nodes that are updated at once when the user says nothing.
pub const MAX_SURGE_DEFAULT: &str = "10%";

/// The agents of a cluster.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AgentSpec {
    /// Image of the agent. Unset follows the operator: its own default changes with an upgrade.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,

    /// When a node pulls the image. Unset is IfNotPresent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<ImagePullPolicy>,

    /// Secrets of this namespace with which nodes pull the image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub image_pull_secrets: Vec<ImagePullSecret>,

    /// Resources of the agent's container. Unset requests 20m CPU and 32Mi of memory, with a limit
    /// of 128Mi of memory. Replaced as a whole, never merged with that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<AgentResources>,

    /// Only nodes with these labels run an agent. Unset is every node.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,

    /// Taints that agents tolerate, beside those that every DaemonSet tolerates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub tolerations: Vec<Toleration>,

    /// PriorityClass of the agents' pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,

    /// How agents are replaced when their pod template changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update: Option<UpdateSpec>,

    /// Merged over the agents' pod template: `metadata.labels`, `metadata.annotations` and `spec`, as
    /// in a PodTemplateSpec. Containers, environment and volumes are merged by name (the agent's
    /// container is `agent`), lists that Kubernetes keeps whole are replaced. What the mesh rests on
    /// is refused (Stalled/InvalidPodOverrides): `hostNetwork`, `hostPID`, `hostIPC`,
    /// `serviceAccountName`, `serviceAccount`, `automountServiceAccountToken`, `nodeName`, the agent's
    /// `command` and `args`, and labels, ports, volumes and mounts that the operator sets. Of the
    /// agent's environment, names that begin with `SLOTMESH_` are the operator's, but for
    /// `SLOTMESH_LOG_LEVEL` and `SLOTMESH_LOG_FORMAT`, which are yours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub pod_overrides: Option<serde_json::Value>,
}

/// When a node pulls the image. Unset is IfNotPresent.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ImagePullPolicy {
    /// At every start.
    Always,
    /// When the node does not have it.
    #[default]
    IfNotPresent,
    /// Never: the node must have it.
    Never,
}

/// A Secret of the cluster's namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ImagePullSecret {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// Resources of the agent's container.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AgentResources {
    /// What a node sets aside for the agent, by resource.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub requests: BTreeMap<String, Quantity>,
    /// What the agent may use at most, by resource.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub limits: BTreeMap<String, Quantity>,
}

/// How agents are replaced when their pod template changes.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct UpdateSpec {
    /// RollingUpdate replaces agents node by node; OnDelete replaces an agent when somebody deletes
    /// its pod.
    #[serde(rename = "type", default)]
    pub type_: UpdateType,

    /// Nodes that are updated at once, a number (1 to 100) or a share (1% to 100%). The old agent
    /// stays until the new one on its node is a member and Ready.
    // Not nullable: a null that reached us would keep the operator from reading any cluster.
    #[serde(default = "max_surge_default")]
    #[schemars(extend("nullable" = false))]
    #[x_kube(validation = Rule::new("type(self) == string ? self.matches('^([1-9][0-9]?|100)%$') : (self >= 1 && self <= 100)")
        .message("maxSurge must be 1 to 100, or \"1%\" to \"100%\""))]
    pub max_surge: IntOrString,
}

impl Default for UpdateSpec {
    fn default() -> Self {
        Self {
            type_: UpdateType::default(),
            max_surge: max_surge_default(),
        }
    }
}

/// How agents are replaced.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UpdateType {
    /// Node by node.
    #[default]
    RollingUpdate,
    /// When somebody deletes a pod.
    OnDelete,
}

fn max_surge_default() -> IntOrString {
    IntOrString::String(MAX_SURGE_DEFAULT.to_owned())
}

/// An object whose content the API server keeps and does not look into.
fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "nullable": true,
        "x-kubernetes-preserve-unknown-fields": true,
    })
}
