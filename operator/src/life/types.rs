//! What goes into a life and what comes out of it.

use std::net::SocketAddr;

use slotmesh_api::Automation;
use slotmesh_mesh::identity::{Epoch, PublicKey, Uid};
use slotmesh_mesh::map::Map;
use slotmesh_mesh::time::Instant;
use thiserror::Error;

use crate::plan::checker::PlanError;
use crate::seam::{BalancingSettings, Wishes};

/// What does not change in the life of a cell.
#[derive(Clone, Debug)]
pub struct LifeSettings {
    /// UID of the cluster.
    pub cluster: Uid,
    /// Name of the cell.
    pub cell: String,
    /// Epoch of the first map.
    pub first_epoch: Epoch,
    /// As the spec wants it.
    pub heartbeat_interval_ms: u32,
}

/// What the spec wants, as far as it may change while the cell runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// No map is made: joins wait too.
    pub paused: bool,
    /// Automatic evens out; Preview and Disabled only give owners to the ownerless, and Preview shows
    /// what evening out would come to.
    pub balancing: Automation,
    /// Above this share of failed members, and more than one, nothing is re-homed.
    pub max_unhealthy_percent: u8,
}

impl Default for Policy {
    fn default() -> Self {
        Self::from(&Wishes::default())
    }
}

impl From<&Wishes> for Policy {
    fn from(wishes: &Wishes) -> Self {
        let BalancingSettings {
            mode,
            max_unhealthy_percent,
        } = wishes.balancing;
        Self {
            paused: wishes.paused,
            balancing: mode,
            max_unhealthy_percent,
        }
    }
}

/// An agent that proved who it is and wants to be listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// UID of its pod.
    pub uid: Uid,
    /// Key of its process.
    pub key: PublicKey,
    /// Name of its pod.
    pub name: String,
    /// Its node.
    pub node: String,
    /// Its zone; empty when unknown.
    pub zone: String,
    /// Its mesh port.
    pub address: SocketAddr,
    /// Where clients are sent to.
    pub client_address: SocketAddr,
    /// Weight of the owner on it.
    pub capacity: u16,
}

/// The next map, and what it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// To be recorded.
    pub map: Map,
    /// Names of new members.
    pub joined: Vec<String>,
    /// Names of members that were found failed and are back.
    pub recovered: Vec<String>,
    /// Names of members that failed by the verdict of their peers.
    pub failed: Vec<String>,
    /// Names of members whose death no peers proved: the operator's own probes stay unanswered, and pod or node
    /// is not ready.
    pub presumed: Vec<String>,
    /// Names of members whose pods are gone, and the pods on their nodes do not take over.
    pub overdue: Vec<String>,
    /// When the mesh found failed the first of those whom it found failed and this map drops or marks.
    pub verdict_at: Option<Instant>,
    /// Names of members that left or whose pod is gone.
    pub left: Vec<String>,
    /// Names of members that an earlier map lists as failed, and that are removed now.
    pub dropped: Vec<String>,
    /// Names of owners of capacity 0 that hold no slot any more.
    pub drained: Vec<String>,
    /// Slots that had lost their owner.
    pub failed_over: u16,
    /// Slots that change their owner by plan. Those of `inherited` are not among them: a new pod on
    /// the same node is the same place to be, and no plan decided about it.
    pub moves: u16,
    /// The fewest that could.
    pub minimum_moves: u16,
    /// Slots that went from a pod to its heir on the same node.
    pub inherited: u16,
    /// Names of the pods that they came from.
    pub inherited_from: Vec<String>,
    /// Slots that had an owner and have one on another node now.
    pub changed_node: u16,
}

impl Proposal {
    /// Names of all that failed, however that is known.
    #[must_use]
    pub fn dead(&self) -> Vec<String> {
        [&self.failed, &self.presumed, &self.overdue]
            .map(Vec::as_slice)
            .concat()
    }
}

/// Why there is no proposal though something is to be done.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum LifeError {
    /// The planner's plan does not pass the checker: a defect.
    #[error("the plan was refused by the checker: {0}")]
    Plan(#[from] PlanError),
    /// The map would break a rule.
    #[error("the next map is not valid: {0}")]
    Map(#[from] slotmesh_mesh::map::MapError),
}
