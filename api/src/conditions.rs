//! The words of conditions and events. One sentence to teach: at rest, everything but `Ready` is
//! False.

/// Types of conditions on a `GossipCluster`.
pub mod types {
    /// Every slot has a live owner.
    pub const READY: &str = "Ready";
    /// The spec is not yet carried out. A change of the map never sets it.
    pub const RECONCILING: &str = "Reconciling";
    /// Needs a human.
    pub const STALLED: &str = "Stalled";
    /// Works, but something is missing.
    pub const DEGRADED: &str = "Degraded";
    /// Slots or cells are being rearranged by choice, or a plan to do so waits.
    pub const REBALANCING: &str = "Rebalancing";
    /// The operator refuses to plan.
    pub const FROZEN: &str = "Frozen";

    /// All of them, in the order in which they are shown.
    pub const ALL: [&str; 6] = [READY, RECONCILING, STALLED, DEGRADED, REBALANCING, FROZEN];
}

/// Reasons of conditions.
pub mod reasons {
    // Ready
    pub const ALL_SLOTS_SERVED: &str = "AllSlotsServed";
    pub const BOOTSTRAPPING: &str = "Bootstrapping";
    pub const WAITING_FOR_OLD_PODS: &str = "WaitingForOldPods";
    pub const SLOTS_UNSERVED: &str = "SlotsUnserved";
    pub const NO_OWNERS: &str = "NoOwners";
    pub const MEMBERS_MISSING: &str = "MembersMissing";
    /// All of them, in the order in which a cluster meets them.
    pub const OF_READY: [&str; 6] = [
        BOOTSTRAPPING,
        WAITING_FOR_OLD_PODS,
        MEMBERS_MISSING,
        NO_OWNERS,
        SLOTS_UNSERVED,
        ALL_SLOTS_SERVED,
    ];
    // Reconciling
    pub const SPEC_NOT_APPLIED: &str = "SpecNotApplied";
    pub const ROLLING_OUT: &str = "RollingOut";
    // Stalled
    pub const INVALID_POD_OVERRIDES: &str = "InvalidPodOverrides";
    pub const NAME_CONFLICT: &str = "NameConflict";
    pub const FORBIDDEN_BY_RBAC: &str = "ForbiddenByRBAC";
    pub const KEYS_LOST: &str = "KeysLost";
    // Degraded
    pub const MEMBERS_FAILED: &str = "MembersFailed";
    pub const NO_FAILOVER: &str = "NoFailover";
    pub const CERTIFICATE_EXPIRING: &str = "CertificateExpiring";
    pub const MESH_UNREACHABLE: &str = "MeshUnreachable";
    pub const AGENTS_OUTDATED: &str = "AgentsOutdated";
    // Rebalancing
    pub const PLAN_AWAITING_APPROVAL: &str = "PlanAwaitingApproval";
    pub const SPLITTING_CELL: &str = "SplittingCell";
    // Frozen
    pub const RECORD_TAMPERED: &str = "RecordTampered";
    pub const EPOCH_REGRESSION: &str = "EpochRegression";
    pub const MAP_CONFLICT: &str = "MapConflict";
    pub const PARTIAL_VIEW: &str = "PartialView";
    pub const MASS_FAILURE: &str = "MassFailure";
    pub const OWNERS_DYING_IN_SEQUENCE: &str = "OwnersDyingInSequence";
    /// Reason of a condition that is False at rest.
    pub const AS_EXPECTED: &str = "AsExpected";
}

/// Reasons of events, beside those of conditions.
pub mod events {
    pub const CELL_SPLIT: &str = "CellSplit";
    pub const MEMBERS_JOINED: &str = "MembersJoined";
    pub const MEMBERS_RECOVERED: &str = "MembersRecovered";
    pub const MEMBERS_LEFT: &str = "MembersLeft";
    pub const MEMBERS_FAILED: &str = "MembersFailed";
    pub const SLOTS_FAILED_OVER: &str = "SlotsFailedOver";
    pub const ROLLOUT_COMPLETED: &str = "RolloutCompleted";
    pub const REBALANCE_COMPLETED: &str = "RebalanceCompleted";
    pub const SLOTS_HANDED_OVER: &str = "SlotsHandedOver";
    pub const OWNER_DRAINED: &str = "OwnerDrained";
    pub const MAP_APPLIED: &str = "MapApplied";
    pub const MAP_NOT_APPLIED: &str = "MapNotApplied";
    pub const UNFROZEN: &str = "Unfrozen";
    pub const JOIN_REFUSED: &str = "JoinRefused";
    pub const APPLY_FAILED: &str = "ApplyFailed";
    pub const CERTIFICATE_RENEWAL_FAILED: &str = "CertificateRenewalFailed";
}
