//! A cluster's Service, which has no endpoints here (they refuse loopback addresses): whichever agent
//! is Ready and is not being deleted, on one node or anywhere.

use std::collections::BTreeMap;
use std::pin::pin;

use futures::TryStreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use slotmesh_api::names;
use slotmesh_e2e::lookups::LookUps;
use slotmesh_e2e::stage::{Agent, NAMESPACE, Stage};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Look-ups a second at each place.
const PER_SECOND: u32 = 50;

/// Endpoints as they are at any moment. Dropping it ends the watch.
pub struct Service {
    task: JoinHandle<()>,
    places: Vec<watch::Receiver<Option<Agent>>>,
}

impl Drop for Service {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Service {
    /// Follows a cluster's agents at these places: on a node, or (None) anywhere.
    pub fn follow(stage: &Stage, cluster: &str, places: Vec<Option<String>>) -> Self {
        let pods: Api<Pod> = Api::namespaced(stage.plane.client(), NAMESPACE);
        let config =
            watcher::Config::default().labels(&format!("{}={cluster}", names::LABEL_CLUSTER));
        let (senders, receivers) = places.iter().map(|_| watch::channel(None)).unzip();
        let task = tokio::spawn(run(pods, config, places, senders));
        Self {
            task,
            places: receivers,
        }
    }

    /// Starts to ask at each place, once there is somebody to ask.
    pub async fn look_up(&self) -> anyhow::Result<LookUps> {
        for place in &self.places {
            place.clone().wait_for(Option::is_some).await?;
        }
        Ok(LookUps::start_on(PER_SECOND, self.places.clone()))
    }
}

async fn run(
    pods: Api<Pod>,
    config: watcher::Config,
    places: Vec<Option<String>>,
    senders: Vec<watch::Sender<Option<Agent>>>,
) {
    let mut ready: BTreeMap<String, Agent> = BTreeMap::new();
    let mut changes = pin!(watcher(pods, config).default_backoff());
    while let Ok(Some(change)) = changes.try_next().await {
        let (pod, there) = match change {
            watcher::Event::Apply(pod) | watcher::Event::InitApply(pod) => (pod, true),
            watcher::Event::Delete(pod) => (pod, false),
            watcher::Event::Init | watcher::Event::InitDone => continue,
        };
        let name = pod.name_any();
        match Agent::of(&pod).filter(|_| there && serves(&pod)) {
            Some(agent) => drop(ready.insert(name, agent)),
            None => drop(ready.remove(&name)),
        }
        for (place, sender) in places.iter().zip(&senders) {
            let here = |agent: &&Agent| place.as_ref().is_none_or(|node| agent.node == *node);
            let next = ready.values().find(here).cloned();
            sender.send_if_modified(|current| {
                // A client stays with whom it has.
                let stays = current
                    .as_ref()
                    .is_some_and(|old| ready.contains_key(&old.name));
                if !stays {
                    *current = next;
                }
                !stays
            });
        }
    }
}

fn serves(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    let is_ready = conditions.is_some_and(|all| {
        all.iter()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True")
    });
    is_ready && pod.metadata.deletion_timestamp.is_none()
}
