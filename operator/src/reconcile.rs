//! One cluster: dereference, validate, build, apply, status. Whatever is missing afterwards is tried
//! again when something changes, or a little later.

mod cell;
mod children;
mod keys;
mod publish;

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, Resource, ResourceExt};
use slotmesh_api::conditions::{events, reasons};
use slotmesh_api::{GossipCluster, names};
use slotmesh_mesh::identity::Uid;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::context::Context;
use crate::drift::Memory;
use crate::keys::Missing;
use crate::notes;
use crate::queue::Name;
use crate::seam::{CellHandle, ClusterKey, ClusterKeys, Inventory, SlotTotals, Wishes};
use crate::status::{Rollout, Stalled};

/// Pause after something failed.
const RETRY: Duration = Duration::from_secs(5);
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Whether a cluster still needs us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It does.
    Alive,
    /// It is gone, and so are its keys.
    Gone,
}

impl Outcome {
    /// Whether it is gone.
    #[must_use]
    pub fn is_gone(self) -> bool {
        self == Self::Gone
    }
}

/// What this operator holds for a cluster that it leads.
#[derive(Debug, Default)]
pub struct Managed {
    key: Option<ClusterKey>,
    keys: Option<Arc<ClusterKeys>>,
    cell: Option<CellHandle>,
    started_with: Option<(i32, String)>,
    inventory: Option<watch::Sender<Inventory>>,
    wishes: Option<watch::Sender<Wishes>>,
    children: Memory,
    stalled: Option<Stalled>,
    /// What an event told last, until it is mended.
    complained: Option<Stalled>,
    rollout: Rollout,
    /// A rollout goes on; what the cells had summed up when it began.
    rolling: Option<SlotTotals>,
    status_written: Option<Instant>,
    waker: Option<JoinHandle<()>>,
    listener: Option<JoinHandle<()>>,
}

impl Drop for Managed {
    fn drop(&mut self) {
        for task in [self.waker.take(), self.listener.take()]
            .into_iter()
            .flatten()
        {
            task.abort();
        }
    }
}

impl Managed {
    /// Brings one cluster nearer to what is wanted.
    pub async fn reconcile(&mut self, context: &Context, name: &Name) -> Outcome {
        let reference = ObjectRef::<GossipCluster>::new(&name.1).within(&name.0);
        let found = context.views.clusters.get(&reference);
        let uid = found
            .as_ref()
            .and_then(|cluster| cluster.uid())
            .and_then(|uid| uid.parse::<Uid>().ok());
        let ours = self.key.as_ref().map(|key| key.uid);
        if ours.is_some() && ours != uid {
            self.bury(context).await;
        }
        let (Some(cluster), Some(uid)) = (found, uid) else {
            return Outcome::Gone;
        };
        if cluster.metadata.deletion_timestamp.is_some() {
            return Outcome::Alive;
        }
        let key = ClusterKey {
            namespace: name.0.clone(),
            name: name.1.clone(),
            uid,
        };
        self.key = Some(key.clone());
        self.stalled = None;
        self.rollout = Rollout::default();
        match self.provide(context, &cluster, &key).await {
            Ok(()) => self.complained = None,
            Err(stalled) => {
                self.complain(context, &cluster, &stalled).await;
                self.rollout.not_applied = Some(stalled.message.clone());
                self.stalled = (!stalled.reason.is_empty()).then_some(stalled);
                self.wake_later(context, name, RETRY);
            }
        }
        self.tell_of_rollout(context, &cluster).await;
        self.write_status(context, &cluster, &key, name).await;
        Outcome::Alive
    }

    /// Keys, children, inventory and the cell. A child that cannot be had keeps the cell from nothing.
    async fn provide(
        &mut self,
        context: &Context,
        cluster: &GossipCluster,
        key: &ClusterKey,
    ) -> Result<(), Stalled> {
        let cell_name = names::cell(&key.name, &key.uid.to_string(), 0);
        let keys = match &self.keys {
            Some(keys) => keys.clone(),
            None => {
                let missing = keys::missing(context, cluster, key).await?;
                if cluster.is_paused() && missing == Missing::Make {
                    self.rollout.paused_before = vec!["the first map".to_owned()];
                    return Ok(());
                }
                let keys = context.keys.provide(key, missing).await;
                Arc::new(keys.map_err(keys::stalled)?)
            }
        };
        self.keys = Some(keys.clone());
        let applied = self.apply_children(context, cluster, key, &keys).await;
        self.update_inventory(context, key);
        self.update_wishes(cluster);
        keys::seal_anew(context, cluster, key, &keys).await?;
        self.run_cell(context, cluster, key, keys, cell_name)?;
        applied?;
        self.cell_may_record()
    }

