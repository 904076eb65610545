//! What is told of a pod, and the end of its object.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use k8s_openapi::api::core::v1::{Container, Pod, PodStatus};
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::Host;

/// Pause before a status is written again that was not taken, or that somebody else has changed.
const AGAIN: Duration = Duration::from_secs(1);
/// How a kubelet tells of a container that a power failure ended.
const LOST: i32 = 255;

/// What is told of the one container.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Told {
    pub(super) state: Value,
    pub(super) last: Value,
    pub(super) ready: bool,
    pub(super) started: bool,
    pub(super) restarts: i32,
}

impl Told {
    /// Goes on where the node was before it lost its power.
    pub(super) fn after(pod: &Pod) -> Self {
        let mut told = Self {
            state: json!({"waiting": {"reason": "ContainerCreating"}}),
            ..Self::default()
        };
        let containers = pod
            .status
            .as_ref()
            .and_then(|s| s.container_statuses.as_ref());
        if let Some(before) = containers.and_then(|all| all.first()) {
            told.restarts = before.restart_count;
            told.last = json!(before.last_state);
            let state = before.state.as_ref();
            if state.is_some_and(|state| state.running.is_some()) {
                told.restarts += 1;
                told.last = terminated(LOST);
            }
        }
        told
    }

    fn phase(&self) -> &'static str {
        let code = self.state.pointer("/terminated/exitCode");
        match code.and_then(Value::as_i64) {
            Some(0) => "Succeeded",
            Some(_) => "Failed",
            None if self.state.get("running").is_some() || self.restarts > 0 => "Running",
            None => "Pending",
        }
    }
}

/// Writes the status of one pod. Nobody waits for it, as a kubelet's containers do not wait for its API.
pub(super) struct Teller {
    pub(super) host: Arc<Host>,
    pub(super) pod: watch::Receiver<Arc<Pod>>,
    pub(super) container: Container,
    pub(super) ip: IpAddr,
}

