//! Maps and graphs that the machines of one process hold in common, and what one of them has found out for all.
//!
//! A graph follows from its map alone, so whoever holds the same map may hold the same memory; what a signature proves to
//! one it proves to all; and of two maps there is one difference. An agent is one machine and needs none of this. A
//! simulator of a thousand members would keep each map and each graph, verify each statement and apply each difference
//! a thousand times.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::graph::Graph;
use crate::identity::{PublicKey, Signature};
use crate::map::MapError;
use crate::signed::SignedMap;

/// Maps that are kept: those that members hold at one time while they change from one to the next.
const KEPT_MAX: usize = 8;
/// Differences of maps that are kept, each way.
const DIFFERENCES_MAX: usize = 8;
/// Signatures that are remembered; then all are forgotten.
const VERIFIED_MAX: usize = 1 << 17;

/// The newest maps with their graphs and differences, and signatures that hold; of machines that trust the same keys.
#[derive(Clone, Debug, Default)]
pub struct Interner(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    maps: VecDeque<(SignedMap, Arc<Graph>)>,
    /// From which map to which, and what travels.
    differences: VecDeque<([u8; 32], [u8; 32], Vec<u8>)>,
    /// What travelled, from which map, and what comes out.
    applied: VecDeque<([u8; 32], Vec<u8>, SignedMap)>,
    /// Whose each signature is, and what of.
    verified: BTreeMap<[u8; 64], (PublicKey, Vec<Vec<u8>>)>,
}

impl Interner {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Whoever panicked has left it whole: what is put in is complete.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same map and its graph, in the memory of whoever came first with it.
    #[must_use]
    pub fn intern(&self, map: SignedMap) -> (SignedMap, Arc<Graph>) {
        let kept = &mut self.kept().maps;
        if let Some((map, graph)) = kept.iter().find(|(held, _)| *held == map) {
            return (map.clone(), graph.clone());
        }
        let graph = Arc::new(Graph::of(map.map()));
        kept.push_front((map.clone(), graph.clone()));
        kept.truncate(KEPT_MAX);
        (map, graph)
    }

    /// What a difference makes of a map, as `apply` says; it is asked only if it has not come to a map before.
    ///
    /// # Errors
    /// Those of `apply`.
    pub fn applied(
        &self,
        base: &SignedMap,
        bytes: &[u8],
        apply: impl FnOnce() -> Result<SignedMap, MapError>,
    ) -> Result<SignedMap, MapError> {
        let applied = &mut self.kept().applied;
        let same = |(from, known, _): &&([u8; 32], Vec<u8>, SignedMap)| {
            from == base.sha256() && known == bytes
        };
        if let Some((_, _, map)) = applied.iter().find(same) {
            return Ok(map.clone());
        }
        let map = apply()?;
        applied.push_front((*base.sha256(), bytes.to_vec(), map.clone()));
        applied.truncate(DIFFERENCES_MAX);
        Ok(map)
    }

    /// What differs between two maps.
    #[must_use]
    pub fn difference(&self, older: &SignedMap, newer: &SignedMap) -> Vec<u8> {
        let differences = &mut self.kept().differences;
        let same = |(from, to, _): &&([u8; 32], [u8; 32], Vec<u8>)| {
            from == older.sha256() && to == newer.sha256()
        };
        if let Some((_, _, bytes)) = differences.iter().find(same) {
            return bytes.clone();
        }
        let bytes = newer.difference_from(older);
        differences.push_front((*older.sha256(), *newer.sha256(), bytes.clone()));
        differences.truncate(DIFFERENCES_MAX);
        bytes
    }

    /// Whether a signature holds, as `verify` says; it is asked only if nobody has asked it before.
    #[must_use]
    pub fn verified(
        &self,
        key: &PublicKey,
        parts: &[&[u8]],
        signature: &Signature,
        verify: impl FnOnce() -> bool,
    ) -> bool {
        let verified = &mut self.kept().verified;
        let known = verified.get(signature.as_bytes());
        if known.is_some_and(|(by, of)| by == key && of == parts) {
            return true;
        }
        let holds = verify();
        if holds {
            if verified.len() >= VERIFIED_MAX {
                verified.clear();
            }
            let parts = parts.iter().map(|part| part.to_vec()).collect();
            verified.insert(*signature.as_bytes(), (*key, parts));
        }
        holds
    }
}

#[cfg(test)]
mod tests;
