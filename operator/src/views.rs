//! Cached views of the API: clusters, their agents' pods, their children, nodes. Whatever changes names
//! the cluster that somebody has to look at. Only what is read is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::{Arc, PoisonError, RwLock};

use futures::StreamExt;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Container, Node, Pod, PodSpec, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::DynamicObject;
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::Value;
use slotmesh_api::GossipCluster;
use slotmesh_api::names::{APP_NAME, PART_OF};
use tokio::task::JoinSet;

use crate::apply::resource_of;
use crate::children::{Child, KINDS};
use crate::inventory::{NodeFacts, Nodes, cluster_of};
use crate::queue::{Name, Queue};

/// Seconds after which a watch is asked for anew (below the API server's own bound).
const WATCH_SECONDS: u32 = 200;

/// The views; dropping them ends the watches.
#[derive(Debug)]
pub struct Views {
    /// Every cluster.
    pub clusters: Store<GossipCluster>,
    /// Pods of agents.
    pub pods: Store<Pod>,
    /// DaemonSets of agents.
    pub daemon_sets: Store<DaemonSet>,
    /// The other children, by the plural of their kind.
    children: BTreeMap<&'static str, Store<DynamicObject>>,
    _tasks: JoinSet<()>,
}

impl Views {
    /// Starts the watches. Every change of something names its cluster in the queue.
    #[must_use]
    pub fn start(client: &Client, queue: &Queue, nodes: &Arc<RwLock<Nodes>>) -> Self {
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
            Watched::new(Api::all(client.clone()), everything.clone()),
            queue,
            of_cluster,
        );
        let mut of_pods = Watched::new(Api::all(client.clone()), of_agents.clone());
        of_pods.trim = trim_pod;
        let pods = watch(&mut tasks, of_pods, queue, |pod: &Pod| {
            cluster_of(&pod.metadata)
        });
        let daemon_sets = watch(
            &mut tasks,
            Watched::new(Api::all(client.clone()), of_agents.clone()),
            queue,
            |set: &DaemonSet| cluster_of_child(&set.metadata),
        );
        let children = KINDS.map(|(api_version, kind, plural)| {
            let resource = resource_of(api_version, kind, plural);
            let watched = Watched {
                api: Api::all_with(client.clone(), &resource),
                config: of_agents.clone(),
                writer: Writer::new(resource),
                trim,
            };
            let store = watch(&mut tasks, watched, queue, |child: &DynamicObject| {
                cluster_of_child(&child.metadata)
            });
            (plural, store)
        });
        tasks.spawn(watch_nodes(
            Api::all(client.clone()),
            everything,
            nodes.clone(),
        ));
        Self {
            clusters,
            pods,
            daemon_sets,
            children: children.into(),
            _tasks: tasks,
        }
    }

    /// A child as the cache shows it.
    pub fn child(&self, namespace: &str, child: &Child) -> Option<Cached> {
        match self.children.get(child.plural) {
            Some(store) => {
                let resource = resource_of(child.api_version, child.kind, child.plural);
                let reference = ObjectRef::new_with(&child.name, resource).within(namespace);
                store.get(&reference).map(Cached::Other)
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
        // A writer that is gone ended with its task, and then nobody waits for us either.
        let _ = tokio::join!(
            self.clusters.wait_until_ready(),
            self.pods.wait_until_ready(),
            self.daemon_sets.wait_until_ready()
        );
    }
}

/// A child in the cache.
#[derive(Clone, Debug)]
pub enum Cached {
    /// The DaemonSet, which others read too.
    DaemonSet(Arc<DaemonSet>),
    /// Any other.
    Other(Arc<DynamicObject>),
}

impl Cached {
    /// metadata.resourceVersion.
    pub fn version(&self) -> &str {
        let metadata = match self {
            Self::DaemonSet(set) => &set.metadata,
            Self::Other(object) => &object.metadata,
        };
        metadata.resource_version.as_deref().unwrap_or_default()
    }

    /// The whole object.
    pub fn object(&self) -> Value {
        let object = match self {
            Self::DaemonSet(set) => serde_json::to_value(set.as_ref()),
            Self::Other(object) => serde_json::to_value(object.as_ref()),
        };
        object.unwrap_or_default()
    }
}

/// What is watched, and what is kept of it.
struct Watched<T>
where
    T: Resource + Clone + 'static,
    T::DynamicType: Eq + Hash + Clone,
{
    api: Api<T>,
    config: watcher::Config,
    writer: Writer<T>,
    trim: fn(&mut T),
}

impl<T> Watched<T>
where
    T: Resource + Clone + 'static,
    T::DynamicType: Default + Eq + Hash + Clone,
{
    fn new(api: Api<T>, config: watcher::Config) -> Self {
        Self {
            api,
            config,
            writer: Writer::default(),
            trim,
        }
    }
}

/// The cluster that a child belongs to: its controller says so even when somebody edits its labels.
fn cluster_of_child(metadata: &ObjectMeta) -> Option<Name> {
    let owners = metadata.owner_references.iter().flatten();
    let mut controllers = owners.filter(|owner| owner.controller == Some(true));
    match controllers.find(|owner| owner.kind == GossipCluster::kind(&())) {
        Some(owner) => Some((metadata.namespace.clone()?, owner.name.clone())),
        None => cluster_of(metadata),
    }
}

/// Nobody here asks who wrote which field, and it is a good part of an object.
fn trim<T: Resource>(object: &mut T) {
    object.meta_mut().managed_fields = None;
}

/// What [`crate::inventory`] and [`crate::versions`] read of a pod: there may be a thousand of them.
fn trim_pod(pod: &mut Pod) {
    trim(pod);
    pod.metadata.annotations = None;
    pod.spec = pod.spec.take().map(|spec| PodSpec {
        node_name: spec.node_name,
        containers: spec
            .containers
            .into_iter()
            .map(|container| Container {
                name: container.name,
                image: container.image,
                ..Container::default()
            })
            .collect(),
        ..PodSpec::default()
    });
    pod.status = pod.status.take().map(|status| PodStatus {
        phase: status.phase,
        pod_ip: status.pod_ip,
        conditions: status.conditions.map(|mut conditions| {
            conditions.retain(|condition| condition.type_ == "Ready");
            conditions
        }),
        ..PodStatus::default()
    });
}

fn watch<T>(
    tasks: &mut JoinSet<()>,
    watched: Watched<T>,
    queue: &Queue,
    cluster: impl Fn(&T) -> Option<(String, String)> + Send + 'static,
) -> Store<T>
where
    T: Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    T::DynamicType: Eq + Hash + Clone + Send + Sync,
{
    let Watched {
        api,
        config,
        writer,
        trim,
    } = watched;
    let store = writer.as_reader();
    let queue = queue.clone();
    tasks.spawn(async move {
        let stream = watcher(api, config)
            .default_backoff()
            .modify(trim)
            .reflect(writer);
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
