//! The seal of a record: an HMAC-SHA256 over the canonical map with a key that only the operator
//! has, so that an edited record is noticed before anything is built on it.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::map::Map;

const DOMAIN: &[u8] = b"slotmesh seal v1\0";

/// Key of seals; it lies in the operator's namespace only.
#[derive(Clone)]
pub struct SealKey([u8; 32]);

impl SealKey {
    /// From 32 secret random bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The secret bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey(..)")
    }
}

/// The seal of a map.
#[must_use]
pub fn seal(map: &Map, key: &SealKey) -> [u8; 32] {
    mac(map, key).finalize().into_bytes().into()
}

/// Whether `found` is the seal of this map, compared in constant time.
#[must_use]
pub fn seal_matches(map: &Map, key: &SealKey, found: &[u8]) -> bool {
    mac(map, key).verify_slice(found).is_ok()
}

fn mac(map: &Map, key: &SealKey) -> Hmac<Sha256> {
    // A key of one block or less is used as it is, padded with zeros (RFC 2104), hence from a block.
    let mut block = hmac::digest::Key::<Hmac<Sha256>>::default();
    for (target, byte) in block.iter_mut().zip(key.0) {
        *target = byte;
    }
    let mut mac = <Hmac<Sha256> as KeyInit>::new(&block);
    mac.update(DOMAIN);
    mac.update(&map.canonical());
    mac
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::map;

    #[test]
    fn a_seal_holds_for_its_map_and_key_only() {
        let key = SealKey::from_bytes([3; 32]);
        let sealed = seal(&map(3), &key);
        assert!(seal_matches(&map(3), &key, &sealed));
        assert!(!seal_matches(&map(4), &key, &sealed));
        assert!(!seal_matches(
            &map(3),
            &SealKey::from_bytes([4; 32]),
            &sealed
        ));
        assert!(!seal_matches(&map(3), &key, &[]));
    }

    #[test]
    fn golden_seal() {
        let sealed = seal(&map(3), &SealKey::from_bytes([3; 32]));
        let hex: String = sealed.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            "5136952407c6acdba981a6c24efd156fc3e314c6a3c6bef829b4e09a00820051"
        );
    }
}
