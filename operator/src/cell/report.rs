//! What a cell tells the half that speaks with Kubernetes: state through a watch channel, events
//! through a bounded one.

use std::collections::BTreeSet;
use std::sync::Arc;

use slotmesh_mesh::map::Map;
use tokio::sync::{Notify, mpsc, watch};

use crate::life::{Life, Proposal};
use crate::seam::{
    CellBrief, CellEvent, CellPhase, CellStatus, Change, Degraded, Frozen, Inventory, MemberStatus,
    PlanPreview,
};

use super::mesh::Reach;

/// Pods whose refusal was told and that have not joined since.
const REFUSED_MAX: usize = 256;

/// Tells state and events.
pub(super) struct Reporter {
    status: watch::Sender<CellStatus>,
    events: mpsc::Sender<CellEvent>,
    frozen: Option<Frozen>,
    last_change: Option<Change>,
    refused: BTreeSet<(String, String)>,
    /// Names of members that look dead while too few are left to agree on it.
    unproven: Vec<String>,
    split_preview: Option<PlanPreview>,
    poke: Arc<Notify>,
}

impl Reporter {
    pub(super) fn new(
        status: watch::Sender<CellStatus>,
        events: mpsc::Sender<CellEvent>,
        poke: Arc<Notify>,
    ) -> Self {
        Self {
            status,
            events,
            frozen: None,
            last_change: None,
            refused: BTreeSet::new(),
            unproven: Vec::new(),
            split_preview: None,
            poke,
        }
    }

    pub(super) fn is_frozen(&self) -> bool {
        self.frozen.is_some()
    }

    pub(super) fn freeze(&mut self, frozen: Frozen) {
        if self.frozen.as_ref() == Some(&frozen) {
            return;
        }
        tracing::error!(cause = ?frozen.cause, message = frozen.message, "frozen");
        self.event(CellEvent::Frozen(frozen.clone()));
        self.frozen = Some(frozen.clone());
        self.status
            .send_modify(|status| status.frozen = Some(frozen));
        self.poke.notify_one();
    }

    pub(super) fn thaw(&mut self) {
        if self.frozen.take().is_some() {
            self.event(CellEvent::Unfrozen);
        }
    }

    pub(super) fn set_unproven(&mut self, names: Vec<String>) {
        self.unproven = names;
    }

    pub(super) fn set_split_preview(&mut self, preview: Option<PlanPreview>) {
        self.split_preview = preview;
    }

    pub(super) fn event(&mut self, event: CellEvent) {
        if let CellEvent::JoinRefused { pod, category, .. } = &event {
            let told = (pod.clone(), category.clone());
            if self.refused.len() >= REFUSED_MAX || !self.refused.insert(told) {
                return;
            }
        }
        if self.events.try_send(event).is_err() {
            tracing::warn!("an event was lost: the reconciler does not keep up");
        }
    }

