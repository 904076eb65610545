//! The Kubernetes surface of SlotMesh: `GossipCluster` (what a user asks for), `GossipCell` (the
//! record of what the operator decided), their validation rules, the names of children, and the
//! words of conditions and events.
//!
//! Only fields that work today are in the schema; a capability brings its fields with it. This
//! crate knows Kubernetes and nothing of the mesh protocol.

mod cell;
mod cluster;
pub mod conditions;
pub mod crds;
pub mod names;

pub use cell::{
    CellDelegation, CellDirectoryEntry, CellMember, CellMode, CellOwner, CellProtocol,
    ClusterReference, GossipCell, GossipCellSpec, MEMBERS_MAX, OWNERS_PER_MEMBER_MAX,
};
pub use cluster::{
    AgentResources, AgentSpec, AgentVersion, Automation, BalancingSpec, CELL_MEMBERS_MAX_DEFAULT,
    CellSummary, CellsSpec, GossipCluster, GossipClusterSpec, GossipClusterStatus,
    HEARTBEAT_INTERVAL_MILLISECONDS_DEFAULT, HEARTBEAT_INTERVAL_MILLISECONDS_MAX,
    HEARTBEAT_INTERVAL_MILLISECONDS_MIN, HealthSpec, ImagePullPolicy, ImagePullSecret,
    MAX_SURGE_DEFAULT, MAX_UNHEALTHY_PERCENT_DEFAULT, MapConvergence, PlanSummary, Quantity,
    UpdateSpec, UpdateType,
};

/// API group of every kind.
pub const GROUP: &str = "slotmesh.dev";
/// Version of every kind.
pub const VERSION: &str = "v1alpha1";

#[cfg(test)]
mod tests;
