//! Maps and graphs that the machines of one process hold in common, and signatures that one of them has verified.
//!
//! A graph follows from its map alone, so whoever holds the same map may hold the same memory; and what a signature
//! proves to one it proves to all. An agent is one machine and needs none of this. A simulator of a thousand members
//! would keep each map and each graph, and verify each statement, a thousand times.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::graph::Graph;
use crate::identity::{PublicKey, Signature};
use crate::signed::SignedMap;

/// Maps that are kept: those that members hold at one time while they change from one to the next.
const KEPT_MAX: usize = 8;
/// Signatures that are remembered; then all are forgotten.
const VERIFIED_MAX: usize = 1 << 17;

/// The newest maps with their graphs, and signatures that hold.
#[derive(Clone, Debug, Default)]
pub struct Interner(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    maps: VecDeque<(SignedMap, Arc<Graph>)>,
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
