//! What a member is made of, and what it shares with the other members of its process.

use std::sync::Arc;

use thiserror::Error;

use crate::graph::Graph;
use crate::identity::{Epoch, Keypair, PublicKey, Uid};
use crate::intern::Interner;
use crate::map::MapError;
use crate::signed::SignedMap;

/// What a member is made of.
#[derive(Debug)]
pub struct MeshConfig {
    /// UID of the cluster.
    pub cluster: Uid,
    /// UID of this process's pod.
    pub uid: Uid,
    /// Key of this process.
    pub keypair: Keypair,
    /// Keys that sign maps.
    pub map_keys: Vec<PublicKey>,
    /// Seed of all randomness.
    pub seed: u64,
    /// What it shares with the other machines of this process; an agent has no others.
    pub interner: Option<Interner>,
}

impl MeshConfig {
    pub(super) fn with_graph(&self, map: SignedMap) -> (SignedMap, Arc<Graph>) {
        if let Some(interner) = &self.interner {
            return interner.intern(map);
        }
        let graph = Graph::of(map.map());
        (map, Arc::new(graph))
    }

    pub(super) fn apply(&self, base: &SignedMap, bytes: &[u8]) -> Result<SignedMap, MapError> {
        let apply = || SignedMap::apply(base, bytes, &self.map_keys);
        match &self.interner {
            Some(interner) => interner.applied(base, bytes, apply),
            None => apply(),
        }
    }

    pub(super) fn difference(&self, older: &SignedMap, newer: &SignedMap) -> Vec<u8> {
        match &self.interner {
            Some(interner) => interner.difference(older, newer),
            None => newer.difference_from(older),
        }
    }
}

/// Why a member cannot start.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum MeshError {
    /// The first map does not list this process.
    #[error("the map of epoch {0} does not list this process")]
    NotListed(Epoch),
}
