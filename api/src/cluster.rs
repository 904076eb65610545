//! `GossipCluster`: what a user asks for, and what came of it.

#![allow(clippy::duplicated_attributes)] // the lint takes the columns' types for repetition

mod agent;
mod quantity;
mod status;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use agent::{
    AgentResources, AgentSpec, ImagePullPolicy, ImagePullSecret, MAX_SURGE_DEFAULT, UpdateSpec,
    UpdateType,
};
pub use quantity::Quantity;
pub use status::{AgentVersion, CellSummary, GossipClusterStatus, MapConvergence, PlanSummary};

/// Heartbeat interval when the user names none, in milliseconds.
pub const HEARTBEAT_INTERVAL_MILLISECONDS_DEFAULT: i32 = 200;
/// Shortest heartbeat interval, in milliseconds.
pub const HEARTBEAT_INTERVAL_MILLISECONDS_MIN: i32 = 100;
/// Longest heartbeat interval, in milliseconds.
pub const HEARTBEAT_INTERVAL_MILLISECONDS_MAX: i32 = 5000;
/// Share of members that may be failed before the operator stops re-homing slots, in percent.
pub const MAX_UNHEALTHY_PERCENT_DEFAULT: i32 = 40;
/// Members of a cell above which it is split.
pub const CELL_MEMBERS_MAX_DEFAULT: i32 = 250;

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
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name must begin with a letter and hold only a-z, 0-9 and - (no dot, no - at the end): the cluster's Service takes it"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status", description = "True when every slot has a live owner"),
    printcolumn(name = "Members", type_ = "integer", json_path = ".status.members", description = "Agents admitted to the mesh"),
    printcolumn(name = "Owners", type_ = "integer", json_path = ".status.owners", description = "Owners of slots"),
    printcolumn(name = "Served", type_ = "integer", json_path = ".status.servedSlots", description = "Slots with an owner, of 16384"),
    printcolumn(name = "Cells", type_ = "integer", json_path = ".status.cellCount", description = "Gossip groups of the cluster"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason", description = "Why the cluster is, or is not, ready"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Desired", type_ = "integer", json_path = ".status.desiredMembers", description = "Agents that should be members", priority = 1),
    printcolumn(name = "Failed", type_ = "integer", json_path = ".status.failedMembers", description = "Agents listed as failed, or that were members, exist, and are not listed now", priority = 1),
    printcolumn(name = "Epoch", type_ = "integer", json_path = ".status.epoch", description = "Epoch of the newest recorded map", priority = 1),
    printcolumn(name = "Mode", type_ = "string", json_path = ".status.mode", description = "How ownership is decided: Affinity is best effort", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].message", priority = 1)
)]
#[serde(rename_all = "camelCase")]
pub struct GossipClusterSpec {
    /// While true the operator changes nothing: no child is applied and no new map is made. What
    /// runs goes on: the mesh detects failures, and agents answer from the last map.
    #[serde(default, skip_serializing_if = "is_false")]
    pub paused: bool,

    /// The agents: one pod on each node, run by a DaemonSet that the operator owns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentSpec>,

    /// How failures are detected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthSpec>,

    /// How slots are divided among owners.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balancing: Option<BalancingSpec>,

    /// The gossip groups of which the cluster consists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cells: Option<CellsSpec>,
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

/// How far the operator goes by itself.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Automation {
    /// It plans and acts.
    #[default]
    Automatic,
    /// It plans, shows the plan in `status.plan`, and does not act.
    Preview,
    /// It does neither.
    Disabled,
}

/// How slots are divided among owners.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct BalancingSpec {
    /// Automatic evens out slots whenever members come, go or change their capacity. Preview shows in
    /// `status.plan` what would move, and moves nothing. Disabled moves nothing. In each mode slots
    /// whose owner failed or left get another one.
    #[serde(default)]
    pub mode: Automation,

    /// Share of members in percent (1 to 100). When more of them than this, and more than one, are
    /// failed at once, the operator records who failed, moves no slot and says Frozen/MassFailure: so
    /// many failures at once are more likely an outage around the mesh. It goes on by itself when the
    /// share has been below the bound for 30 s.
    #[serde(default = "max_unhealthy_percent_default")]
    #[schemars(range(min = 1, max = 100))]
    pub max_unhealthy_percent: i32,
}

impl Default for BalancingSpec {
    fn default() -> Self {
        Self {
            mode: Automation::default(),
            max_unhealthy_percent: MAX_UNHEALTHY_PERCENT_DEFAULT,
        }
    }
}

/// The gossip groups of which a cluster consists.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CellsSpec {
    /// Automatic splits a cell that has grown too large. Preview shows in `status.plan` that it would,
    /// and leaves it whole. Disabled leaves it whole.
    #[serde(default)]
    pub mode: Automation,

    /// Members above which a cell is split in two (8 to 1000), never leaving a half under 4. No slot
    /// changes its owner: a split decides who gossips with whom.
    #[serde(default = "cell_members_max_default")]
    #[schemars(range(min = 8, max = 1000))]
    pub max_members: i32,
}

impl Default for CellsSpec {
    fn default() -> Self {
        Self {
            mode: Automation::default(),
            max_members: CELL_MEMBERS_MAX_DEFAULT,
        }
    }
}

impl GossipCluster {
    /// Whether the operator is to change nothing.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.spec.paused
    }

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

    /// How agents are replaced when their pod template changes.
    #[must_use]
    pub fn agent_update(&self) -> UpdateSpec {
        let agent = self.spec.agent.as_ref();
        agent
            .and_then(|agent| agent.update.clone())
            .unwrap_or_default()
    }

    /// How slots are divided among owners.
    #[must_use]
    pub fn balancing(&self) -> BalancingSpec {
        self.spec.balancing.clone().unwrap_or_default()
    }

    /// When cells are split.
    #[must_use]
    pub fn cells(&self) -> CellsSpec {
        self.spec.cells.clone().unwrap_or_default()
    }
}

fn heartbeat_interval_milliseconds_default() -> i32 {
    HEARTBEAT_INTERVAL_MILLISECONDS_DEFAULT
}

fn max_unhealthy_percent_default() -> i32 {
    MAX_UNHEALTHY_PERCENT_DEFAULT
}

fn cell_members_max_default() -> i32 {
    CELL_MEMBERS_MAX_DEFAULT
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_false(value: &bool) -> bool {
    !value
}
