//! A set of clusters that somebody has to look at. Naming one twice costs nothing, so it never holds
//! more than there are clusters.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// Namespace and name of a cluster.
pub type Name = (String, String);

/// Clusters to be looked at; clones share one set. It has one reader.
#[derive(Clone, Debug, Default)]
pub struct Queue {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    names: Mutex<BTreeSet<Name>>,
    filled: Notify,
}

impl Queue {
    /// Adds a cluster.
    pub fn push(&self, name: Name) {
        self.lock().insert(name);
        self.shared.filled.notify_one();
    }

    /// The next cluster; waits while there is none. Cancel-safe.
    pub async fn next(&self) -> Name {
        loop {
            if let Some(name) = self.lock().pop_first() {
                return name;
            }
            self.shared.filled.notified().await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeSet<Name>> {
        self.shared
            .names
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic
    )]

    use super::Queue;

    fn name(name: &str) -> super::Name {
        ("team".to_owned(), name.to_owned())
    }

    #[tokio::test]
    async fn a_cluster_named_twice_comes_out_once() {
        let queue = Queue::default();
        queue.push(name("a"));
        queue.push(name("b"));
        queue.push(name("a"));
        assert_eq!(queue.next().await, name("a"));
        assert_eq!(queue.next().await, name("b"));
        let waiting = tokio::spawn({
            let queue = queue.clone();
            async move { queue.next().await }
        });
        queue.push(name("c"));
        assert_eq!(waiting.await.unwrap(), name("c"));
    }
}
