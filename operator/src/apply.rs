//! Applies children, and never takes over an object of somebody else.

use std::time::Duration;

use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use slotmesh_api::names::FIELD_MANAGER;
use thiserror::Error;

use crate::children::Child;

const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a child is not there.
#[derive(Debug, Error)]
pub enum ApplyError {
    /// An object of that name belongs to somebody else.
    #[error(
        "{kind} {name} exists and is not this cluster's; rename the cluster, or delete that object: kubectl delete {plural} {name}"
    )]
    Conflict {
        /// Kind.
        kind: &'static str,
        /// Plural.
        plural: &'static str,
        /// Name.
        name: String,
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

/// Applies one child of the cluster with that UID.
///
/// # Errors
/// When the name is taken, a right is missing, or the API server fails us.
pub async fn apply(
    client: &Client,
    namespace: &str,
    cluster_uid: &str,
    child: &Child,
) -> Result<(), ApplyError> {
    let (group, version) = child
        .api_version
        .split_once('/')
        .unwrap_or(("", child.api_version));
    let kind = GroupVersionKind::gvk(group, version, child.kind);
    let resource = ApiResource::from_gvk_with_plural(&kind, child.plural);
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let found = in_time(child, api.get_opt(&child.name)).await?;
    if found.is_some_and(|found| !is_controlled_by(&found, cluster_uid)) {
        return Err(ApplyError::Conflict {
            kind: child.kind,
            plural: child.plural,
            name: child.name.clone(),
        });
    }
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    let patch = Patch::Apply(&child.object);
    in_time(child, api.patch(&child.name, &parameters, &patch)).await?;
    Ok(())
}

fn is_controlled_by(object: &DynamicObject, uid: &str) -> bool {
    object
        .owner_references()
        .iter()
        .any(|owner| owner.controller == Some(true) && owner.uid == uid)
}

async fn in_time<T>(
    child: &Child,
    call: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, ApplyError> {
    let (kind, name) = (child.kind, child.name.clone());
    match tokio::time::timeout(CALL_TIMEOUT, call).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(kube::Error::Api(status))) if status.code == 403 => Err(ApplyError::Forbidden {
            kind,
            name,
            message: status.message.clone(),
        }),
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