impl Teller {
    /// Writes what is told whenever it differs from what was written last, and again when somebody else
    /// has changed it, as controllers do to the pods of a node that was silent.
    pub(super) async fn keep_told(&self, mut news: watch::Receiver<Told>) -> Infallible {
        let mut seen = self.pod.clone();
        let mut written = None;
        let mut differed = false;
        loop {
            let told = news.borrow_and_update().clone();
            let pod = seen.borrow_and_update().clone();
            let is_new = written.as_ref() != Some(&told);
            let differs = differs(&self.status(&told, &pod), &pod);
            if is_new || (differs && differed) {
                if let Err(error) = self.tell(&told).await {
                    tracing::debug!(pod = pod.name_any(), %error, "status");
                    // Later, and then what is so by then.
                    written = None;
                    tokio::time::sleep(AGAIN).await;
                    continue;
                }
                written = Some(told);
            } else if differs {
                // Not at once: what is seen may be older than what was written, and a controller that
                // has its reasons would write again as fast.
                let paused = tokio::time::timeout(AGAIN, news.changed()).await;
                differed = paused.is_err();
                continue;
            }
            differed = false;
            let changed = tokio::select! {
                changed = news.changed() => changed,
                changed = seen.changed() => changed,
            };
            // The pod is gone, or its life is: there is nobody left to tell of.
            if changed.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// Writes the status once.
    pub(super) async fn tell(&self, told: &Told) -> Result<(), kube::Error> {
        let pod = self.pod.borrow().clone();
        // With the UID: another pod may have the name by the time that this arrives.
        let patch = json!({
            "metadata": {"uid": pod.uid()},
            "status": self.status(told, &pod),
        });
        let pods: Api<Pod> = Api::namespaced(
            self.host.client.clone(),
            &pod.namespace().unwrap_or_default(),
        );
        pods.patch_status(
            &pod.name_any(),
            &PatchParams::default(),
            &Patch::Merge(patch),
        )
        .await
        .map(drop)
    }

    fn status(&self, told: &Told, pod: &Pod) -> Value {
        let image = self.container.image.clone().unwrap_or_default();
        let before = pod.status.as_ref().and_then(|s| s.conditions.as_deref());
        let condition = |kind: &str, holds: bool| {
            let status = if holds { "True" } else { "False" };
            let same = before.unwrap_or_default().iter();
            let mut same = same.filter(|c| c.type_ == kind && c.status == status);
            let since = same.next().and_then(|c| c.last_transition_time.as_ref());
            let since = since.map_or_else(now, |time| time.0);
            json!({"type": kind, "status": status, "lastTransitionTime": since})
        };
        json!({
            "phase": told.phase(),
            "hostIP": self.host.address,
            "hostIPs": [{"ip": self.host.address}],
            "podIP": self.ip,
            "podIPs": [{"ip": self.ip}],
            "startTime": pod.metadata.creation_timestamp,
            "conditions": [
                condition("PodScheduled", true),
                condition("Initialized", true),
                condition("ContainersReady", told.ready),
                condition("Ready", told.ready),
            ],
            "containerStatuses": [{
                "name": self.container.name,
                "image": image,
                "imageID": image,
                "ready": told.ready,
                "started": told.started,
                "restartCount": told.restarts,
                "state": told.state,
                "lastState": if told.last.is_null() { json!({}) } else { told.last.clone() },
            }],
        })
    }
}

/// Whether a pod says anything else of itself than that status. What a kubelet never writes is not
/// compared: nobody may be fought over it.
fn differs(status: &Value, pod: &Pod) -> bool {
    let Ok(wanted) = serde_json::from_value::<PodStatus>(status.clone()) else {
        return true;
    };
    let Some(found) = &pod.status else {
        return true;
    };
    let conditions = |status: &PodStatus| -> BTreeMap<String, String> {
        let all = status.conditions.iter().flatten();
        all.map(|c| (c.type_.clone(), c.status.clone())).collect()
    };
    let has = conditions(found);
    conditions(&wanted)
        .iter()
        .any(|(kind, status)| has.get(kind) != Some(status))
        || (&wanted.phase, &wanted.pod_ip) != (&found.phase, &found.pod_ip)
        || wanted.container_statuses != found.container_statuses
}

/// Without fractions of a second, as the API keeps it: what is read then equals what was written.
fn now() -> jiff::Timestamp {
    let now = jiff::Timestamp::now();
    jiff::Timestamp::from_second(now.as_second()).unwrap_or(now)
}

pub(super) fn running() -> Value {
    json!({"running": {"startedAt": now()}})
}

pub(super) fn terminated(code: i32) -> Value {
    let reason = if code == 0 { "Completed" } else { "Error" };
    json!({"terminated": {"exitCode": code, "reason": reason, "finishedAt": now()}})
}

/// The process has ended: the object may go.
pub(super) async fn finalize(host: &Host, pod: &Pod) -> Result<()> {
    let pods: Api<Pod> = Api::namespaced(host.client.clone(), &pod.namespace().unwrap_or_default());
    let only_this = Preconditions {
        uid: pod.uid(),
        resource_version: None,
    };
    let parameters = DeleteParams {
        grace_period_seconds: Some(0),
        preconditions: Some(only_this),
        ..DeleteParams::default()
    };
    if let Some(uid) = pod.uid() {
        let _ = std::fs::remove_dir_all(host.pod_folder(&uid));
    }
    match pods.delete(&pod.name_any(), &parameters).await {
        Err(kube::Error::Api(error)) if matches!(error.code, 404 | 409) => Ok(()),
        result => Ok(result.map(drop)?),
    }
}

/// Fields of the downward API that are known, beside those of labels and annotations.
pub(super) const FIELDS: [&str; 7] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.podIP",
];

/// A field of the downward API.
pub(super) fn field(pod: &Pod, path: &str, host: &Host) -> Option<String> {
    let metadata = &pod.metadata;
    let of_map = |map: &Option<BTreeMap<String, String>>, rest: &str| {
        let key = rest.strip_prefix("['")?.strip_suffix("']")?;
        map.as_ref()?.get(key).cloned()
    };
    if let Some(rest) = path.strip_prefix("metadata.labels") {
        return of_map(&metadata.labels, rest);
    }
    if let Some(rest) = path.strip_prefix("metadata.annotations") {
        return of_map(&metadata.annotations, rest);
    }
    match path {
        "metadata.name" => metadata.name.clone(),
        "metadata.namespace" => metadata.namespace.clone(),
        "metadata.uid" => metadata.uid.clone(),
        "spec.nodeName" => Some(host.node.clone()),
        "spec.serviceAccountName" => pod.spec.as_ref()?.service_account_name.clone(),
        "status.hostIP" => Some(host.address.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
