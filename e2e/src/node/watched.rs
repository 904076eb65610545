//! What a watch of pods says, as changes. Events that were missed while the watch was broken, above all
//! of pods that are gone, are made up for by the list that it begins anew with.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::runtime::watcher::Event;

/// The pods of a node, as far as its watch has told.
#[derive(Default)]
pub(super) struct Watched {
    known: ByUid,
    // Since a list began, until it has ended.
    listed: ByUid,
}

type ByUid = BTreeMap<String, Arc<Pod>>;

/// What became of one pod.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Change {
    There(Arc<Pod>),
    Gone(Arc<Pod>),
}

impl Watched {
    /// What an event changes, in the order in which it is to be done.
    pub(super) fn changes(&mut self, event: Event<Pod>) -> Vec<Change> {
        match event {
            Event::Apply(pod) => {
                let Some(uid) = pod.uid() else {
                    return Vec::new();
                };
                let pod = Arc::new(pod);
                self.known.insert(uid, pod.clone());
                vec![Change::There(pod)]
            }
            Event::Delete(pod) => {
                self.known.remove(&pod.uid().unwrap_or_default());
                vec![Change::Gone(Arc::new(pod))]
            }
            // A list that broke off begins anew.
            Event::Init => {
                self.listed.clear();
                Vec::new()
            }
            Event::InitApply(pod) => {
                if let Some(uid) = pod.uid() {
                    self.listed.insert(uid, Arc::new(pod));
                }
                Vec::new()
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut self.listed);
                let mut before = std::mem::replace(&mut self.known, listed.clone());
                before.retain(|uid, _| !listed.contains_key(uid));
                // First what is gone: its name may be another's by now.
                let gone = before.into_values().map(Change::Gone);
                gone.chain(listed.into_values().map(Change::There))
                    .collect()
            }
        }
    }
}

#[cfg(test)]
mod tests;
