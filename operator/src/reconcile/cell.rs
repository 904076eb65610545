//! The cell of a cluster: what it is told, and what it tells.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::DaemonSet;
use kube::Resource;
use kube::runtime::reflector::ObjectRef;
use slotmesh_api::{GossipCluster, names};
use tokio::sync::watch;

use super::{Managed, owner_of, passing};
use crate::cells;
use crate::context::Context;
use crate::inventory::inventory;
use crate::kubernetes::RecordContext;
use crate::notes;
use crate::seam::{
    BalancingSettings, CellHandle, CellSettings, CellsSettings, ClusterKey, ClusterKeys, Inventory,
    Wishes,
};
use crate::status::{Agents, Stalled};

/// Plural of the agents' kind.
const DAEMON_SETS: &str = "daemonsets";

impl Managed {
    pub(super) fn update_inventory(&mut self, context: &Context, key: &ClusterKey) {
        let pods = context.views.pods.state();
        let daemon_set = daemon_set_of(context, key);
        self.rollout.agents = agents(daemon_set.as_deref(), self.children.generation(DAEMON_SETS));
        let nodes = context.api.nodes();
        let nodes = nodes
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut next = inventory(
            key,
            pods.iter().map(AsRef::as_ref),
            daemon_set.as_deref(),
            &nodes,
        );
        let name = (key.namespace.clone(), key.name.clone());
        next.records = context.views.records.of(&name);
        let sender = self
            .inventory
            .get_or_insert_with(|| watch::channel(Inventory::default()).0);
        send_if_changed(sender, next);
    }

    pub(super) fn update_wishes(&mut self, cluster: &GossipCluster) {
        let sender = self
            .wishes
            .get_or_insert_with(|| watch::channel(Wishes::default()).0);
        send_if_changed(sender, wishes_of(cluster));
    }

    pub(super) fn run_cell(
        &mut self,
        context: &Context,
        cluster: &GossipCluster,
        key: &ClusterKey,
        keys: Arc<ClusterKeys>,
        cell_name: String,
    ) -> Result<(), Stalled> {
        let interval = cluster.heartbeat_interval_milliseconds();
        let wanted = (interval, cell_name.clone());
        let runs = self.cell.as_ref().is_some_and(|cell| !cell.is_finished());
        if runs && self.started_with.as_ref() == Some(&wanted) {
            return Ok(());
        }
        self.cell = None;
        let record = RecordContext {
            owner: owner_of(cluster),
            keys: keys.clone(),
        };
        context.api.set_record_context(key.uid, record);
        let created = cluster
            .metadata
            .creation_timestamp
            .as_ref()
            .map_or(1, |time| time.0.as_second());
        let settings = CellSettings {
            cluster: key.clone(),
            keys,
            heartbeat_interval_ms: u32::try_from(interval).unwrap_or(200),
            first_epoch: u64::try_from(created).unwrap_or(1).max(1),
            cell: cell_name,
        };
        let inventory = self
            .inventory
            .get_or_insert_with(|| watch::channel(Inventory::default()).0);
        let wishes = self
            .wishes
            .get_or_insert_with(|| watch::channel(Wishes::default()).0);
        let mut handle = cells::start(
            settings,
            context.api.clone(),
            inventory.subscribe(),
            wishes.subscribe(),
            &context.shared,
        )
        .map_err(|error| passing(error.to_string()))?;
        self.listen(context, cluster, key, &mut handle);
        self.cell = Some(handle);
        self.started_with = Some(wanted);
        Ok(())
    }

    /// Events of the cell become events of the API; a changed state wakes us.
    fn listen(
        &mut self,
        context: &Context,
        cluster: &GossipCluster,
        key: &ClusterKey,
        handle: &mut CellHandle,
    ) {
        let (_, nothing) = tokio::sync::mpsc::channel(1);
        let mut events = std::mem::replace(&mut handle.events, nothing);
        let mut status = handle.status.clone();
        let recorder = context.recorder.clone();
        let about = cluster.object_ref(&());
        let queue = context.queue.clone();
        let name = (key.namespace.clone(), key.name.clone());
        let listener = tokio::spawn(async move {
            loop {
                tokio::select! {
                    event = events.recv() => match event {
                        Some(event) => notes::publish(&recorder, &notes::event_of(&event), &about).await,
                        None => return,
                    },
                    changed = status.changed() => match changed {
                        Ok(()) => queue.push(name.clone()),
                        // It ended by itself, and is to be started again.
                        Err(_) => return queue.push(name),
                    },
                }
            }
        });
        if let Some(older) = self.listener.replace(listener) {
            older.abort();
        }
    }
}

/// How far the DaemonSet is with the template that was applied as that generation of it.
fn agents(set: Option<&DaemonSet>, applied: Option<i64>) -> Option<Agents> {
    let status = set.and_then(|set| set.status.as_ref());
    let seen = status.and_then(|status| status.observed_generation);
    if applied > seen {
        // Its numbers speak of an older template.
        return Some(Agents {
            unseen: true,
            ..Agents::default()
        });
    }
    status.map(|status| {
        let current = status.updated_number_scheduled.unwrap_or(0);
        Agents {
            unseen: false,
            outdated: (status.current_number_scheduled - current).max(0),
            current,
        }
    })
}

fn daemon_set_of(context: &Context, key: &ClusterKey) -> Option<Arc<DaemonSet>> {
    let reference = ObjectRef::<DaemonSet>::new(&names::agent(&key.name)).within(&key.namespace);
    context.views.daemon_sets.get(&reference)
}

fn wishes_of(cluster: &GossipCluster) -> Wishes {
    let balancing = cluster.balancing();
    let cells = cluster.cells();
    Wishes {
        paused: cluster.is_paused(),
        balancing: BalancingSettings {
            mode: balancing.mode,
            max_unhealthy_percent: u8::try_from(balancing.max_unhealthy_percent).unwrap_or(100),
        },
        cells: CellsSettings {
            mode: cells.mode,
            max_members: usize::try_from(cells.max_members).unwrap_or(usize::MAX),
        },
    }
}

fn send_if_changed<T: PartialEq>(sender: &watch::Sender<T>, next: T) {
    sender.send_if_modified(|current| {
        let changed = *current != next;
        *current = next;
        changed
    });
}
