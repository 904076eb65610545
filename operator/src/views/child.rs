//! Children in the cache, whatever their kind.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::api::DynamicObject;
use serde_json::Value;
use slotmesh_api::GossipCluster;

use crate::inventory;
use crate::queue::Name;

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

/// The cluster that a child belongs to: its controller says so even when somebody edits its labels.
pub(super) fn cluster_of(metadata: &ObjectMeta) -> Option<Name> {
    let owners = metadata.owner_references.iter().flatten();
    let mut controllers = owners.filter(|owner| owner.controller == Some(true));
    match controllers.find(|owner| owner.kind == GossipCluster::kind(&())) {
        Some(owner) => Some((metadata.namespace.clone()?, owner.name.clone())),
        None => inventory::cluster_of(metadata),
    }
}
