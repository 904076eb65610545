//! The seam between the two halves of the operator.
//!
//! One half speaks with Kubernetes: it reconciles, keeps keys and the inventory of pods, and
//! implements [`Kubernetes`]. The other half decides about members and slots: it admits, plans,
//! signs and publishes maps. They share the types of this file and nothing else, so each can be
//! tested with plain structs in place of the other.
//!
//! Flow: the kube half starts a cell (`cells::start`) with [`CellSettings`] and watch channels of
//! [`Inventory`] and [`Wishes`] while this operator leads and the cluster exists. The cell reports through a watch
//! channel of [`CellStatus`] and a bounded channel of [`CellEvent`]. A changed [`CellSettings`] ends
//! the cell and starts another, which goes on from the record. A deposed leader drops its cells at
//! once; what they still write is compare-and-swap, so a late write does no harm.

mod rollout;
mod wishes;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use slotmesh_mesh::identity::{Epoch, Keypair, Uid};
use slotmesh_mesh::map::Map;
use slotmesh_mesh::seal::SealKey;
use thiserror::Error;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::ca::CaKey;
pub use crate::cluster_key::ClusterKey;

pub use rollout::SlotTotals;
pub use wishes::{BalancingSettings, CellsSettings, Wishes};

/// Capacity of an owner that says nothing about it.
pub const CAPACITY_DEFAULT: u16 = 100;
/// Events of a cell that may wait for the kube half; a cell drops (and counts) what does not fit.
pub const CELL_EVENTS_MAX: usize = 64;

/// What the API says about a pod of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodFacts {
    pub name: String,
    pub uid: Uid,
    /// `spec.nodeName`; empty while the pod is not bound.
    pub node: String,
    /// The pod's own label, else its node's; empty when unknown.
    pub zone: String,
    pub ip: Option<IpAddr>,
    /// UID of the DaemonSet that controls the pod.
    pub daemon_set_uid: Option<Uid>,
    /// The pod's label `slotmesh.dev/cluster-uid`.
    pub cluster_uid_label: Option<Uid>,
    /// It has a deletionTimestamp.
    pub deleting: bool,
    /// Its phase is Succeeded or Failed.
    pub finished: bool,
    /// Its condition Ready is True, and its node's is not known to be otherwise.
    pub ready: bool,
    /// Weight of the owner on it; 0 drains it.
    pub capacity: u16,
}

/// The pods of one cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// How many members the cluster should have: never `desiredNumberScheduled` alone, which falls
    /// when a node is tainted unreachable. While the DaemonSet controller has not yet reported, it is
    /// one more than there are pods, so that nobody takes the first few pods for all of them.
    pub wanted: usize,
    /// Pods whose cluster UID label names this cluster, finished and deleting ones included.
    pub pods: BTreeMap<Uid, PodFacts>,
    /// Pods with this cluster's name and another cluster UID: the first map waits until they are gone.
    pub old_pods: usize,
    pub daemon_set_uid: Option<Uid>,
    /// Versions of the cluster's records as a watch shows them, by name of the cell: somebody else may
    /// have written or deleted one.
    pub records: BTreeMap<String, String>,
}

/// What a TokenReview proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenFacts {
    pub pod_name: String,
    pub pod_uid: Uid,
    /// As the token claims; the API server does not check it: compare with `spec.nodeName`.
    pub node_name: Option<String>,
    pub namespace: String,
    pub service_account: String,
}

/// Why a token proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReviewFailure {
    #[error("the token is not valid for this cluster: {0}")]
    NotAuthenticated(String),
    #[error("the token names no pod: it must be a projected token of the agent's pod")]
    NoPodClaim,
    #[error("the API server cannot review tokens now: {0}")]
    Unavailable(String),
}

/// A call to the API server that failed or timed out.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the API server did not answer as expected: {0}")]
pub struct ApiFailure(pub String);

/// `metadata.resourceVersion` of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordVersion(pub String);

/// A map as it is recorded, its seal verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    pub map: Map,
    pub version: RecordVersion,
}

/// Why a record could not be read or written.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RecordFailure {
    /// Somebody without the seal key wrote it: Frozen/RecordTampered.
    #[error("the record's seal does not match its content: {0}")]
    Tampered(String),
    /// The map breaks a rule of its own, or the API server refused it for good.
    #[error("the record is not valid: {0}")]
    Invalid(String),
    /// The record moved on since `parent` was read: read it again.
    #[error("the record was written by somebody else in the meantime: {0}")]
    Conflict(String),
    #[error("the operator may not keep the record: {0}; compare its ClusterRole with the chart's")]
    Forbidden(String),
    #[error("the API server cannot be reached: {0}")]
    Unavailable(String),
}

