//! The secret of a pod, in the folder that outlives its containers: by it a process that follows another in the pod proves
//! to that one's peers that it is gone ([`slotmesh_transport::reset`]). So they neither wait for a dead connection to
//! time out nor probe it.
//!
//! Where there is no such folder, or it cannot be used, peers find the predecessor's death by its silence.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use quinn::Endpoint;
use slotmesh_transport::endpoint::{EndpointError, bind, bind_as_successor};
use slotmesh_transport::reset::ResetKeys;

use crate::config::Config;
use crate::state_folder;

/// Name of the file.
const FILE: &str = "reset-secret";
/// Bytes of the secret, and of the file.
const SECRET_BYTES: usize = 32;

/// Binds the mesh port: as the successor of processes before this one in its pod, if that can be.
pub(crate) fn bind_mesh_port(config: &Config) -> Result<Endpoint, EndpointError> {
    let address: SocketAddr = config.mesh_address();
    let Some(folder) = &config.state_dir else {
        return bind(address);
    };
    match secret(folder) {
        Ok(secret) => bind_as_successor(address, &ResetKeys::of_pod(&secret, config.pod_uid)),
        Err(error) => {
            tracing::warn!(
                folder = %folder.display(),
                next_step = "is the folder of --state-dir (or SLOTMESH_STATE_DIR) there, writable and not full?",
                "when the container restarts, peers find that by its silence: {error}"
            );
            bind(address)
        }
    }
}

/// The pod's secret: the first process makes it, others read it. What is no secret is replaced.
fn secret(folder: &Path) -> io::Result<[u8; SECRET_BYTES]> {
    let kept = match state_folder::read(&folder.join(FILE), SECRET_BYTES) {
        Ok((bytes, _)) => bytes.try_into().ok(),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::InvalidData => None,
            _ => return Err(error),
        },
    };
    if let Some(secret) = kept {
        return Ok(secret);
    }
    let mut secret = [0; SECRET_BYTES];
    getrandom::fill(&mut secret).map_err(io::Error::other)?;
    state_folder::replace(folder, FILE, &secret)?;
    Ok(secret)
}

#[cfg(test)]
mod tests;
