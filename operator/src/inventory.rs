//! Which pods a cluster has, from cached pods, nodes and its DaemonSet: pure functions of them.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use slotmesh_api::names::{LABEL_CLUSTER, LABEL_CLUSTER_UID};
use slotmesh_mesh::identity::Uid;
use slotmesh_mesh::limits::CAPACITY_MAX;

use crate::seam::{CAPACITY_DEFAULT, ClusterKey, Inventory, PodFacts};

/// Annotation: weight of the owner on a node, 0 drains it.
pub const ANNOTATION_CAPACITY: &str = "slotmesh.dev/capacity";
/// Label that names the zone of a node, and (since 1.35) of its pods.
const LABEL_ZONE: &str = "topology.kubernetes.io/zone";
/// Taints that say what Kubernetes thinks of a node's health. The mesh judges that itself, and an
/// outage of the API server can put them on every node at once, so they drain nobody.
const TAINTS_OF_HEALTH: [&str; 2] = [
    "node.kubernetes.io/not-ready",
    "node.kubernetes.io/unreachable",
];

/// What matters of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFacts {
    pub zone: String,
    pub capacity: u16,
    /// False when its condition Ready is False or Unknown.
    pub ready: bool,
}

impl Default for NodeFacts {
    fn default() -> Self {
        Self {
            zone: String::new(),
            capacity: CAPACITY_DEFAULT,
            ready: true,
        }
    }
}

/// Nodes by name.
pub type Nodes = BTreeMap<String, NodeFacts>;

impl NodeFacts {
    /// From the API's object.
    #[must_use]
    pub fn of(node: &Node) -> Self {
        let metadata = &node.metadata;
        let spec = node.spec.as_ref();
        let unschedulable = spec.and_then(|spec| spec.unschedulable).unwrap_or(false);
        let evicting = spec
            .and_then(|spec| spec.taints.as_ref())
            .is_some_and(|taints| {
                taints.iter().any(|taint| {
                    taint.effect == "NoExecute" && !TAINTS_OF_HEALTH.contains(&taint.key.as_str())
                })
            });
        let capacity = if unschedulable || evicting {
            0
        } else {
            annotation(metadata, ANNOTATION_CAPACITY)
                .and_then(|text| text.parse::<u16>().ok())
                .map_or(CAPACITY_DEFAULT, |capacity| capacity.min(CAPACITY_MAX))
        };
        Self {
            zone: label(metadata, LABEL_ZONE).unwrap_or_default().to_owned(),
            capacity,
            ready: node
                .status
                .as_ref()
                .and_then(|status| status.conditions.as_ref())
                .and_then(|all| all.iter().find(|condition| condition.type_ == "Ready"))
                .is_none_or(|condition| condition.status == "True"),
        }
    }
}

/// Facts of one pod; None for an object without UID or name.
#[must_use]
pub fn pod_facts(pod: &Pod, nodes: &Nodes) -> Option<PodFacts> {
    let metadata = &pod.metadata;
    let node = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.node_name.clone())
        .unwrap_or_default();
    let status = pod.status.as_ref();
    let of_node = nodes.get(&node).cloned().unwrap_or_default();
    Some(PodFacts {
        name: metadata.name.clone()?,
        uid: uid(metadata.uid.as_deref())?,
        zone: label(metadata, LABEL_ZONE).map_or(of_node.zone, str::to_owned),
        node,
        ip: status
            .and_then(|status| status.pod_ip.as_deref())
            .and_then(|ip| ip.parse().ok()),
        daemon_set_uid: controller_uid(metadata, "DaemonSet"),
        cluster_uid_label: uid(label(metadata, LABEL_CLUSTER_UID)),
        deleting: metadata.deletion_timestamp.is_some(),
        finished: status
            .and_then(|status| status.phase.as_deref())
            .is_some_and(|phase| matches!(phase, "Succeeded" | "Failed")),
        ready: of_node.ready
            && status
                .and_then(|status| status.conditions.as_ref())
                .and_then(|all| all.iter().find(|condition| condition.type_ == "Ready"))
                .is_some_and(|condition| condition.status == "True"),
        capacity: of_node.capacity,
    })
}

/// The cluster that an agent's pod says it belongs to.
#[must_use]
pub fn cluster_of(metadata: &ObjectMeta) -> Option<(String, String)> {
    Some((
        metadata.namespace.clone()?,
        label(metadata, LABEL_CLUSTER)?.to_owned(),
    ))
}

/// The inventory of one cluster. `pods` may hold those of others.
#[must_use]
pub fn inventory<'a>(
    key: &ClusterKey,
    pods: impl Iterator<Item = &'a Pod>,
    daemon_set: Option<&DaemonSet>,
    nodes: &Nodes,
) -> Inventory {
    let mut inventory = Inventory {
        daemon_set_uid: daemon_set.and_then(|set| uid(set.metadata.uid.as_deref())),
        ..Inventory::default()
    };
    for pod in pods {
        let belongs = cluster_of(&pod.metadata)
            .is_some_and(|(namespace, name)| namespace == key.namespace && name == key.name);
        let Some(facts) = pod_facts(pod, nodes).filter(|_| belongs) else {
            continue;
        };
        if facts.cluster_uid_label == Some(key.uid) {
            inventory.pods.insert(facts.uid, facts);
        } else {
            inventory.old_pods += 1;
        }
    }
    inventory.wanted = wanted(&inventory.pods, daemon_set);
    inventory
}

/// How many members there should be: nodes that the DaemonSet counts or on which a pod lives,
/// whichever is more. A node tainted unreachable drops out of the former, and during a rollout two
/// pods share a node.
fn wanted(pods: &BTreeMap<Uid, PodFacts>, daemon_set: Option<&DaemonSet>) -> usize {
    let nodes: BTreeSet<&str> = pods
        .values()
        .filter(|pod| !pod.deleting && !pod.finished && !pod.node.is_empty())
        .map(|pod| pod.node.as_str())
        .collect();
    let status = daemon_set.and_then(|set| set.status.as_ref());
    match status.filter(|status| status.observed_generation.is_some()) {
        Some(status) => nodes
            .len()
            .max(usize::try_from(status.desired_number_scheduled).unwrap_or(0)),
        None => nodes.len() + 1,
    }
}

/// UID of the controller of an object, if it is of that kind.
#[must_use]
pub fn controller_uid(metadata: &ObjectMeta, kind: &str) -> Option<Uid> {
    let owners = metadata.owner_references.as_ref()?;
    let controller = owners.iter().find(|owner| owner.controller == Some(true))?;
    if controller.kind == kind {
        uid(Some(&controller.uid))
    } else {
        None
    }
}

fn label<'a>(metadata: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    metadata.labels.as_ref()?.get(key).map(String::as_str)
}

fn annotation<'a>(metadata: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

fn uid(text: Option<&str>) -> Option<Uid> {
    text.and_then(|text| Uid::from_str(text).ok())
}

#[cfg(test)]
mod tests;
