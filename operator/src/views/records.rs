//! Which records there are, and in which version: only that is kept of them, not what they say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

use futures::{Stream, StreamExt};
use kube::api::PartialObjectMeta;
use kube::runtime::watcher;
use slotmesh_api::GossipCell;
use slotmesh_api::names::LABEL_CLUSTER;

use crate::queue::{Name, Queue};

type Object = PartialObjectMeta<GossipCell>;
type Event = watcher::Event<Object>;

/// Versions (`metadata.resourceVersion`) of records, by cluster and name of the cell.
#[derive(Clone, Debug, Default)]
pub struct Records(Arc<RwLock<BTreeMap<Name, BTreeMap<String, String>>>>);

impl Records {
    /// Those of one cluster.
    #[must_use]
    pub fn of(&self, cluster: &Name) -> BTreeMap<String, String> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.get(cluster).cloned().unwrap_or_default()
    }

    /// Takes in what happened to one namespace's records, or to all; names the clusters of what changed.
    pub(super) async fn follow(
        self,
        stream: impl Stream<Item = Result<Event, watcher::Error>>,
        queue: Queue,
    ) {
        let mut stream = std::pin::pin!(stream);
        let mut listed = Vec::new();
        let mut known: BTreeSet<(Name, String)> = BTreeSet::new();
        while let Some(event) = stream.next().await {
            match event {
                Ok(Event::Apply(object)) => {
                    if let Some((cluster, cell, version)) = facts(&object) {
                        known.insert((cluster.clone(), cell.clone()));
                        self.put(&cluster, cell, version);
                        queue.push(cluster);
                    }
                }
                Ok(Event::Delete(object)) => {
                    if let Some((cluster, cell, _)) = facts(&object) {
                        self.remove(&cluster, &cell);
                        queue.push(cluster.clone());
                        known.remove(&(cluster, cell));
                    }
                }
                Ok(Event::Init) => listed.clear(),
                Ok(Event::InitApply(object)) => listed.extend(facts(&object)),
                Ok(Event::InitDone) => {
                    // What vanished while the watch was down shows in no event.
                    for (cluster, cell) in std::mem::take(&mut known) {
                        self.remove(&cluster, &cell);
                        queue.push(cluster);
                    }
                    for (cluster, cell, version) in listed.drain(..) {
                        known.insert((cluster.clone(), cell.clone()));
                        self.put(&cluster, cell, version);
                        queue.push(cluster);
                    }
                }
                Err(error) => tracing::warn!(%error, "the watch of records failed; trying on"),
            }
        }
    }

    fn put(&self, cluster: &Name, cell: String, version: String) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        all.entry(cluster.clone())
            .or_default()
            .insert(cell, version);
    }

    fn remove(&self, cluster: &Name, cell: &str) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(cells) = all.get_mut(cluster) {
            cells.remove(cell);
            if cells.is_empty() {
                all.remove(cluster);
            }
        }
    }
}

fn facts(object: &Object) -> Option<(Name, String, String)> {
    let metadata = &object.metadata;
    let cluster = metadata.labels.as_ref()?.get(LABEL_CLUSTER)?.clone();
    let cluster = (metadata.namespace.clone()?, cluster);
    Some((
        cluster,
        metadata.name.clone()?,
        metadata.resource_version.clone()?,
    ))
}

#[cfg(test)]
mod tests;
