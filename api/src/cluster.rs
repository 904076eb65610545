//! `GossipCluster`: what a user asks for, and what came of it.

#![allow(clippy::duplicated_attributes)] // the lint takes the columns' types for repetition

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// Heartbeat interval when the user names none, in milliseconds.
pub const HEARTBEAT_INTERVAL_MILLISECONDS_DEFAULT: i32 = 200;
/// Shortest heartbeat interval, in milliseconds.
pub const HEARTBEAT_INTERVAL_MILLISECONDS_MIN: i32 = 100;
/// Longest heartbeat interval, in milliseconds.
pub const HEARTBEAT_INTERVAL_MILLISECONDS_MAX: i32 = 5000;

/// What a user asks for: a mesh of agents, one per node, among which 16384 hash slots are divided.
///
/// An empty spec is a complete cluster. The owners of slots are the agents themselves.
///
/// Ownership is best effort: until leases exist, the map that an agent has applied alone decides who
/// owns a slot. While a new map spreads, or while an agent is cut off from its peers, two agents can
/// name two owners of one slot. Do not build mutual exclusion on it.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "slotmesh.dev",
    version = "v1alpha1",
    kind = "GossipCluster",
    plural = "gossipclusters",
    shortname = "gossip",
    category = "slotmesh",
    namespaced,
    status = "GossipClusterStatus",
    derive = "PartialEq",
    doc = "A mesh of agents, one per node, that detects failures among peers in about a second and divides 16384 hash slots among its members. `spec: {}` is a complete object. Ownership is best effort: until leases exist the applied map alone decides who owns a slot, so two agents can disagree for as long as a new map takes to reach both.",
    validation = Rule::new("self.metadata.name.size() <= 40")
        .message("metadata.name must be at most 40 characters: the names of children are derived from it"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status", description = "True when every slot has a live owner"),
    printcolumn(name = "Members", type_ = "integer", json_path = ".status.members", description = "Agents admitted to the mesh"),
    printcolumn(name = "Owners", type_ = "integer", json_path = ".status.owners", description = "Owners of slots"),
    printcolumn(name = "Served", type_ = "integer", json_path = ".status.servedSlots", description = "Slots with an owner, of 16384"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason", description = "Why the cluster is, or is not, ready"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Desired", type_ = "integer", json_path = ".status.desiredMembers", description = "Agents that should be members", priority = 1),
    printcolumn(name = "Failed", type_ = "integer", json_path = ".status.failedMembers", description = "Agents that were members, exist, and are not members now", priority = 1),
    printcolumn(name = "Epoch", type_ = "integer", json_path = ".status.epoch", description = "Epoch of the newest recorded map", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].message", priority = 1)
)]
#[serde(rename_all = "camelCase")]
pub struct GossipClusterSpec {
    /// The agents: one pod on each node, run by a DaemonSet that the operator owns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentSpec>,

    /// How failures are detected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthSpec>,
}

/// The agents of a cluster.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AgentSpec {
    /// Image of the agent. Unset follows the operator: its own default changes with an upgrade.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
}

/// How failures are detected.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct HealthSpec {
    /// Time between two heartbeats of a member to each of its observers, in milliseconds (100 to
    /// 5000). Detection of a crash takes about four heartbeats; a longer interval costs less CPU.
    #[serde(default = "heartbeat_interval_milliseconds_default")]
    #[schemars(range(min = 100, max = 5000))]
    pub heartbeat_interval_milliseconds: i32,
}

impl Default for HealthSpec {
    fn default() -> Self {
        Self {
            heartbeat_interval_milliseconds: HEARTBEAT_INTERVAL_MILLISECONDS_DEFAULT,
        }
    }
}

/// What came of a `GossipCluster`. At rest, every condition but `Ready` is False.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct GossipClusterStatus {
    /// The `metadata.generation` that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Epoch of the newest recorded map; a larger epoch wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<i64>,

    /// Agents that should be members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired_members: Option<i32>,

    /// Agents that the recorded map lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<i32>,

    /// Agents whose pod exists, that were members and are not members now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_members: Option<i32>,

    /// Owners of slots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owners: Option<i32>,

    /// Slots that have an owner in the recorded map, of 16384.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served_slots: Option<i32>,

    /// Version of the wire format that all members speak.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wire_version: Option<i32>,

    /// The gossip groups of the cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub cells: Vec<CellSummary>,

    /// Conditions: Ready, Reconciling, Stalled, Degraded, Frozen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// One gossip group of a cluster.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CellSummary {
    /// Name of the `GossipCell` object that records it.
    pub name: String,
    /// Epoch of its map.
    pub epoch: i64,
    /// Members that its map lists.
    pub members: i32,
    /// Slots of the cell that have an owner.
    pub slots: i32,
}

impl GossipCluster {
    /// The heartbeat interval in force, in milliseconds.
    #[must_use]
    pub fn heartbeat_interval_milliseconds(&self) -> i32 {
        self.spec
            .health
            .as_ref()
            .map_or(HEARTBEAT_INTERVAL_MILLISECONDS_DEFAULT, |health| {
                health.heartbeat_interval_milliseconds
            })
    }

    /// The agent image that the user chose, if any.
    #[must_use]
    pub fn agent_image(&self) -> Option<&str> {
        self.spec.agent.as_ref()?.image.as_deref()
    }
}

fn heartbeat_interval_milliseconds_default() -> i32 {
    HEARTBEAT_INTERVAL_MILLISECONDS_DEFAULT
}
