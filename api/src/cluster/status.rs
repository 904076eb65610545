//! What came of a `GossipCluster`, and the words of its columns.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::CellMode;

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

    /// Agents that the recorded map lists, without those that it lists as failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<i32>,

    /// Agents that the recorded map lists as failed, and agents whose pod exists, that were members and
    /// are not listed now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_members: Option<i32>,

    /// Owners of slots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owners: Option<i32>,

    /// Slots that have an owner in the recorded map, of 16384.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served_slots: Option<i32>,

    // Explained by the text of its type, which takes this place in the schema.
    /// How ownership is decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<CellMode>,

    /// Version of the wire format that all members speak.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wire_version: Option<i32>,

    /// Versions of the agents that are members, read from the tags of their images: the four that
    /// most members run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub agent_versions: Vec<AgentVersion>,

    /// How many gossip groups the cluster has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cell_count: Option<i32>,

    /// The gossip groups of the cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub cells: Vec<CellSummary>,

    /// The plan that waits to be carried out, while a mode is Preview.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanSummary>,

    /// Conditions: Ready, Reconciling, Stalled, Degraded, Rebalancing, Frozen.
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
    /// Members that its map lists, those that it lists as failed among them.
    pub members: i32,
    /// Slots of the cell that have an owner.
    pub slots: i32,
    /// How fast a map came into force on the members: the last one that all have applied, or that some
    /// have not after 15 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub convergence: Option<MapConvergence>,
}

/// How fast a map came into force. Times are rounded up (1, 2, 5, 10, 15, 20, 25, 50, 100, 150, 250, 500,
/// 1000, 2500, 5000, 10000 ms), and left out where that share was not reached.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct MapConvergence {
    /// Epoch of that map.
    pub epoch: i64,
    /// Members that were to apply it: those that the map before it listed too.
    pub members: i32,
    /// Members that said that they did.
    pub applied_members: i32,
    /// Time from publishing the map until half of the members had applied it, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub half_milliseconds: Option<i64>,
    /// The same for 99 of a hundred.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ninety_nine_percent_milliseconds: Option<i64>,
    /// The same for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all_milliseconds: Option<i64>,
}

/// How many members run one version of the agent.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AgentVersion {
    /// Tag of the agent's image, or the beginning of its digest.
    pub version: String,
    /// Members that run it.
    pub members: i32,
}

/// A plan: which slots would change their owner, and why.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PlanSummary {
    /// Epoch of the map that the plan starts from.
    pub parent_epoch: i64,
    /// Why: `Rebalance`, `Drain`, `Split`.
    pub cause: String,
    /// Runs of slots that would move from one owner to another.
    pub moves: i32,
    /// Slots that would change their owner.
    pub slots: i32,
    /// Slots that already have.
    pub done_slots: i32,
}
