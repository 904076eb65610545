//! Status and conditions of a GossipCluster: a pure function of what its cell reports and of what went
//! wrong with its children.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use slotmesh_api::conditions::{reasons, types};
use slotmesh_api::{CellSummary, GossipCluster, GossipClusterStatus};
use slotmesh_mesh::slot::SLOT_COUNT;

use crate::seam::{CellPhase, CellStatus, Degraded, FrozenCause};

/// Characters of a condition's message.
const MESSAGE_MAX: usize = 1024;

/// What keeps the operator from doing its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stalled {
    /// A reason of `Stalled`.
    pub reason: &'static str,
    /// Who, why, what next.
    pub message: String,
}

/// How far the children are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rollout {
    /// Children are not applied yet, and why.
    pub not_applied: Option<String>,
    /// Agents that run an older template.
    pub outdated: i32,
}

/// What is known of a cluster.
#[derive(Clone, Debug)]
pub struct Known<'a> {
    /// What its cell reports.
    pub cell: Option<&'a CellStatus>,
    /// Name of the cell.
    pub cell_name: &'a str,
    /// Whether a human is needed.
    pub stalled: Option<&'a Stalled>,
    /// Children.
    pub rollout: &'a Rollout,
}

/// The next status. Conditions keep their transition time while their status stays.
#[must_use]
pub fn build(
    cluster: &GossipCluster,
    known: &Known<'_>,
    now: jiff::Timestamp,
) -> GossipClusterStatus {
    let before = cluster.status.clone().unwrap_or_default();
    let generation = cluster.metadata.generation;
    let mut status = GossipClusterStatus {
        observed_generation: generation,
        ..before.clone()
    };
    if let Some(cell) = known.cell.filter(|cell| cell.phase != CellPhase::Starting) {
        fill(&mut status, cell, known.cell_name);
    }
    let was_ready = condition_of(&before, types::READY).is_some_and(|c| c.status == "True");
    let verdicts = [
        (types::READY, ready(known, &status, was_ready)),
        (types::RECONCILING, reconciling(known)),
        (
            types::STALLED,
            known
                .stalled
                .map(|stalled| (stalled.reason, stalled.message.clone()))
                .into(),
        ),
        (types::DEGRADED, degraded(known)),
        (types::FROZEN, frozen(known)),
    ];
    status.conditions = verdicts
        .into_iter()
        .map(|(kind, verdict)| condition(&before, kind, verdict, generation, now))
        .collect();
    status
}

/// Whether a condition holds, and why.
struct Holds {
    status: bool,
    reason: &'static str,
    message: String,
}

