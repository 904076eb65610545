//! The status of a cluster: written when it changed, and not too often.

use std::time::{Duration, Instant};

use kube::Api;
use kube::api::PostParams;
use slotmesh_api::GossipCluster;
use slotmesh_api::names::FIELD_MANAGER_STATUS;

use super::{CALL_TIMEOUT, Managed, RETRY};
use crate::context::Context;
use crate::queue::Name;
use crate::seam::{CellStatus, ClusterKey};
use crate::status::{self, Known};
use crate::versions;

/// Shortest time between two writes of one status.
const STATUS_INTERVAL: Duration = Duration::from_secs(2);

impl Managed {
    pub(super) async fn write_status(
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
        let pods = context.views.pods.state();
        let members = cell.as_ref().map_or(&[][..], |cell| &cell.members);
        let known = Known {
            cell: cell.as_ref(),
            agent_versions: versions::count(members, pods.iter().map(AsRef::as_ref)),
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
                tracing::warn!(cluster = %key, %error, "the status was not written");
                self.wake_later(context, name, RETRY);
            }
            Err(_) => self.wake_later(context, name, RETRY),
        }
    }
}