/// What the mesh half needs of Kubernetes. Each call has a timeout of its own.
pub trait Kubernetes: Send + Sync + 'static {
    /// TokenReview with the cluster's UID as audience.
    fn review_token(
        &self,
        token: &str,
        audience: Uid,
    ) -> impl Future<Output = Result<TokenFacts, ReviewFailure>> + Send;

    /// A pod as it is now (a GET that no cache answers). Its zone and capacity are filled in too.
    fn live_pod(
        &self,
        namespace: &str,
        name: &str,
    ) -> impl Future<Output = Result<Option<PodFacts>, ApiFailure>> + Send;

    /// Names of the cluster's records.
    fn list_records(
        &self,
        cluster: &ClusterKey,
    ) -> impl Future<Output = Result<BTreeSet<String>, RecordFailure>> + Send;

    /// The record of a cell, its seal verified; None when there is none.
    fn read_record(
        &self,
        cluster: &ClusterKey,
        cell: &str,
    ) -> impl Future<Output = Result<Option<Recorded>, RecordFailure>> + Send;

    /// Deletes exactly that version of the record of a cell; one that is gone already is no error.
    fn delete_record(
        &self,
        cluster: &ClusterKey,
        cell: &str,
        version: &RecordVersion,
    ) -> impl Future<Output = Result<(), RecordFailure>> + Send;

    /// Creates the map's record (`parent` is None) or replaces exactly the version `parent`. A write whose
    /// answer was lost reports Unavailable: read before the next one.
    fn write_record(
        &self,
        cluster: &ClusterKey,
        parent: Option<&RecordVersion>,
        map: &Map,
    ) -> impl Future<Output = Result<RecordVersion, RecordFailure>> + Send;
}

/// The secrets of a cluster; they lie in the operator's namespace only.
#[derive(Debug)]
pub struct ClusterKeys {
    /// Signs the certificates of members and of the operator.
    pub ca: CaKey,
    /// Signs maps.
    pub map: Keypair,
    /// Seals records.
    pub seal: SealKey,
    /// The seal key took the place of a lost one: records of lower eras are sealed anew, once.
    pub seals_from_era: Option<u32>,
}

/// What a cell is started with.
#[derive(Clone, Debug)]
pub struct CellSettings {
    pub cluster: ClusterKey,
    pub keys: Arc<ClusterKeys>,
    /// As the spec wants it; when the record says otherwise the cell's next map carries this one.
    pub heartbeat_interval_ms: u32,
    /// Epoch of the cluster's first map: the Unix time of its creation, in seconds.
    pub first_epoch: Epoch,
    /// Name of the cell with which a cluster begins, `<cluster>-<5>`.
    pub cell: String,
}

/// A member as the newest recorded map lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberStatus {
    pub name: String,
    pub uid: Uid,
    pub incarnation: Epoch,
    pub node: String,
    /// The map lists it as failed.
    pub failed: bool,
    /// Owners on it.
    pub owners: u32,
    /// Slots of its owners.
    pub slots: u32,
}

/// How far a cell is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CellPhase {
    /// The record was not read yet.
    #[default]
    Starting,
    /// No first map yet: pods of a cluster of the same name that was deleted still exist.
    WaitingForOldPods { pods: usize },
    /// No first map yet: members are missing.
    Bootstrapping { joined: usize, wanted: usize },
    /// The newest recorded map is published.
    Serving,
    /// The newest recorded map lists no owner that may hold slots.
    NoOwners,
}

/// What is missing while the cell works on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Degraded {
    /// Pods that exist, were members and are not listed (or listed as failed) now.
    MembersFailed { names: Vec<String> },
    /// Members look dead and too few are left to agree on it.
    NoFailover { because: String },
    /// Members do not renew their certificates.
    CertificateExpiring { names: Vec<String> },
    /// The operator reaches no member of the cell.
    MeshUnreachable { because: String },
}

/// Why the operator refuses to plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FrozenCause {
    /// The record cannot be used. Causes are told in this order, the gravest first.
    RecordTampered,
    /// The mesh holds a newer map than the record.
    EpochRegression,
    /// The mesh holds another map of the record's epoch.
    MapConflict,
    /// The API shows too few pods to be believed.
    PartialView,
    /// Too many members failed at once.
    MassFailure,
    /// Whoever takes over certain slots dies.
    OwnersDyingInSequence,
}

/// The operator refuses to plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frozen {
    pub cause: FrozenCause,
    /// Who, why, next command.
    pub message: String,
}

/// What the newest map changed against its parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// One or two words, such as `Join` or `MembersFailed`.
    pub cause: String,
    pub joined: Vec<String>,
    pub failed: Vec<String>,
    pub left: Vec<String>,
    /// Slots that changed their owner, and the fewest that could have.
    pub moves: u32,
    pub minimum_moves: u32,
    /// Slots that a pod handed to its heir on the same node; no plan moved them.
    pub inherited: u32,
    /// Slots that had an owner and have one on another node now.
    pub changed_node: u32,
    pub epoch: Epoch,
    pub recorded_at: jiff::Timestamp,
}

