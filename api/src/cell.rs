//! `GossipCell`: the record. The operator writes each map here by compare-and-swap before it signs
//! and publishes it; nobody else writes it.

#![allow(clippy::duplicated_attributes)] // the lint takes the columns' types for repetition

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Most members one cell can list.
pub const MEMBERS_MAX: usize = 1000;
/// Most owners on one member.
pub const OWNERS_PER_MEMBER_MAX: usize = 64;

/// The record of one cell: who its members are and which slots each owner holds, at one epoch.
///
/// Written by the operator alone, always guarded by `resourceVersion`. Editing it by hand breaks its
/// seal, and the operator then refuses to go on from it (Frozen/RecordTampered).
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "slotmesh.dev",
    version = "v1alpha1",
    kind = "GossipCell",
    plural = "gossipcells",
    shortname = "gcell",
    category = "slotmesh",
    namespaced,
    derive = "PartialEq",
    doc = "The record of one gossip group: members and slot owners at one epoch, written by the operator alone. While `protocol.mode` is Affinity, ownership is best effort: the map that an agent has applied alone decides.",
    printcolumn(
        name = "Cluster",
        type_ = "string",
        json_path = ".spec.clusterRef.name"
    ),
    printcolumn(name = "Epoch", type_ = "integer", json_path = ".spec.epoch"),
    printcolumn(name = "Slots", type_ = "string", json_path = ".spec.slots"),
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.protocol.mode"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[x_kube(
    validation = Rule::new("self.clusterRef == oldSelf.clusterRef").message("clusterRef is immutable"),
    validation = Rule::new("self.era > oldSelf.era || (self.era == oldSelf.era && (self.epoch > oldSelf.epoch || self == oldSelf))")
        .message("a record only moves to a higher (era, epoch)")
)]
#[serde(rename_all = "camelCase")]
pub struct GossipCellSpec {
    /// The cluster that this cell belongs to. Immutable.
    pub cluster_ref: ClusterReference,

    /// Counts restorations of the record from a backup; 0 for nearly everyone.
    #[schemars(range(min = 0))]
    pub era: i32,

    /// Number of this map; strictly increasing. The first is the Unix time at which the cluster was
    /// created, in seconds.
    #[schemars(range(min = 1))]
    pub epoch: i64,

    /// Slots of this cell, in Redis notation (`0-5460,7000`).
    #[schemars(length(max = 65536))]
    pub slots: String,

    /// What all members agree on.
    pub protocol: CellProtocol,

    /// The members, sorted by name.
    #[serde(default)]
    #[schemars(length(max = 1000))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub members: Vec<CellMember>,

    /// Where the slots went when this cell was split: its last word. Once every member has applied its
    /// part's first map, this object is deleted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub delegation: Vec<CellDelegation>,

    /// The other cells of the cluster, sorted by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 63))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub directory: Vec<CellDirectoryEntry>,

    /// HMAC-SHA256 over the canonical map, base64; its key lies in the operator's namespace only.
    #[schemars(length(min = 44, max = 44))]
    pub seal: String,
}

/// The cluster that a cell belongs to.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ClusterReference {
    /// Name of the `GossipCluster`.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// UID of the `GossipCluster`.
    #[schemars(length(min = 36, max = 36))]
    pub uid: String,
}

/// What all members of a cell agree on.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct CellProtocol {
    /// Version of the wire format that all members speak.
    #[schemars(range(min = 1, max = 65535))]
    pub wire_version: i32,
    /// Affinity: the applied map alone decides who owns a slot (best effort).
    pub mode: CellMode,
    /// Time between two heartbeats, in milliseconds.
    #[schemars(range(min = 100, max = 5000))]
    pub heartbeat_interval_milliseconds: i32,
    /// Observers of each member (all others in a smaller cell).
    #[schemars(range(min = 1, max = 16))]
    pub observers: i32,
    /// Share of a member's observers that must report it, in percent, at the end of the peeling.
    #[schemars(range(min = 1, max = 100))]
    pub verdict_percent: i32,
}

/// How ownership is decided, as the record says. Affinity is best effort: the map that an agent has
/// applied alone decides who owns a slot.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum CellMode {
    /// The applied map alone decides: best effort.
    Affinity,
}

/// A member of a cell: an agent that was admitted to it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct CellMember {
    /// Name of the agent's pod.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// UID of the agent's pod.
    #[schemars(length(min = 36, max = 36))]
    pub uid: String,
    /// Epoch that admitted this process.
    #[schemars(range(min = 1))]
    pub incarnation: i64,
    /// Ed25519 public key of this process, base64.
    #[schemars(length(min = 44, max = 44))]
    pub key: String,
    /// Node that the pod runs on.
    #[schemars(length(min = 1, max = 253))]
    pub node: String,
    /// Zone of the node; empty when unknown.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 253))]
    pub zone: String,
    /// Address of the mesh port, `ip:port`.
    #[schemars(length(min = 3, max = 64))]
    pub address: String,
    /// Found failed while the operator refuses to plan (Frozen): listed, with its slots, and takes no part.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub failed: bool,
    /// Owners of slots that live on this member.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub owners: Vec<CellOwner>,
}

/// Part of a cell that has become a cell of its own.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct CellDelegation {
    /// Name of the part's `GossipCell`.
    #[schemars(length(min = 1, max = 253))]
    pub cell: String,
    /// Its slots, in Redis notation.
    #[schemars(length(max = 65536))]
    pub slots: String,
    /// SHA-256 of its first map's canonical form, base64.
    #[schemars(length(min = 44, max = 44))]
    pub first_map_sha256: String,
    /// Epoch of its first map.
    #[schemars(range(min = 1))]
    pub start_epoch: i64,
}

/// Another cell of the cluster.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct CellDirectoryEntry {
    /// Name of its `GossipCell`.
    #[schemars(length(min = 1, max = 253))]
    pub cell: String,
    /// Its slots, in Redis notation.
    #[schemars(length(max = 65536))]
    pub slots: String,
    /// Local APIs of some of its members, `ip:port`: whom to ask there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 3))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub entries: Vec<String>,
}

/// An owner of slots.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct CellOwner {
    /// Name of the owner: the agent's pod.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// UID of the owner.
    #[schemars(length(min = 36, max = 36))]
    pub uid: String,
    /// Address that clients are sent to, `ip:port`.
    #[schemars(length(min = 3, max = 64))]
    pub address: String,
    /// Weight of the owner (100 is usual, 0 drains it).
    #[schemars(range(min = 0, max = 10000))]
    pub capacity: i32,
    /// Slots that it owns, in Redis notation.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 65536))]
    pub slots: String,
}
