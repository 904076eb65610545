//! A map with the operator's signature: whole on the wire, or as the difference to an older one.
//!
//! The signature covers the canonical form of the whole map, so a difference needs no trust: it is
//! applied, and what comes out either verifies or is refused.

mod difference;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::identity::{Keypair, PublicKey, Signature, Uid};
use crate::limits;
use crate::map::{Map, MapError};

use difference::Difference;

const DOMAIN: &str = "slotmesh map v1";
/// zstd's fastest usual level: a map of 1000 members compresses in a few milliseconds.
const COMPRESSION_LEVEL: i32 = 3;

/// A map that the operator signed. There is no other way to make one than to sign or to verify.
#[derive(Clone, Debug)]
pub struct SignedMap {
    map: Arc<Map>,
    sha256: [u8; 32],
    signature: Signature,
}

/// Two signed maps are equal when map and signature are.
impl PartialEq for SignedMap {
    fn eq(&self, other: &Self) -> bool {
        self.sha256 == other.sha256 && self.signature == other.signature
    }
}

#[derive(Serialize, Deserialize)]
struct Whole {
    signature: Signature,
    map: Vec<u8>,
}

impl SignedMap {
    /// Signs a map.
    ///
    /// # Errors
    /// When the map is not sound, or too large.
    pub fn sign(map: Map, key: &Keypair) -> Result<Self, MapError> {
        map.validate()?;
        let sha256 = bounded_sha256(&map)?;
        let signature = key.sign(DOMAIN, &[map.cluster.as_bytes(), &sha256]);
        Ok(Self {
            map: Arc::new(map),
            sha256,
            signature,
        })
    }

    /// The map.
    #[must_use]
    pub fn map(&self) -> &Arc<Map> {
        &self.map
    }

    /// SHA-256 of the canonical map.
    #[must_use]
    pub fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }

    /// The whole map for the wire.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let whole = Whole {
            signature: self.signature,
            map: self.map.canonical(),
        };
        compress(&postcard::to_stdvec(&whole).unwrap_or_default())
    }

    /// Reads a whole map, checks it and its signature.
    ///
    /// # Errors
    /// When the bytes are no sound map of this cluster, signed by one of the keys.
    pub fn decode(bytes: &[u8], cluster: Uid, keys: &[PublicKey]) -> Result<Self, MapError> {
        let whole: Whole = unpack(bytes)?;
        verify(Map::decode(&whole.map)?, whole.signature, cluster, keys)
    }

    /// What differs from `older`, for the wire.
    #[must_use]
    pub fn difference_from(&self, older: &SignedMap) -> Vec<u8> {
        let (base, sha256) = (&older.map, older.sha256);
        let difference = Difference::between(base, sha256, &self.map, self.signature);
        compress(&postcard::to_stdvec(&difference).unwrap_or_default())
    }

    /// Applies a difference to `base` and checks what comes out.
    ///
    /// # Errors
    /// [`MapError::WrongBase`] when the difference starts elsewhere (then the whole map is asked
    /// for), others as [`SignedMap::decode`].
    pub fn apply(base: &SignedMap, bytes: &[u8], keys: &[PublicKey]) -> Result<Self, MapError> {
        let difference: Difference = unpack(bytes)?;
        if difference.base_sha256 != base.sha256 {
            return Err(MapError::WrongBase);
        }
        let signature = difference.signature;
        let map = difference.apply_to(&base.map)?;
        verify(map, signature, base.map.cluster, keys)
    }
}

/// Checks the signature before anything that costs more than reading the map once: whoever can
/// connect can send a map, and only the operator's is worth work.
fn verify(
    map: Map,
    signature: Signature,
    cluster: Uid,
    keys: &[PublicKey],
) -> Result<SignedMap, MapError> {
    if map.cluster != cluster {
        return Err(MapError::WrongCluster);
    }
    let sha256 = bounded_sha256(&map)?;
    let parts: [&[u8]; 2] = [map.cluster.as_bytes(), &sha256];
    if !keys
        .iter()
        .any(|key| key.verify(DOMAIN, &parts, &signature))
    {
        return Err(MapError::BadSignature);
    }
    map.validate()?;
    Ok(SignedMap {
        map: Arc::new(map),
        sha256,
        signature,
    })
}

/// SHA-256 of the canonical form, if that is within its limit.
fn bounded_sha256(map: &Map) -> Result<[u8; 32], MapError> {
    let canonical = map.canonical();
    if canonical.len() > limits::MAP_BYTES_MAX {
        return Err(MapError::Limit {
            what: "a map",
            limit: limits::MAP_BYTES_MAX,
        });
    }
    Ok(Sha256::digest(&canonical).into())
}

fn compress(bytes: &[u8]) -> Vec<u8> {
    // zstd refuses nothing that fits into memory.
    zstd::bulk::compress(bytes, COMPRESSION_LEVEL).unwrap_or_default()
}

/// Decompresses into a buffer of bounded size and decodes; nothing may follow.
fn unpack<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Result<T, MapError> {
    if bytes.len() > limits::FRAME_BYTES_MAX {
        return Err(MapError::Limit {
            what: "a frame",
            limit: limits::FRAME_BYTES_MAX,
        });
    }
    let plain = zstd::bulk::decompress(bytes, limits::FRAME_BYTES_MAX)
        .map_err(|_| MapError::Malformed("the bytes do not decompress within the limit"))?;
    match postcard::take_from_bytes(&plain) {
        Ok((value, [])) => Ok(value),
        Ok(_) => Err(MapError::Malformed("bytes follow the map")),
        Err(_) => Err(MapError::Malformed("the bytes do not decode")),
    }
}

#[cfg(test)]
mod tests;
