//! One cluster: dereference, validate, build, apply, status. Whatever is missing afterwards is tried
//! again when something changes, or a little later.

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::PostParams;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, Resource, ResourceExt};
use slotmesh_api::conditions::{events, reasons};
use slotmesh_api::names::FIELD_MANAGER_STATUS;
use slotmesh_api::{GossipCluster, names};
use slotmesh_mesh::identity::Uid;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::apply::{ApplyError, apply};
use crate::cells;
use crate::children::{self, Child, Parent, Trust};
use crate::context::Context;
use crate::inventory::inventory;
use crate::keys::{self, KeysError};
use crate::kubernetes::RecordContext;
use crate::notes;
use crate::queue::Name;
use crate::seam::{
    BalancingSettings, CellHandle, CellSettings, CellStatus, CellsSettings, ClusterKey,
    ClusterKeys, Inventory, Kubernetes, Wishes,
};
use crate::status::{self, Known, Rollout, Stalled};

/// Pause after something failed.
const RETRY: Duration = Duration::from_secs(5);
/// Shortest time between two writes of one status.
const STATUS_INTERVAL: Duration = Duration::from_secs(2);
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
    /// Children as they were last applied.
    applied: Vec<Child>,
    stalled: Option<Stalled>,
    rollout: Rollout,
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
        if let Err(stalled) = self.provide(context, &cluster, &key).await {
            self.complain(context, &cluster, &stalled).await;
            self.rollout.not_applied = Some(stalled.message.clone());
            self.stalled = (!stalled.reason.is_empty()).then_some(stalled);
            self.wake_later(context, name, RETRY);
        }
        self.write_status(context, &cluster, &key, name).await;
        Outcome::Alive
    }

    /// Keys, children, inventory and the cell.
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
                let has_record = has_record(context, key).await?;
                let keys =
                    keys::get_or_create(&context.client, &context.namespace, key, has_record).await;
                Arc::new(keys.map_err(keys_stalled)?)
            }
        };
        self.keys = Some(keys.clone());
        self.apply_children(context, cluster, key, &keys).await?;
        self.update_inventory(context, key);
        self.update_wishes(cluster);
        self.run_cell(context, cluster, key, keys, cell_name)
    }

    async fn apply_children(
        &mut self,
        context: &Context,
        cluster: &GossipCluster,
        key: &ClusterKey,
        keys: &ClusterKeys,
    ) -> Result<(), Stalled> {
        let uid = key.uid.to_string();
        let parent = Parent {
            namespace: &key.namespace,
            name: &key.name,
            uid: &uid,
            owner: owner_of(cluster),
            agent_image: cluster.agent_image().unwrap_or(&context.agent_image),
        };
        let map_keys = format!("{}\n", STANDARD.encode(keys.map.public().as_bytes()));
        let join_address = format!("{}\n", context.join_address);
        let trust = Trust {
            ca: keys.ca.certificate_pem(),
            map_keys: &map_keys,
            join_address: &join_address,
        };
        let wanted = children::all(&parent, &trust);
        for child in &wanted {
            if self.applied.contains(child) {
                continue;
            }
            context
                .tenure
                .check()
                .map_err(|error| passing(error.to_string()))?;
            apply(&context.client, &key.namespace, &uid, child)
                .await
                .map_err(apply_stalled)?;
            tracing::info!(
                cluster = key.name,
                kind = child.kind,
                name = child.name,
                "applied"
            );
        }
        self.applied = wanted;
        Ok(())
    }

    fn update_inventory(&mut self, context: &Context, key: &ClusterKey) {
        let pods = context.views.pods.state();
        let daemon_set = daemon_set_of(context, key);
        self.rollout.outdated = daemon_set.as_deref().map_or(0, outdated);
        let nodes = context.api.nodes();
        let nodes = nodes
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let next = inventory(
            key,
            pods.iter().map(AsRef::as_ref),
            daemon_set.as_deref(),
            &nodes,
        );
        let sender = self
            .inventory
            .get_or_insert_with(|| watch::channel(Inventory::default()).0);
        send_if_changed(sender, next);
    }

    fn update_wishes(&mut self, cluster: &GossipCluster) {
        let sender = self
            .wishes
            .get_or_insert_with(|| watch::channel(Wishes::default()).0);
        send_if_changed(sender, wishes_of(cluster));
    }

    fn run_cell(
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
                        Err(_) => return,
                    },
                }
            }
        });
        if let Some(older) = self.listener.replace(listener) {
            older.abort();
        }
    }

    async fn write_status(
        &mut self,
        context: &Context,
        cluster: &GossipCluster,
        key: &ClusterKey,
        name: &Name,
    ) {
        let cell: Option<CellStatus> = self
            .cell
            .as_mut()
            .map(|cell| cell.status.borrow_and_update().clone());
        let known = Known {
            cell: cell.as_ref(),
            stalled: self.stalled.as_ref(),
            rollout: &self.rollout,
        };
        let status = status::build(cluster, &known, jiff::Timestamp::now());
        if cluster.status.as_ref() == Some(&status) {
            return;
        }
        let since = self.status_written.map(|at| at.elapsed());
        if let Some(wait) = since.and_then(|since| STATUS_INTERVAL.checked_sub(since)) {
            return self.wake_later(context, name, wait);
        }
        if context.tenure.check().is_err() {
            return;
        }
        let mut next = cluster.clone();
        next.status = Some(status);
        let clusters: Api<GossipCluster> = Api::namespaced(context.client.clone(), &key.namespace);
        let parameters = PostParams {
            field_manager: Some(FIELD_MANAGER_STATUS.to_owned()),
            ..PostParams::default()
        };
        let write = clusters.replace_status(&key.name, &parameters, &next);
        match tokio::time::timeout(CALL_TIMEOUT, write).await {
            Ok(Ok(_)) => self.status_written = Some(Instant::now()),
            // The cache is behind: its next event brings us back.
            Ok(Err(kube::Error::Api(error))) if matches!(error.code, 404 | 409) => {
                self.wake_later(context, name, STATUS_INTERVAL);
            }
            Ok(Err(error)) => {
                tracing::warn!(cluster = key.name, %error, "the status was not written");
                self.wake_later(context, name, RETRY);
            }
            Err(_) => self.wake_later(context, name, RETRY),
        }
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

    async fn complain(&self, context: &Context, cluster: &GossipCluster, stalled: &Stalled) {
        tracing::warn!(
            cluster = cluster.name_any(),
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
                tracing::info!(cluster = key.name, "the cluster is gone");
                if let Err(error) = keys::delete(&context.client, &context.namespace, &key).await {
                    tracing::warn!(cluster = key.name, %error, "its keys were not deleted");
                }
            }
            _ => tracing::warn!(
                cluster = key.name,
                "the deletion could not be confirmed; its keys stay"
            ),
        }
    }
}

