//! Status and conditions of a GossipCluster: a pure function of what its cell reports and of what went
//! wrong with its children.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use slotmesh_api::conditions::{reasons, types};
use slotmesh_api::{
    AgentVersion, CellMode, CellSummary, GossipCluster, GossipClusterStatus, MapConvergence,
    PlanSummary, names,
};
use slotmesh_mesh::slot::SLOT_COUNT;

use crate::seam::{CellBrief, CellPhase, CellStatus, Degraded, FrozenCause};

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
    /// What a paused cluster is known to lack.
    pub paused_before: Vec<String>,
    /// Agents are replaced when somebody deletes their pods, and not before.
    pub on_delete: bool,
    /// What the DaemonSet says of its pods; None while it is not known.
    pub agents: Option<Agents>,
}

/// How far the agents are with their pod template.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agents {
    /// The DaemonSet controller has not seen the template yet.
    pub unseen: bool,
    /// Agents that run an older template.
    pub outdated: i32,
    /// Agents that run it.
    pub current: i32,
}

/// What is known of a cluster.
#[derive(Clone, Debug)]
pub struct Known<'a> {
    /// What its cell reports.
    pub cell: Option<&'a CellStatus>,
    /// Versions that the members run.
    pub agent_versions: Vec<AgentVersion>,
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
        fill(&mut status, cell, known);
    }
    let verdicts = [
        (types::READY, ready(cluster, known, &status)),
        (types::RECONCILING, reconciling(cluster, known.rollout)),
        (
            types::STALLED,
            known
                .stalled
                .map(|stalled| (stalled.reason, stalled.message.clone()))
                .into(),
        ),
        (types::DEGRADED, degraded(cluster, known)),
        (types::REBALANCING, rebalancing(cluster, known)),
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

fn fill(status: &mut GossipClusterStatus, cell: &CellStatus, known: &Known<'_>) {
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
    status.agent_versions.clone_from(&known.agent_versions);
    status.plan = cell.plan.as_ref().map(|plan| PlanSummary {
        parent_epoch: i64::try_from(plan.parent_epoch).unwrap_or(i64::MAX),
        cause: plan.cause.clone(),
        moves: i32::try_from(plan.moves).unwrap_or(i32::MAX),
        slots: i32::try_from(plan.slots).unwrap_or(i32::MAX),
        done_slots: 0,
    });
    if cell.epoch == 0 {
        return;
    }
    status.epoch = i64::try_from(cell.epoch).ok();
    status.mode = Some(CellMode::Affinity);
    status.wire_version = Some(cell.wire_version.into());
    let summary = |cell: &CellBrief| CellSummary {
        name: cell.name.clone(),
        epoch: i64::try_from(cell.epoch).unwrap_or(i64::MAX),
        members: i32::try_from(cell.members).unwrap_or(i32::MAX),
        slots: i32::try_from(cell.slots).unwrap_or(i32::MAX),
        convergence: cell.convergence.as_ref().map(convergence),
    };
    status.cells = cell.cells.iter().map(summary).collect();
    status.cell_count = count(status.cells.len());
}

fn convergence(told: &crate::seam::MapConvergence) -> MapConvergence {
    let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
    let milliseconds = |time: std::time::Duration| i64::try_from(time.as_millis()).ok();
    MapConvergence {
        epoch: i64::try_from(told.epoch).unwrap_or(i64::MAX),
        members: count(told.members),
        applied_members: count(told.applied),
        half_milliseconds: told.half.and_then(milliseconds),
        ninety_nine_percent_milliseconds: told.ninety_nine_percent.and_then(milliseconds),
        all_milliseconds: told.all.and_then(milliseconds),
    }
}

fn ready(cluster: &GossipCluster, known: &Known<'_>, status: &GossipClusterStatus) -> Holds {
    let no = |reason, message: String| Holds {
        status: false,
        reason,
        message,
    };
    let phase = known.cell.map(|cell| &cell.phase);
    let (Some(cell), Some(phase)) = (known.cell, phase.filter(|p| **p != CellPhase::Starting))
    else {
        return as_before(cluster);
    };
    match phase {
        CellPhase::Starting => as_before(cluster),
        CellPhase::WaitingForOldPods { pods } => no(
            reasons::WAITING_FOR_OLD_PODS,
            format!(
                "{pods} pods of a deleted cluster of this name still exist; they end by themselves"
            ),
        ),
        CellPhase::Bootstrapping { joined, wanted } => no(
            reasons::BOOTSTRAPPING,
            format!(
                "{joined} of {wanted} agents have joined; the first map is made when all have, or 10 s after the first; {}",
                see_pods(cluster)
            ),
        ),
        CellPhase::NoOwners => no(
            reasons::NO_OWNERS,
            format!(
                "no agent may own slots: every node is drained, or no agent runs; {}",
                see_pods(cluster)
            ),
        ),
        CellPhase::Serving if cell.served_slots < u32::from(SLOT_COUNT) => no(
            reasons::SLOTS_UNSERVED,
            format!(
                "{} of {SLOT_COUNT} slots have an owner{}; {}",
                cell.served_slots,
                if cell.frozen.is_some() {
                    " that is well, and the operator is Frozen"
                } else {
                    ""
                },
                see_pods(cluster)
            ),
        ),
        CellPhase::Serving => {
            let members = status.members.unwrap_or(0);
            let desired = status.desired_members.unwrap_or(0);
            if members < desired && cell.failed == 0 && never_ready(cluster) {
                let message = format!(
                    "{members} of {desired} agents are members; {}",
                    see_pods(cluster)
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

/// Nothing is known of the cell yet. What was said last still holds: the mesh goes on without us.
fn as_before(cluster: &GossipCluster) -> Holds {
    let before = cluster.status.as_ref();
    let said = before.and_then(|status| condition_of(status, types::READY));
    let reason = said.and_then(|said| {
        let mut all = reasons::OF_READY.into_iter();
        all.find(|reason| *reason == said.reason)
    });
    match (said, reason) {
        (Some(said), Some(reason)) => Holds {
            status: said.status == "True",
            reason,
            message: said.message.clone(),
        },
        _ => Holds {
            status: false,
            reason: reasons::BOOTSTRAPPING,
            message: "the cluster is being started".to_owned(),
        },
    }
}

/// Whether `Ready` was never True, as far as its last reason tells.
fn never_ready(cluster: &GossipCluster) -> bool {
    let before = cluster.status.as_ref();
    let said = before.and_then(|status| condition_of(status, types::READY));
    said.is_none_or(|said| {
        let of_a_start = [
            reasons::BOOTSTRAPPING,
            reasons::WAITING_FOR_OLD_PODS,
            reasons::MEMBERS_MISSING,
        ];
        said.status != "True" && of_a_start.contains(&said.reason.as_str())
    })
}

fn reconciling(cluster: &GossipCluster, rollout: &Rollout) -> Holds {
    let (namespace, name) = place(cluster);
    if let Some(reason) = &rollout.not_applied {
        return Some((reasons::SPEC_NOT_APPLIED, reason.clone())).into();
    }
    if !rollout.paused_before.is_empty() {
        let message = format!(
            "spec.paused is true, and {} waits for it to end: kubectl -n {namespace} patch gossip {name} --type merge -p '{{\"spec\":{{\"paused\":false}}}}'",
            rollout.paused_before.join(", ")
        );
        return Some((reasons::SPEC_NOT_APPLIED, message)).into();
    }
    let set = names::agent(name);
    let message = match &rollout.agents {
        Some(agents) if agents.unseen => {
            format!("the DaemonSet controller has not seen the pod template of {set} yet")
        }
        Some(agents) if agents.outdated > 0 && !rollout.on_delete => format!(
            "{} of {} agents run an older pod template and are replaced node by node; see kubectl -n {namespace} rollout status daemonset {set}",
            agents.outdated,
            agents.outdated + agents.current
        ),
        _ => return None.into(),
    };
    Some((reasons::ROLLING_OUT, message)).into()
}

fn degraded(cluster: &GossipCluster, known: &Known<'_>) -> Holds {
    let of_cell = known.cell.and_then(|cell| cell.degraded.as_ref());
    let namespace = place(cluster).0;
    let is_frozen = known.cell.is_some_and(|cell| cell.frozen.is_some());
    let problem = of_cell.map(|degraded| match degraded {
        Degraded::MembersFailed { names } => {
            let some: Vec<&str> = names.iter().take(5).map(String::as_str).collect();
            let message = format!(
                "{} failed: {}; {}; look at the pods: kubectl -n {namespace} describe pod {}",
                names.len(),
                some.join(", "),
                if is_frozen { "what becomes of their slots, the condition Frozen tells" } else { "their slots have new owners" },
                some.first().copied().unwrap_or_default()
            );
            (reasons::MEMBERS_FAILED, message)
        }
        Degraded::CertificateExpiring { names } => {
            let some: Vec<&str> = names.iter().take(5).map(String::as_str).collect();
            let message = format!(
                "{} members do not renew their certificates: {}; the mesh goes on, the map revokes and expiry does not; look at one: kubectl logs {}",
                names.len(),
                some.join(", "),
                some.first().copied().unwrap_or_default()
            );
            (reasons::CERTIFICATE_EXPIRING, message)
        }
        Degraded::NoFailover { because } => (reasons::NO_FAILOVER, because.clone()),
        Degraded::MeshUnreachable { because } => {
            let message = format!("{because}; detection goes on among the agents");
            (reasons::MESH_UNREACHABLE, message)
        }
    });
    problem
        .or_else(|| agents_outdated(cluster, known.rollout))
        .into()
}

/// Nobody replaces these agents by himself.
fn agents_outdated(cluster: &GossipCluster, rollout: &Rollout) -> Option<(&'static str, String)> {
    let agents = rollout.agents.as_ref()?;
    if !rollout.on_delete || agents.unseen || agents.outdated == 0 {
        return None;
    }
    let (namespace, name) = place(cluster);
    let message = format!(
        "{} of {} agents run an older pod template, and agent.update.type is OnDelete; delete their pods one by one: kubectl -n {namespace} delete pod -l {}={name} --field-selector spec.nodeName=<node>",
        agents.outdated,
        agents.outdated + agents.current,
        names::LABEL_CLUSTER
    );
    Some((reasons::AGENTS_OUTDATED, message))
}

fn rebalancing(cluster: &GossipCluster, known: &Known<'_>) -> Holds {
    let Some(cell) = known.cell else {
        return None.into();
    };
    if let Some(message) = &cell.splitting {
        return Some((reasons::SPLITTING_CELL, message.clone())).into();
    }
    let waits = cell.plan.as_ref().map(|plan| {
        let (namespace, name) = place(cluster);
        let message = format!(
            "{}: {} slots would change their owner; {} is Preview; to carry it out: kubectl -n {namespace} edit gossip {name} and set it to Automatic",
            plan.cause, plan.slots, plan.field
        );
        (reasons::PLAN_AWAITING_APPROVAL, message)
    });
    waits.into()
}

/// Namespace and name of a cluster.
fn place(cluster: &GossipCluster) -> (&str, &str) {
    let metadata = &cluster.metadata;
    (
        metadata.namespace.as_deref().unwrap_or_default(),
        metadata.name.as_deref().unwrap_or_default(),
    )
}

fn see_pods(cluster: &GossipCluster) -> String {
    let (namespace, name) = place(cluster);
    format!(
        "see kubectl -n {namespace} get pods -l {}={name}",
        names::LABEL_CLUSTER
    )
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
