//! What ends an agent: nothing that a retry mends is here.

use std::net::SocketAddr;

use slotmesh_mesh::member::MeshError;
use slotmesh_transport::endpoint::EndpointError;
use thiserror::Error;

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