/// A plan that waits, while its mode is Preview.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanPreview {
    /// Epoch of the map that it starts from.
    pub parent_epoch: Epoch,
    /// One word, such as `Rebalance`, `Drain` or `Split`.
    pub cause: String,
    /// Runs of slots that would move.
    pub moves: u32,
    /// Slots that would change their owner.
    pub slots: u32,
    /// The spec's field that is to say Automatic: `balancing.mode` or `cells.mode`.
    pub field: &'static str,
}

/// One cell in short.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CellBrief {
    pub name: String,
    pub epoch: Epoch,
    pub members: usize,
    /// Slots of it that have an owner.
    pub slots: u32,
    /// How its last map came into force, if that is known.
    pub convergence: Option<MapConvergence>,
}

/// How fast a map came into force; shares that were not reached have no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapConvergence {
    pub epoch: Epoch,
    /// Members that were to apply it, and those that said that they did.
    pub members: usize,
    pub applied: usize,
    pub half: Option<Duration>,
    pub ninety_nine_percent: Option<Duration>,
    pub all: Option<Duration>,
}

/// State of a cell, or of all cells of a cluster, for status and conditions. Epoch 0 = no map yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CellStatus {
    pub era: u32,
    pub epoch: Epoch,
    pub wire_version: u16,
    pub desired: usize,
    pub members: Vec<MemberStatus>,
    /// Members listed as failed, and pods that exist, were members and are not listed now.
    pub failed: usize,
    pub served_slots: u32,
    /// The cells that have a map, sorted by name.
    pub cells: Vec<CellBrief>,
    pub phase: CellPhase,
    pub degraded: Option<Degraded>,
    pub last_change: Option<Change>,
    pub slot_totals: SlotTotals,
    /// The gravest cause; its message names the others.
    pub frozen: Option<Frozen>,
    /// What would be done if the mode were not Preview.
    pub plan: Option<PlanPreview>,
    /// The cell is being split: how far that is.
    pub splitting: Option<String>,
    /// A right is missing without which no map is recorded, and what to do about it.
    pub forbidden: Option<String>,
}

/// What happened in a cell; one per batch, never one per member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CellEvent {
    MembersJoined {
        names: Vec<String>,
        epoch: Epoch,
    },
    /// Members that had failed and were admitted again.
    MembersRecovered {
        names: Vec<String>,
        epoch: Epoch,
    },
    /// Said Leave, or their pod is gone from the API.
    MembersLeft {
        names: Vec<String>,
        epoch: Epoch,
    },
    /// By the verdict of their peers.
    MembersFailed {
        names: Vec<String>,
        epoch: Epoch,
    },
    /// No peers proved it: the operator's own probes stay unanswered, and pod or node is not ready.
    MembersPresumedDead {
        names: Vec<String>,
        epoch: Epoch,
    },
    /// Their pods are gone, and the pods on their nodes do not take over.
    MembersNotReplaced {
        names: Vec<String>,
        epoch: Epoch,
    },
    SlotsFailedOver {
        slots: u32,
        from: Vec<String>,
        moves: u32,
        minimum_moves: u32,
        epoch: Epoch,
    },
    RebalanceCompleted {
        moves: u32,
        minimum_moves: u32,
        epoch: Epoch,
    },
    /// Pods were replaced on their nodes, and the new ones took over their slots.
    SlotsHandedOver {
        slots: u32,
        changed_node: u32,
        from: Vec<String>,
        epoch: Epoch,
    },
    /// Owners of capacity 0 hold no slot any more.
    OwnersDrained {
        names: Vec<String>,
        epoch: Epoch,
    },
    /// At most one per pod and category until it joins.
    JoinRefused {
        pod: String,
        category: String,
        message: String,
    },
    /// Members whose certificates run out, told when the first is noticed.
    CertificateRenewalFailed {
        names: Vec<String>,
    },
    /// A cell has become two.
    CellSplit {
        cell: String,
        /// Name and members of its parts.
        parts: Vec<(String, usize)>,
        epoch: Epoch,
    },
    /// A map came into force on the members, or not on all.
    MapConverged(MapConvergence),
    Frozen(Frozen),
    /// No cause holds any more; these did.
    Unfrozen {
        causes: Vec<FrozenCause>,
    },
}

/// A running cell. Dropping it stops the cell at once.
#[derive(Debug)]
pub struct CellHandle {
    pub status: watch::Receiver<CellStatus>,
    /// At most [`CELL_EVENTS_MAX`] wait in it.
    pub events: mpsc::Receiver<CellEvent>,
    task: JoinHandle<()>,
}

impl CellHandle {
    /// A handle on `task`, which reports through the two channels.
    #[must_use]
    pub fn new(
        status: watch::Receiver<CellStatus>,
        events: mpsc::Receiver<CellEvent>,
        task: JoinHandle<()>,
    ) -> Self {
        Self {
            status,
            events,
            task,
        }
    }

    /// Whether the cell ended by itself; it never should.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.task.is_finished() || self.status.has_changed().is_err()
    }
}

impl Drop for CellHandle {
    fn drop(&mut self) {
        self.task.abort();
    }
}
