//! What an agent and the operator say to each other when the agent joins: one stream, one request,
//! then responses until the first map that lists the agent.
//!
//! A member that asks with the key that the map lists for it renews its certificate: it gets a new one
//! and nothing else, because nothing else changes.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::identity::Uid;
use crate::limits;

/// An agent asks to be admitted.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinRequest {
    /// UID of the cluster that it belongs to.
    pub cluster: Uid,
    /// UID of its pod.
    pub pod_uid: Uid,
    /// Projected ServiceAccount token, whose audience is the cluster's UID.
    pub token: String,
    /// Certificate signing request (PKCS #10, DER); its Ed25519 key is the member's key.
    pub csr_der: Vec<u8>,
}

impl std::fmt::Debug for JoinRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JoinRequest")
            .field("cluster", &self.cluster)
            .field("pod_uid", &self.pod_uid)
            .finish_non_exhaustive()
    }
}

/// What the operator answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JoinResponse {
    /// The agent is who it says; its certificate, leaf first (DER). The map follows.
    Certificate {
        /// The chain.
        chain_der: Vec<Vec<u8>>,
    },
    /// The first map that lists the agent's key ([`crate::signed::SignedMap::encode`]).
    Map(Vec<u8>),
    /// Not now.
    Retry {
        /// When to ask again.
        after_ms: u32,
        /// Why.
        reason: String,
    },
    /// No.
    Refused {
        /// Stable category.
        category: String,
        /// Why, and what to do.
        message: String,
    },
    /// This operator leads no longer (or not yet): ask the one that does, at once.
    NotLeader {
        /// Its join endpoint, as far as it is known.
        leader: Option<SocketAddr>,
    },
}

/// Bytes that are no join message, or one beyond its limits.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("not a join message, or one beyond its limits")]
pub struct JoinDecodeError;

impl JoinRequest {
    /// The bytes that travel.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).unwrap_or_default()
    }

    /// Reads a request.
    ///
    /// # Errors
    /// When it is none, or exceeds a limit.
    pub fn decode(bytes: &[u8]) -> Result<Self, JoinDecodeError> {
        let request: Self = exactly(bytes, limits::JOIN_REQUEST_BYTES_MAX)?;
        let within_limits = request.token.len() <= limits::TOKEN_BYTES_MAX
            && request.csr_der.len() <= limits::CERTIFICATE_BYTES_MAX;
        if within_limits {
            Ok(request)
        } else {
            Err(JoinDecodeError)
        }
    }
}

impl JoinResponse {
    /// The bytes that travel.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).unwrap_or_default()
    }

    /// Reads a response.
    ///
    /// # Errors
    /// When it is none, or exceeds a limit.
    pub fn decode(bytes: &[u8]) -> Result<Self, JoinDecodeError> {
        // Only a map is long. The rest is read within its own limit, or a long list of empty
        // certificates would take 48 times its length in memory (measured: 50 MB).
        let limit = match bytes.first() {
            Some(&KIND_MAP) => limits::FRAME_BYTES_MAX,
            _ => limits::JOIN_RESPONSE_BYTES_MAX,
        };
        let response: Self = exactly(bytes, limit)?;
        let within_limits = match &response {
            Self::Certificate { chain_der } => {
                (1..=limits::CHAIN_MAX).contains(&chain_der.len())
                    && chain_der
                        .iter()
                        .all(|der| der.len() <= limits::CERTIFICATE_BYTES_MAX)
            }
            Self::Map(_) | Self::NotLeader { .. } => true,
            Self::Retry { reason, .. } => reason.len() <= limits::REASON_BYTES_MAX,
            Self::Refused { category, message } => {
                category.len() <= limits::REASON_BYTES_MAX
                    && message.len() <= limits::REASON_BYTES_MAX
            }
        };
        if within_limits {
            Ok(response)
        } else {
            Err(JoinDecodeError)
        }
    }
}

/// First byte of [`JoinResponse::Map`]: its place among the variants.
const KIND_MAP: u8 = 1;

fn exactly<T: for<'de> Deserialize<'de>>(bytes: &[u8], limit: usize) -> Result<T, JoinDecodeError> {
    if bytes.len() > limit {
        return Err(JoinDecodeError);
    }
    match postcard::take_from_bytes(bytes) {
        Ok((message, [])) => Ok(message),
        _ => Err(JoinDecodeError),
    }
}

#[cfg(test)]
mod tests;
