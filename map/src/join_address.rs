//! Where the operator answers joins, as it tells the mesh: signed with the key that signs maps, so that
//! members can pass it on, and numbered, so that the newest wins.
//!
//! It is how a member that has to ask the operator finds one that took over while the member's trust
//! ConfigMap was out of date. The operator it finds there has to prove itself as everywhere.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::identity::{Keypair, PublicKey, Signature, Uid};

const DOMAIN: &str = "slotmesh join address v1";

/// An address with the operator's signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinAddress {
    /// Larger than that of every operator before (Unix microseconds are, where clocks agree).
    number: u64,
    address: SocketAddr,
    signature: Signature,
}

impl JoinAddress {
    /// Signs an address.
    #[must_use]
    pub fn sign(cluster: Uid, number: u64, address: SocketAddr, key: &Keypair) -> Self {
        let parts = parts(number, address);
        Self {
            number,
            address,
            signature: key.sign(DOMAIN, &[cluster.as_bytes(), &parts.0, parts.1.as_bytes()]),
        }
    }

    /// Whether one of the keys signed it for this cluster.
    #[must_use]
    pub fn is_signed(&self, cluster: Uid, keys: &[PublicKey]) -> bool {
        let (number, address) = parts(self.number, self.address);
        let parts: [&[u8]; 3] = [cluster.as_bytes(), &number, address.as_bytes()];
        keys.iter()
            .any(|key| key.verify(DOMAIN, &parts, &self.signature))
    }

    /// Whether it says something newer.
    #[must_use]
    pub fn is_newer_than(&self, other: Option<&Self>) -> bool {
        other.is_none_or(|other| self.number > other.number)
    }

    /// Its number.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

fn parts(number: u64, address: SocketAddr) -> ([u8; 8], String) {
    (number.to_be_bytes(), address.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{keypair, uid};

    #[test]
    fn only_the_operators_word_counts_and_only_for_its_cluster() {
        let (key, other) = (keypair(1), keypair(2));
        let at = SocketAddr::from(([10, 0, 0, 7], 7401));
        let told = JoinAddress::sign(uid(9), 5, at, &key);
        assert!(told.is_signed(uid(9), &[other.public(), key.public()]));
        assert!(!told.is_signed(uid(9), &[other.public()]));
        assert!(!told.is_signed(uid(8), &[key.public()]));
        let moved = JoinAddress {
            address: SocketAddr::from(([10, 0, 0, 8], 7401)),
            ..told
        };
        let renumbered = JoinAddress { number: 6, ..told };
        for forged in [moved, renumbered] {
            assert!(!forged.is_signed(uid(9), &[key.public()]));
        }
    }

    #[test]
    fn the_newest_wins() {
        let at = SocketAddr::from(([10, 0, 0, 7], 7401));
        let number = |number| JoinAddress::sign(uid(9), number, at, &keypair(1));
        assert!(number(1).is_newer_than(None));
        assert!(number(2).is_newer_than(Some(&number(1))));
        assert!(!number(2).is_newer_than(Some(&number(2))));
        assert!(!number(1).is_newer_than(Some(&number(2))));
    }
}
