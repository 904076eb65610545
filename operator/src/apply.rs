//! Applies children, and never takes over an object of somebody else.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use kube::core::Status;
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use slotmesh_api::names::FIELD_MANAGER;
use thiserror::Error;

use crate::children::Child;
use crate::seam::ClusterKey;

const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a child is not there.
#[derive(Debug, Error)]
pub enum ApplyError {
    /// An object of that name belongs to somebody else.
    #[error(
        "{kind} {name} exists and is not this cluster's; give the cluster another name, or delete that object: kubectl -n {namespace} delete {plural} {name}"
    )]
    Conflict {
        /// Kind.
        kind: &'static str,
        /// Plural.
        plural: &'static str,
        /// Namespace.
        namespace: String,
        /// Name.
        name: String,
    },
    /// It belongs to a deleted cluster of this name.
    #[error(
        "{kind} {name} belongs to a deleted cluster of this name; the garbage collector removes it"
    )]
    Leftover {
        /// Kind.
        kind: &'static str,
        /// Name.
        name: String,
    },
    /// The object itself was refused.
    #[error("the API server does not take {kind} {name}: {message}")]
    Invalid {
        /// Kind.
        kind: &'static str,
        /// Name.
        name: String,
        /// The API server's words.
        message: String,
    },
    /// The operator lacks a right.
    #[error(
        "the operator may not write {kind} {name}: {message}; compare its ClusterRole with the chart's"
    )]
    Forbidden {
        /// Kind.
        kind: &'static str,
        /// Name.
        name: String,
        /// The API server's words.
        message: String,
    },
    /// The API server failed us.
    #[error("{kind} {name} was not applied: {message}")]
    Api {
        /// Kind.
        kind: &'static str,
        /// Name.
        name: String,
        /// Why.
        message: String,
    },
}

/// Applies one child of a cluster; returns what the API server made of it. `ours` is what it made of it
/// before, where somebody has changed it since.
///
/// # Errors
/// When the name is taken, a right is missing, or the API server fails us.
pub async fn apply(
    client: &Client,
    cluster: &ClusterKey,
    child: &Child,
    ours: Option<&Value>,
) -> Result<Value, ApplyError> {
    let api = api_of(client, cluster, child);
    let parameters = PatchParams::apply(FIELD_MANAGER);
    if let Some(found) = in_time(child, api.get_opt(&child.name)).await? {
        check_owner(cluster, child, &found)?;
        if let Some(ours) = ours {
            // Server-side apply never takes away what another manager has added to a list, and a port
            // under another number is such an addition.
            let patch = Patch::Merge(ours);
            in_time(child, api.patch(&child.name, &parameters, &patch)).await?;
        }
    }
    let patch = Patch::Apply(&child.object);
    let mut stored = in_time(
        child,
        api.patch(&child.name, &parameters.clone().force(), &patch),
    )
    .await?;
    if let Some(patch) = without_update(&stored) {
        let patch = Patch::Merge(patch);
        stored = in_time(child, api.patch(&child.name, &parameters, &patch)).await?;
    }
    value_of(child, stored)
}

/// A patch that forgets our merge: what is owned twice would stay when it is no longer applied.
fn without_update(stored: &DynamicObject) -> Option<Value> {
    let entries = stored.metadata.managed_fields.as_ref()?;
    let merged = |entry: &&ManagedFieldsEntry| {
        entry.manager.as_deref() == Some(FIELD_MANAGER)
            && entry.operation.as_deref() == Some("Update")
            && entry.subresource.is_none()
    };
    let kept: Vec<_> = entries.iter().filter(|entry| !merged(entry)).collect();
    (kept.len() < entries.len()).then(|| {
        json!({"metadata": {
            "resourceVersion": stored.metadata.resource_version,
            "managedFields": kept,
        }})
    })
}

/// A child as it is now (no cache answers).
///
/// # Errors
/// When a right is missing, or the API server fails us.
pub async fn look(
    client: &Client,
    cluster: &ClusterKey,
    child: &Child,
) -> Result<Option<Value>, ApplyError> {
    let api = api_of(client, cluster, child);
    let found = in_time(child, api.get_opt(&child.name)).await?;
    found.map(|found| value_of(child, found)).transpose()
}

fn api_of(client: &Client, cluster: &ClusterKey, child: &Child) -> Api<DynamicObject> {
    let resource = resource_of(child.api_version, child.kind, child.plural);
    Api::namespaced_with(client.clone(), &cluster.namespace, &resource)
}

/// The API's resource of a kind.
pub(crate) fn resource_of(api_version: &str, kind: &str, plural: &str) -> ApiResource {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}

fn value_of(child: &Child, object: DynamicObject) -> Result<Value, ApplyError> {
    serde_json::to_value(object).map_err(|error| ApplyError::Api {
        kind: child.kind,
        name: child.name.clone(),
        message: error.to_string(),
    })
}

/// Only what this cluster controls is touched.
fn check_owner(
    cluster: &ClusterKey,
    child: &Child,
    found: &DynamicObject,
) -> Result<(), ApplyError> {
    let owners = found.owner_references();
    let controller = owners.iter().find(|owner| owner.controller == Some(true));
    match controller {
        Some(owner) if owner.uid == cluster.uid.to_string() => Ok(()),
        Some(owner) if owner.kind == "GossipCluster" && owner.name == cluster.name => {
            Err(ApplyError::Leftover {
                kind: child.kind,
                name: child.name.clone(),
            })
        }
        _ => Err(ApplyError::Conflict {
            kind: child.kind,
            plural: child.plural,
            namespace: cluster.namespace.clone(),
            name: child.name.clone(),
        }),
    }
}

/// What an answer of the API server means.
fn refused(kind: &'static str, name: String, status: &Status) -> ApplyError {
    let message = status.message.clone();
    // Nothing can be made in a namespace that ends, and that is no matter of rights.
    let ends = message.contains("is being terminated");
    match status.code {
        403 if !ends => ApplyError::Forbidden {
            kind,
            name,
            message,
        },
        400 | 422 => ApplyError::Invalid {
            kind,
            name,
            message,
        },
        _ => ApplyError::Api {
            kind,
            name,
            message,
        },
    }
}

async fn in_time<T>(
    child: &Child,
    call: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, ApplyError> {
    let (kind, name) = (child.kind, child.name.clone());
    match tokio::time::timeout(CALL_TIMEOUT, call).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(kube::Error::Api(status))) => Err(refused(kind, name, &status)),
        Ok(Err(error)) => Err(ApplyError::Api {
            kind,
            name,
            message: error.to_string(),
        }),
        Err(_) => Err(ApplyError::Api {
            kind,
            name,
            message: "no answer in time".into(),
        }),
    }
}

#[cfg(test)]
mod tests;
