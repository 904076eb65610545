//! What ends an agent: nothing that a retry mends is here.

use std::io;
use std::net::SocketAddr;

use slotmesh_mesh::member::MeshError;
use slotmesh_transport::endpoint::EndpointError;
use thiserror::Error;

use crate::config::WRONG;

/// Exit code of an agent that cannot go on.
const STOPPED: u8 = 1;

/// Why the agent stops.
#[derive(Debug, Error)]
pub enum AgentError {
    /// It cannot listen on an address.
    #[error("cannot listen on {protocol}://{address}: {source}; {}", next_step(.source, .port))]
    Bind {
        /// `udp` or `tcp`.
        protocol: &'static str,
        /// Which.
        address: SocketAddr,
        /// The flag of the port, and the variable that sets it too.
        port: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The mesh's endpoint does not start.
    #[error(transparent)]
    Endpoint(EndpointError),
    /// The first map is not for this agent.
    #[error(transparent)]
    Mesh(#[from] MeshError),
    /// Metrics contradict each other.
    #[error("metrics: {0}; this is a defect: please report it with this line")]
    Metrics(#[from] prometheus::Error),
    /// Signals cannot be caught.
    #[error("signals: {0}; this is a defect: please report it with this line")]
    Signals(#[from] io::Error),
}

impl AgentError {
    /// The mesh's endpoint does not start.
    pub(crate) fn of_mesh_port(error: EndpointError) -> Self {
        match error {
            EndpointError::Bind { address, source } => Self::Bind {
                protocol: "udp",
                address,
                port: "--mesh-port (or SLOTMESH_MESH_PORT)",
                source,
            },
            error => Self::Endpoint(error),
        }
    }

    /// The exit code. An address or a port that this machine can never listen on is a wrong value, which
    /// only shows here; one that is taken may be free at the next attempt.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Bind { source, .. } if is_of_the_value(source) => WRONG,
            _ => STOPPED,
        }
    }

    /// Whether a wrong value is the cause.
    #[must_use]
    pub fn is_wrong_value(&self) -> bool {
        self.exit_code() == WRONG
    }
}

fn is_of_the_value(source: &io::Error) -> bool {
    matches!(
        source.kind(),
        io::ErrorKind::AddrNotAvailable
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::InvalidInput
    )
}

/// What whoever reads the line can do.
fn next_step(source: &io::Error, port: &str) -> String {
    match source.kind() {
        io::ErrorKind::AddrInUse => format!(
            "another process has it: does a second agent run in this pod's network? Else set {port}"
        ),
        io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address: set --pod-ip (or SLOTMESH_POD_IP) to that of this pod"
                .into()
        }
        io::ErrorKind::PermissionDenied => {
            format!("ports below 1024 are for root: set {port} to a higher one")
        }
        _ => format!("check --pod-ip (or SLOTMESH_POD_IP) and {port}"),
    }
}
