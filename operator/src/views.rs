//! Cached views of the API: clusters, their agents' pods, their children, nodes. Whatever changes names
//! the cluster that somebody has to look at. Only what is read is kept.

mod child;
mod records;
mod trim;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::{Arc, PoisonError, RwLock};

use futures::{Stream, StreamExt};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{DynamicObject, PartialObjectMeta};
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use slotmesh_api::names::{APP_NAME, PART_OF};
use slotmesh_api::{GossipCell, GossipCluster};
use tokio::task::JoinSet;

use crate::apply::resource_of;
use crate::children::{Child, KINDS};
use crate::inventory::{NodeFacts, Nodes, cluster_of};
use crate::queue::{Name, Queue};
use crate::scope::Scope;

pub use child::Cached;
pub use records::Records;
use trim::{trim, trim_pod};

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
    /// The other children, by the plural of their kind.
    children: BTreeMap<&'static str, View<DynamicObject>>,
    /// Versions of the records.
    pub records: Records,
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
        let clusters = watch(
            &mut tasks,
            Watched::new(scope.apis(client), everything.clone()),
            queue,
            cluster_name,
        );
        let mut of_pods = Watched::new(scope.apis(client), of_agents.clone());
        of_pods.trim = trim_pod;
        let pods = watch(&mut tasks, of_pods, queue, |pod: &Pod| {
            cluster_of(&pod.metadata)
        });
        let daemon_sets = watch(
            &mut tasks,
            Watched::new(scope.apis(client), of_agents.clone()),
            queue,
            |set: &DaemonSet| child::cluster_of(&set.metadata),
        );
        let children = KINDS.map(|(api_version, kind, plural)| {
            let resource = resource_of(api_version, kind, plural);
            let watched = Watched {
                apis: scope.apis_of(client, &resource),
                resource,
                config: of_agents.clone(),
                trim,
            };
            let view = watch(&mut tasks, watched, queue, |object: &DynamicObject| {
                child::cluster_of(&object.metadata)
            });
            (plural, view)
        });
        let records = Records::default();
        for api in scope.apis::<PartialObjectMeta<GossipCell>>(client) {
            let stream = watcher(api, everything.clone()).default_backoff();
            tasks.spawn(records.clone().follow(stream, queue.clone()));
        }
        if sight.nodes {
            let api = Api::all(client.clone());
            let of_nodes = NodeWatch {
                nodes: nodes.clone(),
                clusters: clusters.stores.clone(),
                queue: queue.clone(),
            };
            tasks.spawn(of_nodes.run(api, everything));
        }
        Self {
            clusters,
            pods,
            daemon_sets,
            children: children.into(),
            records,
            _tasks: tasks,
        }
    }

    /// A child as the cache shows it.
    pub fn child(&self, namespace: &str, child: &Child) -> Option<Cached> {
        match self.children.get(child.plural) {
            Some(view) => {
                let resource = resource_of(child.api_version, child.kind, child.plural);
                let reference = ObjectRef::new_with(&child.name, resource).within(namespace);
                view.get(&reference).map(Cached::Other)
            }
            None => {
                let reference = ObjectRef::<DaemonSet>::new(&child.name).within(namespace);
                self.daemon_sets.get(&reference).map(Cached::DaemonSet)
            }
        }
    }

    /// Returns when the first listing of everything is there that decisions rest on. (A child that the
    /// cache does not show yet is looked at live.)
    pub async fn ready(&self) {
        tokio::join!(
            self.clusters.wait_until_ready(),
            self.pods.wait_until_ready(),
            self.daemon_sets.wait_until_ready()
        );
    }
}

/// What is watched, and what is kept of it.
struct Watched<T: Resource> {
    apis: Vec<Api<T>>,
    resource: T::DynamicType,
    config: watcher::Config,
    trim: fn(&mut T),
}

impl<T: Resource> Watched<T>
where
    T::DynamicType: Default,
{
    fn new(apis: Vec<Api<T>>, config: watcher::Config) -> Self {
        Self {
            apis,
            resource: T::DynamicType::default(),
            config,
            trim,
        }
    }
}

fn watch<T>(
    tasks: &mut JoinSet<()>,
    watched: Watched<T>,
    queue: &Queue,
    cluster: impl Fn(&T) -> Option<Name> + Clone + Send + 'static,
) -> View<T>
where
    T: Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    T::DynamicType: Eq + Hash + Clone + Debug + Send + Sync,
{
    let Watched {
        apis,
        resource,
        config,
        trim,
    } = watched;
    let one = |api| {
        let writer = Writer::new(resource.clone());
        let store = writer.as_reader();
        let stream = watcher(api, config.clone())
            .default_backoff()
            .modify(trim)
            .reflect(writer);
        tasks.spawn(follow(stream, queue.clone(), cluster.clone()));
        store
    };
    View {
        stores: apis.into_iter().map(one).collect(),
    }
}

/// Names the cluster of whatever changes.
async fn follow<T>(
    stream: impl Stream<Item = Result<watcher::Event<T>, watcher::Error>>,
    queue: Queue,
    cluster: impl Fn(&T) -> Option<Name>,
) {
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
struct NodeWatch {
    nodes: Arc<RwLock<Nodes>>,
    clusters: Vec<Store<GossipCluster>>,
    queue: Queue,
}

impl NodeWatch {
    async fn run(self, api: Api<Node>, config: watcher::Config) {
        let mut stream = std::pin::pin!(watcher(api, config).default_backoff());
        let mut told = false;
        while let Some(event) = stream.next().await {
            match event {
                Ok(watcher::Event::Apply(node) | watcher::Event::InitApply(node)) => {
                    self.seen(&node);
                }
                Ok(watcher::Event::Delete(node)) => {
                    if let Some(name) = node.metadata.name {
                        self.lock().remove(&name);
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

    /// Every cluster may have an agent there. Most events of a node change nothing that matters.
    fn seen(&self, node: &Node) {
        let Some(name) = node.metadata.name.clone() else {
            return;
        };
        let facts = NodeFacts::of(node);
        if self.lock().insert(name, facts.clone()) == Some(facts) {
            return;
        }
        for cluster in self.clusters.iter().flat_map(Store::state) {
            if let Some(name) = cluster_name(&cluster) {
                self.queue.push(name);
            }
        }
    }

    fn lock(&self) -> std::sync::RwLockWriteGuard<'_, Nodes> {
        self.nodes.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn cluster_name(cluster: &GossipCluster) -> Option<Name> {
    let metadata = &cluster.metadata;
    Some((metadata.namespace.clone()?, metadata.name.clone()?))
}

#[cfg(test)]
mod tests;
