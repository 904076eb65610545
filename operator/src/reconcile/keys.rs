//! Keys of a cluster, and what becomes of records whose keys were lost.

use std::sync::Arc;

use kube::ResourceExt;
use slotmesh_api::GossipCluster;
use slotmesh_api::conditions::reasons;
use slotmesh_api::names::ANNOTATION_ACCEPT_KEY_LOSS;

use crate::context::Context;
use crate::keys::{KeysError, Missing};
use crate::kubernetes::RecordContext;
use crate::seam::{ClusterKey, ClusterKeys, Kubernetes, RecordFailure};
use crate::status::Stalled;

use super::{owner_of, passing};

/// What to do if the keys are not there: make them for a cluster without a record; for another only
/// when its annotation accepts their loss.
pub(super) async fn missing(
    context: &Context,
    cluster: &GossipCluster,
    key: &ClusterKey,
) -> Result<Missing, Stalled> {
    let failed = |failure: RecordFailure| passing(failure.to_string());
    let records = context.api.list_records(key).await.map_err(failed)?;
    if records.is_empty() {
        return Ok(Missing::Make);
    }
    let accepted = cluster.annotations().get(ANNOTATION_ACCEPT_KEY_LOSS);
    if accepted != Some(&key.uid.to_string()) {
        return Ok(Missing::Complain);
    }
    let era = context.api.highest_era(key).await.map_err(failed)?;
    Ok(Missing::Replace { era: era + 1 })
}

/// Records that a lost key sealed are sealed with its successor before anybody reads them.
pub(super) async fn seal_anew(
    context: &Context,
    cluster: &GossipCluster,
    key: &ClusterKey,
    keys: &Arc<ClusterKeys>,
) -> Result<(), Stalled> {
    let Some(era) = keys.seals_from_era else {
        return Ok(());
    };
    let record = RecordContext {
        owner: owner_of(cluster),
        keys: keys.clone(),
    };
    context.api.set_record_context(key.uid, record);
    let sealed = context.api.reseal(key, era).await;
    sealed.map_err(|failure| passing(failure.to_string()))
}

pub(super) fn stalled(error: KeysError) -> Stalled {
    let reason = match &error {
        KeysError::Lost { .. } | KeysError::Malformed { .. } => reasons::KEYS_LOST,
        KeysError::Api(api) if matches!(api.as_ref(), kube::Error::Api(status) if status.code == 403) => {
            reasons::FORBIDDEN_BY_RBAC
        }
        KeysError::Api(_)
        | KeysError::TimedOut
        | KeysError::Deposed(_)
        | KeysError::Generate(_) => "",
    };
    Stalled {
        reason,
        message: error.to_string(),
    }
}
