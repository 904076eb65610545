//! The life of an agent: serve, join, be a member, join again when deposed, leave.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use slotmesh_mesh::member::MeshError;
use slotmesh_transport::endpoint::{EndpointError, bind};
use thiserror::Error;

use crate::config::Config;
use crate::http;
use crate::join::{Door, join};
use crate::member::{Ended, Member};
use crate::metrics::Metrics;
use crate::snapshot::Shared;

/// Why the agent stops.
#[derive(Debug, Error)]
pub enum AgentError {
    /// An address is taken.
    #[error("cannot listen on {address}: {source}; does another agent run in this pod's network?")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The mesh's endpoint does not start.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The first map is not for this agent.
    #[error(transparent)]
    Mesh(#[from] MeshError),
    /// Metrics contradict each other.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// Signals cannot be caught.
    #[error("signals: {0}")]
    Signals(#[from] std::io::Error),
}

/// Runs until `shutdown` ends, then leaves the mesh.
///
/// # Errors
/// When a port is taken, or something is wrong that no retry mends.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), AgentError> {
    let metrics = Metrics::new()?;
    let snapshots: Shared = Arc::new(ArcSwapOption::empty());
    let at = |port| SocketAddr::new(config.pod_ip, port);
    http::serve(at(config.http_port), http::api(snapshots.clone())).await?;
    http::serve(at(config.metrics_port), http::metrics(metrics.clone())).await?;
    let door = Door {
        endpoint: bind(config.mesh_address())?,
        snapshots,
    };
    tracing::info!(
        cluster = config.cluster_name,
        pod = config.pod_name,
        node = config.node_name,
        address = %config.pod_ip,
        "agent started"
    );

    tokio::pin!(shutdown);
    let mut joined = tokio::select! {
        joined = join(&config, &door, &metrics) => joined,
        () = &mut shutdown => return Ok(()),
    };
    loop {
        let mut member = Member::start(&config, joined, &door, &metrics).await?;
        // A member that lost its place goes on answering from its last map until it has joined again.
        let ended = tokio::select! {
            ended = member.live() => ended,
            () = &mut shutdown => {
                member.leave().await;
                return Ok(());
            }
        };
        match ended {
            Ended::Deposed { epoch } => {
                tracing::warn!(
                    epoch,
                    "the map no longer lists this agent: joining again with a new key"
                );
            }
            Ended::Alone => tracing::warn!("nobody is heard any more: asking the operator"),
        }
        member.become_stale();
        member.stop().await;
        joined = tokio::select! {
            joined = join(&config, &door, &metrics) => joined,
            () = &mut shutdown => return Ok(()),
        };
    }
}
