//! Whom to trust and where to join: the trust ConfigMap and the token, read afresh at each attempt,
//! because both change while the agent runs.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use slotmesh_mesh::identity::PublicKey;
use slotmesh_mesh::limits;
use thiserror::Error;

/// Bytes of one file; a ConfigMap holds at most 1 MiB.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Time between two looks whether the keys of the cluster were replaced: less than the grace of a new member's edges, so that
/// whoever read its folder just before it changed joins before those that read it just after find it failed.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
const _: () = assert!(LOOK_INTERVAL.as_millis() < limits::EDGE_GRACE.as_millis());

/// How the folder and the token are set.
const TRUST_FLAG: &str = "--trust-dir (or SLOTMESH_TRUST_DIR)";
const TOKEN_FLAG: &str = "--token-file (or SLOTMESH_TOKEN_FILE)";

/// Whom to believe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Anchors {
    /// CA certificates of the cluster.
    pub(crate) roots: Vec<CertificateDer<'static>>,
    /// Keys that sign maps.
    pub(crate) map_keys: Vec<PublicKey>,
}

/// What a join needs.
#[derive(Debug)]
pub(crate) struct Trust {
    pub(crate) anchors: Anchors,
    pub(crate) operators: Vec<SocketAddr>,
    pub(crate) token: String,
}

/// Why there is no join yet.
#[derive(Debug, Error)]
pub(crate) enum TrustError {
    #[error("cannot read {path}: {source}; does the pod mount what {flag} names?")]
    Read {
        path: PathBuf,
        flag: &'static str,
        source: std::io::Error,
    },
    #[error("{path} is larger than {FILE_BYTES_MAX} bytes; does {flag} name the right place?")]
    TooLarge { path: PathBuf, flag: &'static str },
    #[error(
        "{path} holds no {what}; is it edited, from another version, or does {flag} name the wrong place?"
    )]
    Content {
        path: PathBuf,
        what: &'static str,
        flag: &'static str,
    },
}

impl Anchors {
    pub(crate) fn read(folder: &Path) -> Result<Self, TrustError> {
        let ca = folder.join("ca.crt");
        let roots: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(read(&ca, TRUST_FLAG)?.as_bytes())
                .filter_map(Result::ok)
                .collect();
        if roots.is_empty() {
            return Err(TrustError::Content {
                path: ca,
                what: "CA certificate (PEM)",
                flag: TRUST_FLAG,
            });
        }
        let map_keys = map_keys(folder)?;
        Ok(Self { roots, map_keys })
    }

    /// Returns when the folder names other keys than these.
    pub(crate) async fn replaced(&self, folder: &Path) {
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            if Self::read(folder).is_ok_and(|now| now != *self) {
                return;
            }
        }
    }
}

impl Trust {
    pub(crate) fn read(folder: &Path, token_file: &Path) -> Result<Self, TrustError> {
        let anchors = Anchors::read(folder)?;
        let path = folder.join("join-address");
        let operators: Vec<SocketAddr> = read(&path, TRUST_FLAG)?
            .lines()
            .filter_map(|line| line.trim().parse().ok())
            .collect();
        if operators.is_empty() {
            return Err(TrustError::Content {
                path,
                what: "address (ip:port)",
                flag: TRUST_FLAG,
            });
        }
        let token = read(token_file, TOKEN_FLAG)?.trim().to_owned();
        if token.is_empty() || token.len() > limits::TOKEN_BYTES_MAX {
            return Err(TrustError::Content {
                path: token_file.to_owned(),
                what: "token",
                flag: TOKEN_FLAG,
            });
        }
        Ok(Self {
            anchors,
            operators,
            token,
        })
    }
}

/// Keys that sign maps.
pub(crate) fn map_keys(folder: &Path) -> Result<Vec<PublicKey>, TrustError> {
    let path = folder.join("map-keys");
    let map_keys: Vec<PublicKey> = read(&path, TRUST_FLAG)?
        .lines()
        .filter_map(map_key)
        .collect();
    if map_keys.is_empty() {
        return Err(TrustError::Content {
            path,
            what: "Ed25519 key (base64)",
            flag: TRUST_FLAG,
        });
    }
    Ok(map_keys)
}

fn read(path: &Path, flag: &'static str) -> Result<String, TrustError> {
    let failed = |source| TrustError::Read {
        path: path.to_owned(),
        flag,
        source,
    };
    if std::fs::metadata(path).map_err(failed)?.len() > FILE_BYTES_MAX {
        return Err(TrustError::TooLarge {
            path: path.to_owned(),
            flag,
        });
    }
    std::fs::read_to_string(path).map_err(failed)
}

fn map_key(line: &str) -> Option<PublicKey> {
    let bytes = STANDARD.decode(line.trim()).ok()?;
    Some(PublicKey::from_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests;
