//! What is told of a pod, and the end of its object.

use std::collections::BTreeMap;

use anyhow::Result;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use super::Host;
use super::pod::Life;

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
}

impl Life {
    /// Writes the status; a failure is made good by the next.
    pub(super) async fn tell(&mut self) {
        let pod = self.pod.borrow().clone();
        let code = self.told.state.pointer("/terminated/exitCode");
        let phase = if self.told.state.get("running").is_some() || self.told.restarts > 0 {
            "Running"
        } else {
            "Pending"
        };
        let phase = match code.and_then(Value::as_i64) {
            Some(0) => "Succeeded",
            Some(_) => "Failed",
            None => phase,
        };
        let now = jiff::Timestamp::now();
        let before = pod
            .status
            .as_ref()
            .and_then(|status| status.conditions.clone())
            .unwrap_or_default();
        let condition = |kind: &str, holds: bool| {
            let status = if holds { "True" } else { "False" };
            let since = before
                .iter()
                .find(|c| c.type_ == kind && c.status == status);
            let since = since
                .and_then(|c| c.last_transition_time.clone())
                .map_or(now, |time| time.0);
            json!({"type": kind, "status": status, "lastTransitionTime": since})
        };
        let image = self.container.image.clone().unwrap_or_default();
        let status = json!({"status": {
            "phase": phase,
            "hostIP": self.host.address,
            "hostIPs": [{"ip": self.host.address}],
            "podIP": self.ip,
            "podIPs": [{"ip": self.ip}],
            "startTime": pod.metadata.creation_timestamp,
            "conditions": [
                condition("PodScheduled", true),
                condition("Initialized", true),
                condition("ContainersReady", self.told.ready),
                condition("Ready", self.told.ready),
            ],
            "containerStatuses": [{
                "name": self.container.name,
                "image": image,
                "imageID": image,
                "ready": self.told.ready,
                "started": self.told.started,
                "restartCount": self.told.restarts,
                "state": self.told.state,
                "lastState": if self.told.last.is_null() { json!({}) } else { self.told.last.clone() },
            }],
        }});
        let pods: Api<Pod> = Api::namespaced(
            self.host.client.clone(),
            &pod.namespace().unwrap_or_default(),
        );
        let patch = Patch::Merge(status);
        if let Err(error) = pods
            .patch_status(&pod.name_any(), &PatchParams::default(), &patch)
            .await
        {
            tracing::debug!(pod = pod.name_any(), %error, "status");
        }
    }
}

pub(super) fn terminated(code: i32) -> Value {
    let reason = if code == 0 { "Completed" } else { "Error" };
    json!({"terminated": {"exitCode": code, "reason": reason, "finishedAt": jiff::Timestamp::now()}})
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
