//! Cached views of the API: clusters, their agents' pods and DaemonSets, nodes. Whatever changes names
//! the cluster that somebody has to look at.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::{Arc, PoisonError, RwLock};

use futures::StreamExt;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use slotmesh_api::GossipCluster;
use slotmesh_api::names::{APP_NAME, PART_OF};
use tokio::task::JoinSet;

use crate::inventory::{NodeFacts, Nodes, cluster_of};
use crate::queue::{Name, Queue};
use crate::scope::Scope;

/// Seconds after which a watch is asked for anew (below the API server's own bound).
const WATCH_SECONDS: u32 = 200;

/// Objects of one kind, out of every namespace that is watched.
#[derive(Debug)]
pub struct View<T>
where
    T: Resource + Clone + Debug + 'static,
    T::DynamicType: Eq + Hash + Debug,
{
    stores: Vec<Store<T>>,
}

impl<T> View<T>
where
    T: Resource + Clone + Debug + 'static,
    T::DynamicType: Eq + Hash + Clone + Debug,
{
    /// One object.
    #[must_use]
    pub fn get(&self, reference: &ObjectRef<T>) -> Option<Arc<T>> {
        self.stores.iter().find_map(|store| store.get(reference))
    }

    /// All objects.
    #[must_use]
    pub fn state(&self) -> Vec<Arc<T>> {
        self.stores.iter().flat_map(Store::state).collect()
    }

    /// Returns when the first listing is there.
    pub async fn wait_until_ready(&self) {
        for store in &self.stores {
            // A writer that is gone ended with its task, and then nobody waits for us either.
            let _ = store.wait_until_ready().await;
        }
    }
}

/// What the views look at.
#[derive(Clone, Debug)]
pub struct Sight {
    /// Namespaces.
    pub scope: Scope,
    /// Whether nodes may be read.
    pub nodes: bool,
}

/// The views; dropping them ends the watches.
#[derive(Debug)]
pub struct Views {
    /// Every cluster.
    pub clusters: View<GossipCluster>,
    /// Pods of agents.
    pub pods: View<Pod>,
    /// DaemonSets of agents.
    pub daemon_sets: View<DaemonSet>,
    _tasks: JoinSet<()>,
}

impl Views {
    /// Starts the watches. Every change of something names its cluster in the queue.
    #[must_use]
    pub fn start(
        client: &Client,
        sight: &Sight,
        queue: &Queue,
        nodes: &Arc<RwLock<Nodes>>,
    ) -> Self {
        let scope = &sight.scope;
        let mut tasks = JoinSet::new();
        let agents =
            format!("app.kubernetes.io/name={APP_NAME},app.kubernetes.io/part-of={PART_OF}");
        let everything = watcher::Config::default().timeout(WATCH_SECONDS);
        let of_agents = everything.clone().labels(&agents);
        let of_cluster = |cluster: &GossipCluster| {
            Some((
                cluster.metadata.namespace.clone()?,
                cluster.metadata.name.clone()?,
            ))
        };
        let clusters = watch(
            &mut tasks,
            scope.apis(client),
            everything.clone(),
            queue,
            of_cluster,
        );
        let pods = watch(
            &mut tasks,
            scope.apis(client),
            of_agents.clone(),
            queue,
            |pod: &Pod| cluster_of(&pod.metadata),
        );
        let daemon_sets = watch(
            &mut tasks,
            scope.apis(client),
            of_agents,
            queue,
            |set: &DaemonSet| cluster_of(&set.metadata),
        );
        if sight.nodes {
            let api = Api::all(client.clone());
            tasks.spawn(watch_nodes(api, everything, nodes.clone()));
        }
        Self {
            clusters,
            pods,
            daemon_sets,
            _tasks: tasks,
        }
    }

    /// Returns when the first listing of everything is there.
    pub async fn ready(&self) {
        tokio::join!(
            self.clusters.wait_until_ready(),
            self.pods.wait_until_ready(),
            self.daemon_sets.wait_until_ready()
        );
    }
}

fn watch<T>(
    tasks: &mut JoinSet<()>,
    apis: Vec<Api<T>>,
    config: watcher::Config,
    queue: &Queue,
    cluster: impl Fn(&T) -> Option<Name> + Clone + Send + 'static,
) -> View<T>
where
    T: Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    T::DynamicType: Default + Eq + Hash + Clone + Debug + Send + Sync,
{
    let one = |api| watch_one(tasks, api, config.clone(), queue, cluster.clone());
    View {
        stores: apis.into_iter().map(one).collect(),
    }
}

fn watch_one<T>(
    tasks: &mut JoinSet<()>,
    api: Api<T>,
    config: watcher::Config,
    queue: &Queue,
    cluster: impl Fn(&T) -> Option<Name> + Send + 'static,
) -> Store<T>
where
    T: Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    T::DynamicType: Default + Eq + Hash + Clone + Debug + Send + Sync,
{
    let (store, writer) = reflector::store();
    let queue = queue.clone();
    tasks.spawn(async move {
        let stream = watcher(api, config).default_backoff().reflect(writer);
        let mut stream = std::pin::pin!(stream);
        let mut seen = Seen::default();
        while let Some(event) = stream.next().await {
            let object = match event {
                Ok(watcher::Event::InitApply(object)) => {
                    seen.listed.extend(cluster(&object));
                    object
                }
                Ok(watcher::Event::Apply(object) | watcher::Event::Delete(object)) => {
                    seen.before.extend(cluster(&object));
                    object
                }
                Ok(watcher::Event::Init) => {
                    seen.listed.clear();
                    continue;
                }
                Ok(watcher::Event::InitDone) => {
                    for gone in seen.relisted() {
                        queue.push(gone);
                    }
                    continue;
                }
                Err(error) => {
                    tracing::warn!(%error, "a watch failed; trying on");
                    continue;
                }
            };
            if let Some(name) = cluster(&object) {
                queue.push(name);
            }
        }
    });
    store
}

/// Clusters that a watch has named. What vanished while it was down shows in no event, only by its
/// absence from the next listing.
#[derive(Debug, Default)]
struct Seen {
    before: BTreeSet<Name>,
    listed: BTreeSet<Name>,
}

impl Seen {
    /// A listing is complete: who was named before it and is not in it.
    fn relisted(&mut self) -> Vec<Name> {
        let before = std::mem::replace(&mut self.before, std::mem::take(&mut self.listed));
        before.difference(&self.before).cloned().collect()
    }
}

/// Nodes are optional: without the right to read them, zones come from pods and nothing drains.
async fn watch_nodes(api: Api<Node>, config: watcher::Config, nodes: Arc<RwLock<Nodes>>) {
    let mut stream = std::pin::pin!(watcher(api, config).default_backoff());
    let mut told = false;
    while let Some(event) = stream.next().await {
        let lock = || nodes.write().unwrap_or_else(PoisonError::into_inner);
        match event {
            Ok(watcher::Event::Apply(node) | watcher::Event::InitApply(node)) => {
                if let Some(name) = node.metadata.name.clone() {
                    lock().insert(name, NodeFacts::of(&node));
                }
            }
            Ok(watcher::Event::Delete(node)) => {
                if let Some(name) = node.metadata.name {
                    lock().remove(&name);
                }
            }
            Ok(watcher::Event::Init | watcher::Event::InitDone) => {}
            Err(error) if told => tracing::debug!(%error, "nodes cannot be read"),
            Err(error) => {
                told = true;
                tracing::info!(%error, "nodes cannot be read: zones come from the pods' labels");
            }
        }
    }
}

#[cfg(test)]
mod tests;
