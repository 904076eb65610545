//! Events (events.k8s.io) about a cluster: one for each batch, never one for each member.

use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event as ApiEvent;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Client};
use slotmesh_api::conditions::events;

use crate::lease::Tenure;
use crate::seam::{CellEvent, MapConvergence, SlotTotals};
use crate::status::frozen_reason;

const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Characters of a note; the API allows 1024.
const NOTE_MAX: usize = 1000;
/// Names that a note lists.
const NAMES_MAX: usize = 8;

/// The API's event for something that happened in a cell.
#[must_use]
pub fn event_of(event: &CellEvent) -> Event {
    match event {
        CellEvent::MembersJoined { names, epoch } => normal(
            events::MEMBERS_JOINED,
            "Admit",
            format!("{} joined (epoch {epoch})", list(names)),
        ),
        CellEvent::MembersRecovered { names, epoch } => {
            let note = format!(
                "{} had failed and are members again (epoch {epoch})",
                list(names)
            );
            normal(events::MEMBERS_RECOVERED, "Admit", note)
        }
        CellEvent::MembersLeft { names, epoch } => {
            let note = format!(
                "{} left or their pods are gone (epoch {epoch})",
                list(names)
            );
            normal(events::MEMBERS_LEFT, "Remove", note)
        }
        CellEvent::MembersFailed { names, epoch } => {
            let note = format!(
                "{} failed by the verdict of their peers (epoch {epoch}); next: kubectl describe pod {}",
                list(names),
                names.first().map_or("", String::as_str)
            );
            warning(events::MEMBERS_FAILED, "Remove", note)
        }
        CellEvent::MembersPresumedDead { names, epoch } => {
            let note = format!(
                "{} failed: no peers proved it, but the operator's probes stayed unanswered and pod or node was not ready (epoch {epoch}); next: kubectl describe pod {}",
                list(names),
                names.first().map_or("", String::as_str)
            );
            warning(events::MEMBERS_FAILED, "Remove", note)
        }
        CellEvent::MembersNotReplaced { names, epoch } => {
            let note = format!(
                "{} failed: their pods are gone, and the pods on their nodes have not taken over (epoch {epoch}); next: kubectl get pods -o wide",
                list(names)
            );
            warning(events::MEMBERS_FAILED, "Remove", note)
        }
        CellEvent::SlotsFailedOver {
            slots,
            from,
            moves,
            minimum_moves,
            epoch,
        } => {
            let note = format!(
                "{slots} slots of {} have new owners (epoch {epoch}): {moves} slots moved, {minimum_moves} is the fewest possible",
                list(from)
            );
            normal(events::SLOTS_FAILED_OVER, "Rehome", note)
        }
        CellEvent::RebalanceCompleted {
            moves,
            minimum_moves,
            epoch,
        } => {
            let note = format!(
                "{moves} slots moved (epoch {epoch}), {minimum_moves} is the fewest possible"
            );
            normal(events::REBALANCE_COMPLETED, "Rebalance", note)
        }
        CellEvent::JoinRefused {
            pod,
            category,
            message,
        } => {
            let note =
                format!("{pod} may not join ({category}): {message}; next: kubectl logs {pod}");
            warning(events::JOIN_REFUSED, "Refuse", note)
        }
        CellEvent::CertificateRenewalFailed { names } => {
            let note = format!(
                "{} got no new certificate for three quarters of its life; the mesh accepts the old one, expired or not; next: kubectl logs {}",
                list(names),
                names.first().map_or("", String::as_str)
            );
            warning(events::CERTIFICATE_RENEWAL_FAILED, "Renew", note)
        }
        CellEvent::CellSplit { cell, parts, epoch } => {
            let parts: Vec<String> = parts
                .iter()
                .map(|(name, members)| format!("{name} ({members} members)"))
                .collect();
            let note = format!(
                "{cell} was split into {} (epoch {epoch}); no slot moved",
                parts.join(" and ")
            );
            normal(events::CELL_SPLIT, "Split", note)
        }
        CellEvent::MapConverged(told) => map_converged(told),
        CellEvent::Frozen(frozen) => warning(
            frozen_reason(frozen.cause),
            "Freeze",
            frozen.message.clone(),
        ),
        CellEvent::Unfrozen { causes } => {
            let reasons: Vec<&str> = causes.iter().map(|cause| frozen_reason(*cause)).collect();
            let note = format!("{} is over: planning goes on", reasons.join(", "));
            normal(events::UNFROZEN, "Thaw", note)
        }
        CellEvent::SlotsHandedOver {
            slots,
            changed_node,
            from,
            epoch,
        } => {
            let note = format!(
                "{slots} slots of {} went to the new pods on the same nodes (epoch {epoch}); {changed_node} slots changed their node",
                list(from)
            );
            normal(events::SLOTS_HANDED_OVER, "HandOver", note)
        }
        CellEvent::OwnersDrained { names, epoch } => {
            let note = format!(
                "{} hold no slots any more (capacity 0, epoch {epoch}); their nodes can go",
                list(names)
            );
            normal(events::OWNER_DRAINED, "Drain", note)
        }
    }
}

