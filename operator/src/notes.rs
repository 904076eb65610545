//! Events (events.k8s.io) about a cluster: one for each batch, never one for each member.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder};
use slotmesh_api::conditions::events;

use crate::seam::CellEvent;
use crate::status::frozen_reason;

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
        CellEvent::Frozen(frozen) => warning(
            frozen_reason(frozen.cause),
            "Freeze",
            frozen.message.clone(),
        ),
        CellEvent::Unfrozen => normal("Unfrozen", "Thaw", "the record can be used again".into()),
    }
}

/// Publishes an event; one that is lost is logged and not missed.
pub async fn publish(recorder: &Recorder, event: &Event, about: &ObjectReference) {
    if let Err(error) = recorder.publish(event, about).await {
        tracing::warn!(%error, reason = event.reason, "an event was not written");
    }
}

/// An event about something that a human should look at.
#[must_use]
pub fn warning(reason: &str, action: &str, note: String) -> Event {
    event(EventType::Warning, reason, action, note)
}

fn normal(reason: &str, action: &str, note: String) -> Event {
    event(EventType::Normal, reason, action, note)
}

fn event(type_: EventType, reason: &str, action: &str, mut note: String) -> Event {
    note.truncate(note.floor_char_boundary(NOTE_MAX));
    Event {
        type_,
        reason: reason.to_owned(),
        note: Some(note),
        action: action.to_owned(),
        secondary: None,
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