    /// A map was recorded: one event for each kind of change.
    pub(super) fn changed(&mut self, proposal: &Proposal) {
        let epoch = proposal.map.epoch;
        let (moves, minimum_moves) = (u32::from(proposal.moves), u32::from(proposal.minimum_moves));
        self.refused
            .retain(|(pod, _)| !proposal.joined.contains(pod));
        type List<'a> = (&'a Vec<String>, fn(Vec<String>, u64) -> CellEvent);
        let lists: [List<'_>; 4] = [
            (&proposal.joined, |names, epoch| CellEvent::MembersJoined {
                names,
                epoch,
            }),
            (&proposal.recovered, |names, epoch| {
                CellEvent::MembersRecovered { names, epoch }
            }),
            (&proposal.left, |names, epoch| CellEvent::MembersLeft {
                names,
                epoch,
            }),
            (&proposal.failed, |names, epoch| CellEvent::MembersFailed {
                names,
                epoch,
            }),
        ];
        for (names, event) in lists {
            if !names.is_empty() {
                self.event(event(names.clone(), epoch));
            }
        }
        let mut from = proposal.failed.clone();
        from.extend(proposal.left.iter().cloned());
        if proposal.failed_over > 0 {
            let slots = proposal.failed_over.into();
            self.event(CellEvent::SlotsFailedOver {
                slots,
                from,
                moves,
                minimum_moves,
                epoch,
            });
        } else if moves > 0 {
            self.event(CellEvent::RebalanceCompleted {
                moves,
                minimum_moves,
                epoch,
            });
        }
        self.last_change = Some(Change {
            cause: cause(proposal).to_owned(),
            joined: [proposal.joined.clone(), proposal.recovered.clone()].concat(),
            failed: proposal.failed.clone(),
            left: proposal.left.clone(),
            moves,
            minimum_moves,
            epoch,
            recorded_at: jiff::Timestamp::now(),
        });
    }

    pub(super) fn report(&mut self, life: &Life, inventory: &Inventory, reach: Reach) {
        let mut status = CellStatus {
            desired: inventory.wanted,
            frozen: self.frozen.clone(),
            last_change: self.last_change.clone(),
            phase: phase(life, inventory),
            plan: self.split_preview.clone(),
            ..CellStatus::default()
        };
        let lost: Vec<String> = life
            .lost()
            .iter()
            .filter_map(|uid| inventory.pods.get(uid))
            .filter(|pod| !pod.deleting && !pod.finished)
            .map(|pod| pod.name.clone())
            .collect();
        if let Some(map) = life.map() {
            status.era = map.era;
            status.epoch = map.epoch;
            status.wire_version = map.protocol.wire_version;
            status.served_slots = map.served_slots().into();
            status.cells = vec![CellBrief {
                name: map.cell.clone(),
                epoch: map.epoch,
                members: map.members.len(),
                slots: map.served_slots().into(),
            }];
            status.members = members(map);
        }
        status.failed = lost.len();
        status.degraded = if reach == Reach::Nobody {
            let because = "no member answers on its mesh port".to_owned();
            Some(Degraded::MeshUnreachable { because })
        } else if !self.unproven.is_empty() {
            Some(Degraded::NoFailover {
                because: no_failover(&self.unproven),
            })
        } else if !lost.is_empty() {
            Some(Degraded::MembersFailed { names: lost })
        } else {
            None
        };
        let changed = self.status.send_if_modified(|current| {
            let changed = *current != status;
            *current = status;
            changed
        });
        if changed {
            self.poke.notify_one();
        }
    }
}

fn no_failover(unproven: &[String]) -> String {
    let some: Vec<&str> = unproven.iter().take(5).map(String::as_str).collect();
    format!(
        "{} members look dead ({}) and too few are left to agree; one is removed when it answers no probe for 5 s and its pod or node is not ready; if it is dead all the same, delete its pod: kubectl delete pod {}",
        unproven.len(),
        some.join(", "),
        some.first().copied().unwrap_or_default()
    )
}

fn cause(proposal: &Proposal) -> &'static str {
    if !proposal.failed.is_empty() {
        "MembersFailed"
    } else if !proposal.left.is_empty() {
        "MembersLeft"
    } else if !proposal.joined.is_empty() || !proposal.recovered.is_empty() {
        "Join"
    } else {
        "Settings"
    }
}

fn phase(life: &Life, inventory: &Inventory) -> CellPhase {
    match life.map() {
        None if inventory.old_pods > 0 => CellPhase::WaitingForOldPods {
            pods: inventory.old_pods,
        },
        None => CellPhase::Bootstrapping {
            joined: life.waiting(),
            wanted: inventory.wanted,
        },
        Some(map) if map.owners().all(|(_, owner)| owner.capacity == 0) => CellPhase::NoOwners,
        Some(_) => CellPhase::Serving,
    }
}

fn members(map: &Map) -> Vec<MemberStatus> {
    let status = |member: &slotmesh_mesh::map::Member| MemberStatus {
        name: member.name.clone(),
        uid: member.uid,
        incarnation: member.incarnation,
        node: member.node.clone(),
        failed: member.failed,
        owners: u32::try_from(member.owners.len()).unwrap_or(u32::MAX),
        slots: member.slots().len().into(),
    };
    map.members.iter().map(status).collect()
}