fn map_converged(told: &MapConvergence) -> Event {
    let MapConvergence {
        epoch,
        members,
        applied,
        ..
    } = told;
    let within = |share: &str, time: Option<Duration>| {
        time.map(|time| format!("; {share} within {} ms", time.as_millis()))
            .unwrap_or_default()
    };
    let note = format!(
        "{applied} of {members} members applied the map of epoch {epoch}{}{}{}",
        within("half", told.half),
        within("99 %", told.ninety_nine_percent),
        within("all", told.all)
    );
    if applied < members {
        let note = format!(
            "{note}; the others did not say so within 15 s; next: kubectl get gossip -o wide, and the agents' metric slotmesh_agent_map_epoch"
        );
        warning(events::MAP_NOT_APPLIED, "Publish", note)
    } else {
        normal(events::MAP_APPLIED, "Publish", note)
    }
}

/// An event before it is about something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    type_: &'static str,
    reason: String,
    action: &'static str,
    note: String,
}

/// Writes events. (kube's own recorder folds events of one reason into a series and keeps the first
/// note, but each of ours tells another epoch.)
#[derive(Clone)]
pub struct Recorder {
    client: Client,
    tenure: Tenure,
    instance: String,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder")
            .field("instance", &self.instance)
            .finish_non_exhaustive()
    }
}

impl Recorder {
    /// Events are reported by this pod, while it leads.
    #[must_use]
    pub fn new(client: Client, tenure: Tenure, instance: String) -> Self {
        Self {
            client,
            tenure,
            instance,
        }
    }
}

/// Publishes an event; one that is lost is logged and not missed.
pub async fn publish(recorder: &Recorder, event: &Event, about: &ObjectReference) {
    let namespace = about.namespace.as_deref().unwrap_or("default");
    let now = jiff::Timestamp::now();
    let name = about.name.as_deref().unwrap_or_default();
    let object = ApiEvent {
        metadata: ObjectMeta {
            name: Some(format!("{name}.{:x}", now.as_nanosecond())),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(now)),
        reporting_controller: Some("slotmesh.dev/operator".to_owned()),
        reporting_instance: Some(recorder.instance.clone()),
        type_: Some(event.type_.to_owned()),
        reason: Some(event.reason.clone()),
        action: Some(event.action.to_owned()),
        note: Some(event.note.clone()),
        regarding: Some(about.clone()),
        ..ApiEvent::default()
    };
    if let Err(error) = recorder.tenure.check() {
        return tracing::debug!(%error, reason = event.reason, "an event was not written");
    }
    let events: Api<ApiEvent> = Api::namespaced(recorder.client.clone(), namespace);
    let parameters = PostParams::default();
    match tokio::time::timeout(CALL_TIMEOUT, events.create(&parameters, &object)).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::warn!(%error, reason = event.reason, "an event was not written"),
        Err(_) => tracing::warn!(reason = event.reason, "an event was not written in time"),
    }
}

/// The event of a rollout that reached the last agent.
#[must_use]
pub fn rollout_completed(agents: i32, slots: SlotTotals) -> Event {
    let SlotTotals {
        inherited,
        changed_node,
    } = slots;
    let note = format!(
        "{agents} agents run the current pod template; {inherited} slots went to the new pod on the same node, {changed_node} slots changed their node"
    );
    normal(events::ROLLOUT_COMPLETED, "Roll", note)
}

/// An event about something that a human should look at.
#[must_use]
pub fn warning(reason: &str, action: &'static str, note: String) -> Event {
    event("Warning", reason, action, note)
}

fn normal(reason: &str, action: &'static str, note: String) -> Event {
    event("Normal", reason, action, note)
}

fn event(type_: &'static str, reason: &str, action: &'static str, mut note: String) -> Event {
    note.truncate(note.floor_char_boundary(NOTE_MAX));
    Event {
        type_,
        reason: reason.to_owned(),
        action,
        note,
    }
}

fn list(names: &[String]) -> String {
    let shown: Vec<&str> = names.iter().take(NAMES_MAX).map(String::as_str).collect();
    let more = names.len().saturating_sub(NAMES_MAX);
    if more > 0 {
        format!("{} and {more} more", shown.join(", "))
    } else {
        shown.join(", ")
    }
}

#[cfg(test)]
mod tests;
