//! The secret of a pod, in the folder that outlives its containers: by it a process that follows another in the pod proves
//! to that one's peers that it is gone ([`slotmesh_transport::reset`]). So they neither wait for a dead connection to
//! time out nor probe it.
//!
//! Where there is no such folder, or it cannot be used, peers find the predecessor's death by its silence.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use quinn::Endpoint;
use slotmesh_transport::endpoint::{EndpointError, bind, bind_as_successor};
use slotmesh_transport::reset::ResetKeys;

use crate::config::Config;

/// Name of the file.
const FILE: &str = "reset-secret";
/// Name of the file while it is written.
const UNFINISHED: &str = "reset-secret.new";
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

/// The pod's secret: the first process makes it, others read it.
fn secret(folder: &Path) -> io::Result<[u8; SECRET_BYTES]> {
    match read(&folder.join(FILE)) {
        Ok(secret) => Ok(secret),
        // One that was written by halves, or is not there yet.
        Err(error) if is_to_be_made(error.kind()) => make(folder),
        Err(error) => Err(error),
    }
}

fn is_to_be_made(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData
    )
}

fn read(path: &Path) -> io::Result<[u8; SECRET_BYTES]> {
    // Looked at first: to open a pipe would wait for its other end.
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::other("the secret is not a file"));
    }
    if metadata.len() > SECRET_BYTES as u64 {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut secret = [0; SECRET_BYTES];
    File::open(path)?.read_exact(&mut secret)?;
    Ok(secret)
}

/// Readable for this user only, and there at once or not at all.
fn make(folder: &Path) -> io::Result<[u8; SECRET_BYTES]> {
    let mut secret = [0; SECRET_BYTES];
    getrandom::fill(&mut secret).map_err(io::Error::other)?;
    let unfinished = folder.join(UNFINISHED);
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = file.open(&unfinished)?;
    file.write_all(&secret)?;
    file.sync_all()?;
    std::fs::rename(&unfinished, folder.join(FILE))?;
    Ok(secret)
}

#[cfg(test)]
mod tests;