impl From<Option<(&'static str, String)>> for Holds {
    fn from(problem: Option<(&'static str, String)>) -> Self {
        match problem {
            Some((reason, message)) => Self {
                status: true,
                reason,
                message,
            },
            None => Self {
                status: false,
                reason: reasons::AS_EXPECTED,
                message: String::new(),
            },
        }
    }
}

fn fill(status: &mut GossipClusterStatus, cell: &CellStatus, name: &str) {
    let count = |number: usize| Some(i32::try_from(number).unwrap_or(i32::MAX));
    let listed = cell.members.iter().filter(|member| !member.failed).count();
    status.desired_members = count(cell.desired);
    status.members = count(listed);
    status.failed_members = count(cell.failed);
    status.owners = count(
        cell.members
            .iter()
            .map(|member| member.owners as usize)
            .sum(),
    );
    status.served_slots = i32::try_from(cell.served_slots).ok();
    if cell.epoch == 0 {
        return;
    }
    status.epoch = i64::try_from(cell.epoch).ok();
    status.wire_version = Some(cell.wire_version.into());
    status.cells = vec![CellSummary {
        name: name.to_owned(),
        epoch: i64::try_from(cell.epoch).unwrap_or(i64::MAX),
        members: i32::try_from(listed).unwrap_or(i32::MAX),
        slots: i32::try_from(cell.served_slots).unwrap_or(i32::MAX),
    }];
}

fn ready(known: &Known<'_>, status: &GossipClusterStatus, was_ready: bool) -> Holds {
    let no = |reason, message: String| Holds {
        status: false,
        reason,
        message,
    };
    let Some(cell) = known.cell else {
        return no(
            reasons::BOOTSTRAPPING,
            "the operator has not started the cluster yet".into(),
        );
    };
    match &cell.phase {
        CellPhase::Starting if was_ready => Holds {
            status: true,
            reason: reasons::ALL_SLOTS_SERVED,
            message: "as last recorded; the operator reads the record".into(),
        },
        CellPhase::Starting => no(
            reasons::BOOTSTRAPPING,
            "the operator reads the record".into(),
        ),
        CellPhase::WaitingForOldPods { pods } => no(
            reasons::WAITING_FOR_OLD_PODS,
            format!(
                "{pods} pods of a deleted cluster of this name still exist; they end by themselves"
            ),
        ),
        CellPhase::Bootstrapping { joined, wanted } => no(
            reasons::BOOTSTRAPPING,
            format!(
                "{joined} of {wanted} agents have joined; the first map is made when all have, or 10 s after the first"
            ),
        ),
        CellPhase::NoOwners => no(
            reasons::NO_OWNERS,
            "no agent may own slots: every node is drained, or no agent runs".into(),
        ),
        CellPhase::Serving if cell.served_slots < u32::from(SLOT_COUNT) => no(
            reasons::SLOTS_UNSERVED,
            format!("{} of {SLOT_COUNT} slots have an owner", cell.served_slots),
        ),
        CellPhase::Serving => {
            let members = status.members.unwrap_or(0);
            let desired = status.desired_members.unwrap_or(0);
            if members < desired && !was_ready && cell.failed == 0 {
                let message = format!(
                    "{members} of {desired} agents are members; see kubectl get pods -l slotmesh.dev/cluster"
                );
                return no(reasons::MEMBERS_MISSING, message);
            }
            let message =
                format!("{SLOT_COUNT} slots on {members} members, best effort (mode Affinity)");
            Holds {
                status: true,
                reason: reasons::ALL_SLOTS_SERVED,
                message,
            }
        }
    }
}

fn reconciling(known: &Known<'_>) -> Holds {
    if let Some(reason) = &known.rollout.not_applied {
        return Some((reasons::SPEC_NOT_APPLIED, reason.clone())).into();
    }
    let outdated = known.rollout.outdated;
    (outdated > 0)
        .then(|| {
            (
                reasons::ROLLING_OUT,
                format!("{outdated} agents run an older pod template"),
            )
        })
        .into()
}

fn degraded(known: &Known<'_>) -> Holds {
    let problem = known.cell.and_then(|cell| cell.degraded.as_ref()).map(|degraded| match degraded {
        Degraded::MembersFailed { names } => {
            let some: Vec<&str> = names.iter().take(5).map(String::as_str).collect();
            let message = format!(
                "{} failed: {}; their slots have new owners; look at the pods: kubectl describe pod {}",
                names.len(),
                some.join(", "),
                some.first().copied().unwrap_or_default()
            );
            (reasons::MEMBERS_FAILED, message)
        }
        Degraded::NoFailover { because } => (reasons::NO_FAILOVER, because.clone()),
        Degraded::MeshUnreachable { because } => {
            let message = format!("{because}; detection goes on among the agents; look at NetworkPolicies and the agents' logs");
            (reasons::MESH_UNREACHABLE, message)
        }
    });
    problem.into()
}

fn frozen(known: &Known<'_>) -> Holds {
    let frozen = known.cell.and_then(|cell| cell.frozen.as_ref());
    frozen
        .map(|frozen| (frozen_reason(frozen.cause), frozen.message.clone()))
        .into()
}

/// Reason of the condition `Frozen`, and of its event.
#[must_use]
pub fn frozen_reason(cause: FrozenCause) -> &'static str {
    match cause {
        FrozenCause::RecordTampered => reasons::RECORD_TAMPERED,
        FrozenCause::EpochRegression => reasons::EPOCH_REGRESSION,
        FrozenCause::MapConflict => reasons::MAP_CONFLICT,
        FrozenCause::PartialView => reasons::PARTIAL_VIEW,
        FrozenCause::MassFailure => reasons::MASS_FAILURE,
        FrozenCause::OwnersDyingInSequence => reasons::OWNERS_DYING_IN_SEQUENCE,
    }
}

fn condition_of<'a>(status: &'a GossipClusterStatus, kind: &str) -> Option<&'a Condition> {
    status
        .conditions
        .iter()
        .find(|condition| condition.type_ == kind)
}

fn condition(
    before: &GossipClusterStatus,
    kind: &str,
    holds: Holds,
    generation: Option<i64>,
    now: jiff::Timestamp,
) -> Condition {
    let status = if holds.status { "True" } else { "False" };
    let since = condition_of(before, kind)
        .filter(|condition| condition.status == status)
        .map_or(Time(now), |condition| {
            condition.last_transition_time.clone()
        });
    let mut message = holds.message;
    message.truncate(message.floor_char_boundary(MESSAGE_MAX));
    Condition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: holds.reason.to_owned(),
        message,
        observed_generation: generation,
        last_transition_time: since,
    }
}

#[cfg(test)]
mod tests;
