//! What a cell tells the half that speaks with Kubernetes: state through a watch channel, events
//! through a bounded one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use slotmesh_mesh::map::Map;
use tokio::sync::{Notify, mpsc, watch};

use crate::life::{Life, Proposal};
use crate::seam::{
    CellBrief, CellEvent, CellPhase, CellStatus, Change, Degraded, Frozen, FrozenCause, Inventory,
    MapConvergence, MemberStatus, PlanPreview, RecordFailure, SlotTotals,
};

use super::doubts::Doubts;
use super::mesh::Reach;

/// Pods whose refusal was told and that have not joined since.
const REFUSED_MAX: usize = 256;

/// Tells state and events.
pub(super) struct Reporter {
    status: watch::Sender<CellStatus>,
    events: mpsc::Sender<CellEvent>,
    /// About the record.
    pub(super) doubts: Doubts,
    /// Causes that were told as events; those that are over stay until all are.
    told: BTreeSet<FrozenCause>,
    last_change: Option<Change>,
    slot_totals: SlotTotals,
    /// How the last map came into force.
    convergence: Option<MapConvergence>,
    refused: BTreeSet<(String, String)>,
    /// Names of members that look dead while too few are left to agree on it.
    unproven: Vec<String>,
    /// Names of members whose certificates run out.
    overdue: Vec<String>,
    split_preview: Option<PlanPreview>,
    /// A right is missing without which no map is recorded.
    forbidden: Option<String>,
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
            doubts: Doubts::default(),
            told: BTreeSet::new(),
            last_change: None,
            slot_totals: SlotTotals::default(),
            convergence: None,
            refused: BTreeSet::new(),
            unproven: Vec::new(),
            overdue: Vec::new(),
            split_preview: None,
            forbidden: None,
            poke,
        }
    }

    /// Shows at once why nothing is planned, and nothing else.
    pub(super) fn report_frozen(&mut self, life: &Life) {
        let frozen = self.frozen(life);
        let changed = self.status.send_if_modified(|status| {
            let changed = status.frozen != frozen;
            status.frozen = frozen;
            changed
        });
        if changed {
            self.poke.notify_one();
        }
    }

    /// The gravest cause for which nothing is planned; its message names the others. Each new one is
    /// an event, and so is the end of the last.
    fn frozen(&mut self, life: &Life) -> Option<Frozen> {
        let mut causes: BTreeMap<FrozenCause, String> = self.doubts.causes();
        causes.extend(
            life.frozen()
                .iter()
                .map(|(cause, text)| (*cause, text.clone())),
        );
        for (cause, message) in &causes {
            if self.told.insert(*cause) {
                tracing::error!(?cause, message, "frozen");
                let (cause, message) = (*cause, message.clone());
                self.event(CellEvent::Frozen(Frozen { cause, message }));
            }
        }
        if causes.is_empty() && !self.told.is_empty() {
            let causes: Vec<FrozenCause> = std::mem::take(&mut self.told).into_iter().collect();
            tracing::info!(?causes, "not frozen any more");
            self.event(CellEvent::Unfrozen { causes });
        }
        let (cause, mut message) = causes.pop_first()?;
        let others: Vec<String> = causes.keys().map(|cause| format!("{cause:?}")).collect();
        if !others.is_empty() {
            message = format!("{message} (and {})", others.join(", "));
        }
        Some(Frozen { cause, message })
    }

    /// The API server refused a record; a missing right is shown at once.
    pub(super) fn refused_by_api(&mut self, failure: &RecordFailure) {
        if matches!(failure, RecordFailure::Forbidden(_)) {
            self.set_forbidden(Some(failure.to_string()));
        }
    }

    pub(super) fn set_forbidden(&mut self, forbidden: Option<String>) {
        let changed = self.status.send_if_modified(|status| {
            let changed = status.forbidden != forbidden;
            status.forbidden.clone_from(&forbidden);
            changed
        });
        self.forbidden = forbidden;
        if changed {
            self.poke.notify_one();
        }
    }

    pub(super) fn set_unproven(&mut self, names: Vec<String>) {
        self.unproven = names;
    }

    pub(super) fn set_overdue(&mut self, names: Vec<String>) {
        if self.overdue.is_empty() && !names.is_empty() {
            let names = names.clone();
            self.event(CellEvent::CertificateRenewalFailed { names });
        }
        self.overdue = names;
    }

    pub(super) fn set_convergence(&mut self, told: MapConvergence) {
        self.convergence = Some(told);
        self.event(CellEvent::MapConverged(told));
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

    /// An agent cannot be listed; it goes on waiting.
    pub(super) fn cell_is_full_for(&mut self, pod: &str) {
        self.event(CellEvent::JoinRefused {
            pod: pod.to_owned(),
            category: "CellFull".to_owned(),
            message: format!(
                "the cell lists {} members, as many as it can; it joins when one leaves",
                slotmesh_mesh::limits::MEMBERS_MAX
            ),
        });
    }

    /// A map was recorded: one event for each kind of change.
    pub(super) fn changed(&mut self, proposal: &Proposal) {
        let epoch = proposal.map.epoch;
        let (moves, minimum_moves) = (u32::from(proposal.moves), u32::from(proposal.minimum_moves));
        self.refused
            .retain(|(pod, _)| !proposal.joined.contains(pod));
        type List<'a> = (&'a Vec<String>, fn(Vec<String>, u64) -> CellEvent);
        let lists: [List<'_>; 7] = [
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
            (&proposal.presumed, |names, epoch| {
                CellEvent::MembersPresumedDead { names, epoch }
            }),
            (&proposal.overdue, |names, epoch| {
                CellEvent::MembersNotReplaced { names, epoch }
            }),
            (&proposal.drained, |names, epoch| CellEvent::OwnersDrained {
                names,
                epoch,
            }),
        ];
        for (names, event) in lists {
            if !names.is_empty() {
                self.event(event(names.clone(), epoch));
            }
        }
        let dead = proposal.dead();
        let from = [&dead, &proposal.left, &proposal.dropped].map(Vec::as_slice);
        let from = from.concat();
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
        let (inherited, changed_node) = (proposal.inherited, proposal.changed_node);
        self.slot_totals.inherited += u64::from(inherited);
        self.slot_totals.changed_node += u64::from(changed_node);
        if inherited > 0 {
            self.event(CellEvent::SlotsHandedOver {
                slots: inherited.into(),
                changed_node: changed_node.into(),
                from: proposal.inherited_from.clone(),
                epoch,
            });
        }
        self.last_change = Some(Change {
            cause: cause(proposal).to_owned(),
            joined: [proposal.joined.clone(), proposal.recovered.clone()].concat(),
            failed: proposal.dead(),
            left: proposal.left.clone(),
            moves,
            minimum_moves,
            inherited: inherited.into(),
            changed_node: changed_node.into(),
            epoch,
            recorded_at: jiff::Timestamp::now(),
        });
    }

    pub(super) fn report(&mut self, life: &Life, inventory: &Inventory, reach: Reach) {
        let mut status = CellStatus {
            desired: inventory.wanted,
            frozen: self.frozen(life),
            forbidden: self.forbidden.clone(),
            plan: self
                .split_preview
                .clone()
                .or_else(|| life.preview().cloned()),
            slot_totals: self.slot_totals,
            last_change: self.last_change.clone(),
            phase: phase(life, inventory),
            ..CellStatus::default()
        };
        let lost = missed(life, inventory);
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
                convergence: self.convergence,
            }];
            status.members = members(map);
        }
        status.failed = lost.len();
        status.degraded = if let Some(because) = unreachable(reach) {
            Some(Degraded::MeshUnreachable { because })
        } else if !self.unproven.is_empty() {
            Some(Degraded::NoFailover {
                because: no_failover(&self.unproven),
            })
        } else if !lost.is_empty() {
            Some(Degraded::MembersFailed { names: lost })
        } else if !self.overdue.is_empty() {
            let names = self.overdue.clone();
            Some(Degraded::CertificateExpiring { names })
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

/// Names of those who failed and are not members again: pods that live and are not listed, and
/// whoever the map lists as failed.
fn missed(life: &Life, inventory: &Inventory) -> Vec<String> {
    let lost = life.lost().iter().filter_map(|uid| inventory.pods.get(uid));
    let lost = lost.filter(|pod| !pod.deleting && !pod.finished);
    let listed = life.map().into_iter().flat_map(|map| &map.members);
    let listed = listed.filter(|member| member.failed);
    lost.map(|pod| pod.name.clone())
        .chain(listed.map(|member| member.name.clone()))
        .collect()
}

fn unreachable(reach: Reach) -> Option<String> {
    match reach {
        Reach::Fine => None,
        Reach::Nobody => Some(
            "no member answers on its mesh port; look at NetworkPolicies and the agents' logs"
                .to_owned(),
        ),
        Reach::Unopened(error) => Some(format!(
            "the operator hears nobody, because it cannot open a port of its own ({error}), and tries again each second; look at the operator's pod and its log"
        )),
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
    if !proposal.dead().is_empty() {
        "MembersFailed"
    } else if !proposal.left.is_empty() {
        "MembersLeft"
    } else if !proposal.joined.is_empty() || !proposal.recovered.is_empty() {
        "Join"
    } else if proposal.moves > 0 {
        "Rebalance"
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
        Some(map)
            if map
                .active()
                .flat_map(|member| &member.owners)
                .all(|owner| owner.capacity == 0) =>
        {
            CellPhase::NoOwners
        }
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