    /// A cell that may not keep its record is of no use, however well its children are.
    fn cell_may_record(&self) -> Result<(), Stalled> {
        let status = self.cell.as_ref().map(|cell| cell.status.borrow());
        match status.and_then(|status| status.forbidden.clone()) {
            Some(message) => Err(Stalled {
                reason: reasons::FORBIDDEN_BY_RBAC,
                message,
            }),
            None => Ok(()),
        }
    }

    /// An event once the last agent was replaced.
    async fn tell_of_rollout(&mut self, context: &Context, cluster: &GossipCluster) {
        let Some(agents) = &self.rollout.agents else {
            return;
        };
        if agents.unseen {
            return;
        }
        let cell = self.cell.as_ref().map(|cell| cell.status.borrow().clone());
        let cell = cell.unwrap_or_default();
        if agents.outdated > 0 {
            self.rolling.get_or_insert(cell.slot_totals);
            return;
        }
        // The last old agents have not handed over yet.
        let handing_over = cell.has_two_members_on_a_node();
        let Some(before) = self.rolling.take_if(|_| !handing_over) else {
            return;
        };
        let slots = cell.slot_totals.since(before);
        tracing::info!(
            cluster = %ObjectRef::from_obj(cluster),
            agents = agents.current,
            inherited = slots.inherited,
            changed_node = slots.changed_node,
            "rollout completed"
        );
        let event = notes::rollout_completed(agents.current, slots);
        notes::publish(&context.recorder, &event, &cluster.object_ref(&())).await;
    }

    fn wake_later(&mut self, context: &Context, name: &Name, after: Duration) {
        let (queue, name) = (context.queue.clone(), name.clone());
        let waker = tokio::spawn(async move {
            tokio::time::sleep(after).await;
            queue.push(name);
        });
        if let Some(older) = self.waker.replace(waker) {
            older.abort();
        }
    }

    /// One event for each problem, however often it is met.
    async fn complain(&mut self, context: &Context, cluster: &GossipCluster, stalled: &Stalled) {
        if self.complained.as_ref() == Some(stalled) {
            return;
        }
        self.complained = Some(stalled.clone());
        tracing::warn!(
            cluster = %ObjectRef::from_obj(cluster),
            reason = stalled.reason,
            message = stalled.message,
            "not provided"
        );
        let reason = if stalled.reason.is_empty() {
            events::APPLY_FAILED
        } else {
            stalled.reason
        };
        let event = notes::warning(reason, "Apply", stalled.message.clone());
        notes::publish(&context.recorder, &event, &cluster.object_ref(&())).await;
    }

    /// The cluster is gone: the cell stops, and the keys go once a live look confirms it.
    async fn bury(&mut self, context: &Context) {
        let Some(key) = self.key.take() else { return };
        *self = Self::default();
        context.api.forget(key.uid);
        let clusters: Api<GossipCluster> = Api::namespaced(context.client.clone(), &key.namespace);
        let live = tokio::time::timeout(CALL_TIMEOUT, clusters.get_opt(&key.name)).await;
        match live {
            Ok(Ok(found))
                if found.as_ref().and_then(ResourceExt::uid) != Some(key.uid.to_string()) =>
            {
                tracing::info!(cluster = %key, "the cluster is gone");
                if let Err(error) = context.keys.delete(&key).await {
                    tracing::warn!(cluster = %key, %error, "its keys were not deleted");
                }
            }
            _ => tracing::warn!(
                cluster = %key,
                "the deletion could not be confirmed; its keys stay"
            ),
        }
    }
}

fn owner_of(cluster: &GossipCluster) -> OwnerReference {
    cluster.controller_owner_ref(&()).unwrap_or_default()
}

/// Something that passes: no human is needed yet.
fn passing(message: String) -> Stalled {
    Stalled {
        reason: "",
        message,
    }
}
