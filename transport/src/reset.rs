//! How a process that restarts in its pod proves that its predecessor is gone: it answers packets of
//! the predecessor's connections with a stateless reset (RFC 9000, section 10.3), which the peer
//! believes because both processes derive the same keys from a secret bound to the pod.
//!
//! The connection-ID key has to outlive the process as well: quinn answers only IDs that look like its
//! own. (QUIC gives the first ID of a dialing side no reset token; quinn's accepting side leaves that ID
//! at once, so that both sides can be told.)

use std::fmt;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use quinn::EndpointConfig;
use quinn::crypto::{CryptoError, HmacKey};
use quinn_proto::HashedConnectionIdGenerator;
use sha2::Sha256;
use slotmesh_mesh::identity::Uid;

use crate::settings;

const DOMAIN_RESET: &[u8] = b"slotmesh stateless reset v1\0";
const DOMAIN_CONNECTION_IDS: &[u8] = b"slotmesh connection ids v1\0";

/// Keys that all processes of one pod share.
#[derive(Clone)]
pub struct ResetKeys {
    reset: [u8; 32],
    connection_ids: u64,
}

impl fmt::Debug for ResetKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResetKeys(..)")
    }
}

impl ResetKeys {
    /// Derives them. Whoever knows the secret can end the pod's connections: it has to be random, and
    /// to be known to this pod only.
    #[must_use]
    pub fn of_pod(secret: &[u8; 32], pod: Uid) -> Self {
        let derive = |domain: &[u8]| -> [u8; 32] {
            let mut mac = mac(secret);
            mac.update(domain);
            mac.update(pod.as_bytes());
            mac.finalize().into_bytes().into()
        };
        let [a, b, c, d, e, f, g, h, ..] = derive(DOMAIN_CONNECTION_IDS);
        Self {
            reset: derive(DOMAIN_RESET),
            connection_ids: u64::from_be_bytes([a, b, c, d, e, f, g, h]),
        }
    }

    pub(crate) fn endpoint_config(&self) -> EndpointConfig {
        let mut config = EndpointConfig::new(Arc::new(Key(self.reset)));
        let key = self.connection_ids;
        // Not zero-length: two agents that dial each other would deadlock.
        config
            .cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(key)))
            .min_reset_interval(settings::RESET_INTERVAL_MIN);
        config
    }
}

struct Key([u8; 32]);

impl HmacKey for Key {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        let mut mac = mac(&self.0);
        mac.update(data);
        let signature = mac.finalize().into_bytes();
        for (target, byte) in signature_out.iter_mut().zip(signature) {
            *target = byte;
        }
    }

    fn signature_len(&self) -> usize {
        32
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let mut mac = mac(&self.0);
        mac.update(data);
        mac.verify_slice(signature).map_err(|_| CryptoError)
    }
}

fn mac(key: &[u8; 32]) -> Hmac<Sha256> {
    // A key of one block or less is used as it is, padded with zeros (RFC 2104), hence from a block.
    let mut block = hmac::digest::Key::<Hmac<Sha256>>::default();
    for (target, byte) in block.iter_mut().zip(key) {
        *target = *byte;
    }
    <Hmac<Sha256> as KeyInit>::new(&block)
}

#[cfg(test)]
mod tests;