async fn has_record(context: &Context, key: &ClusterKey) -> Result<bool, Stalled> {
    let records = context.api.list_records(key).await;
    let records = records.map_err(|failure| passing(failure.to_string()))?;
    Ok(!records.is_empty())
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

/// Agents that run an older template, while the DaemonSet replaces them.
fn outdated(set: &DaemonSet) -> i32 {
    let Some(status) = &set.status else { return 0 };
    let updated = status.updated_number_scheduled.unwrap_or(0);
    (status.current_number_scheduled - updated).max(0)
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

fn keys_stalled(error: KeysError) -> Stalled {
    let reason = match &error {
        KeysError::Lost { .. } | KeysError::Malformed { .. } => reasons::KEYS_LOST,
        KeysError::Api(api) if matches!(api.as_ref(), kube::Error::Api(status) if status.code == 403) => {
            reasons::FORBIDDEN_BY_RBAC
        }
        KeysError::Api(_) | KeysError::TimedOut | KeysError::Generate(_) => "",
    };
    Stalled {
        reason,
        message: error.to_string(),
    }
}

fn apply_stalled(error: ApplyError) -> Stalled {
    let reason = match &error {
        ApplyError::Conflict { .. } => reasons::NAME_CONFLICT,
        ApplyError::Forbidden { .. } => reasons::FORBIDDEN_BY_RBAC,
        ApplyError::Api { .. } => "",
    };
    Stalled {
        reason,
        message: error.to_string(),
    }
}
