//! Which agent serves a node: as the node-local Service chooses its endpoint, so that an application has
//! an answer while a rollout replaces agents.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::{WatchStreamExt, reflector, watcher};
use kube::{Api, ResourceExt};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::stage::{Agent, NAMESPACE, Stage};

/// The agents of a cluster by node, kept current by a watch that ends with the last clone.
#[derive(Clone)]
pub(super) struct NodeAgents {
    current: watch::Receiver<BTreeMap<String, Agent>>,
    _watch: Arc<Watch>,
}

struct Watch(AbortHandle);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl NodeAgents {
    pub(super) fn watch(stage: &Stage, cluster: &str) -> Self {
        let pods: Api<Pod> = Api::namespaced(stage.plane.client(), NAMESPACE);
        let config = watcher::Config::default().labels(&format!("slotmesh.dev/cluster={cluster}"));
        let (sender, current) = watch::channel(BTreeMap::new());
        let task = tokio::spawn(follow(pods, config, sender));
        Self {
            current,
            _watch: Arc::new(Watch(task.abort_handle())),
        }
    }

    /// Waits until there is any.
    pub(super) async fn known(&mut self) {
        let _ = self.current.wait_for(|agents| !agents.is_empty()).await;
    }

    /// Who serves this node.
    pub(super) fn of(&self, node: &str) -> Result<Agent> {
        let agents = self.current.borrow();
        let agent = agents.get(node).cloned();
        agent.with_context(|| format!("no Ready agent on {node}"))
    }
}

async fn follow(
    pods: Api<Pod>,
    config: watcher::Config,
    sender: watch::Sender<BTreeMap<String, Agent>>,
) {
    let (store, writer) = reflector::store();
    let events = watcher(pods, config).default_backoff().reflect(writer);
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        match event {
            // A list under way is in the store when it is whole.
            Ok(watcher::Event::Init | watcher::Event::InitApply(_)) => {}
            Ok(_) => drop(sender.send_replace(serving(&store.state()))),
            Err(error) => tracing::debug!(%error, "watch of pods"),
        }
    }
}

/// Of each node's Ready agents the newest that is not being deleted; else one that is, while it is Ready
/// (KEP-1669).
fn serving(pods: &[Arc<Pod>]) -> BTreeMap<String, Agent> {
    let mut ready: Vec<&Arc<Pod>> = pods.iter().filter(|pod| is_ready(pod)).collect();
    ready.sort_by_key(|pod| (pod.metadata.deletion_timestamp.is_none(), started(pod)));
    let agents = ready.into_iter().filter_map(|pod| Agent::of(pod));
    agents.map(|agent| (agent.node.clone(), agent)).collect()
}

fn started(pod: &Pod) -> Option<jiff::Timestamp> {
    Some(pod.creation_timestamp()?.0)
}

fn is_ready(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|conditions| {
        let holds = |kind: &str| {
            let mut all = conditions.iter();
            all.any(|condition| condition.type_ == kind && condition.status == "True")
        };
        holds("Ready")
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn pod(name: &str, created: &str, ready: bool, deleted: bool) -> Arc<Pod> {
        let mut pod = json!({
            "metadata": {"name": name, "uid": name, "creationTimestamp": created, "deletionTimestamp": null},
            "spec": {"nodeName": "n", "containers": []},
            "status": {
                "podIP": "127.20.1.2",
                "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}],
            },
        });
        if deleted {
            let metadata = pod.pointer_mut("/metadata").unwrap();
            *metadata.get_mut("deletionTimestamp").unwrap() = json!(created);
        }
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    fn asked(pods: &[Arc<Pod>]) -> Option<String> {
        serving(pods).remove("n").map(|agent| agent.name)
    }

    const EARLY: &str = "2026-01-01T00:00:00Z";
    const LATE: &str = "2026-01-01T00:00:09Z";

    #[test]
    fn the_old_agent_is_asked_until_the_new_one_is_ready() {
        let old = pod("old", EARLY, true, false);
        let starting = pod("new", LATE, false, false);
        assert_eq!(asked(&[old.clone(), starting]).unwrap(), "old");
        let new = pod("new", LATE, true, false);
        assert_eq!(asked(&[new, old]).unwrap(), "new");
    }

    #[test]
    fn one_that_leaves_is_asked_while_there_is_no_other() {
        let leaving = pod("old", LATE, true, true);
        assert_eq!(asked(std::slice::from_ref(&leaving)).unwrap(), "old");
        let other = pod("new", EARLY, true, false);
        assert_eq!(asked(&[leaving, other]).unwrap(), "new");
        assert!(asked(&[pod("old", EARLY, false, false)]).is_none());
    }
}
