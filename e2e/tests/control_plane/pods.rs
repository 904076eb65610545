//! Pods of process nodes: what tests do to their processes is done whatever the API does meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};
use slotmesh_e2e::control_plane::{Component, ControlPlane};
use slotmesh_e2e::network::Place;
use slotmesh_e2e::node::{Nodes, NodesOptions};
use slotmesh_e2e::run_folder::{Network, RunFolder};
use slotmesh_e2e::wait;

use crate::{DEADLINE, is_filled};

const NAMESPACE: &str = "default";
const NODE: &str = "host-1";
const POD: &str = "sleeper";

/// A node with one pod, whose program only sleeps.
struct Scene<'a> {
    plane: &'a ControlPlane,
    run: Arc<RunFolder>,
    nodes: Nodes,
    pods: Api<Pod>,
    _network: Network,
}

impl<'a> Scene<'a> {
    async fn set(plane: &'a ControlPlane, run: &Arc<RunFolder>) -> Result<Self> {
        is_filled(plane, NAMESPACE).await?;
        let network = Network::claim()?;
        let options = NodesOptions {
            prefix: "host".into(),
            count: 1,
            network: network.number(),
            place: Place::Loopback,
            images: BTreeMap::from([("sleeps".to_owned(), "/bin/sleep".into())]),
            taint: None,
        };
        let nodes = Nodes::start(plane, run, &options).await?;
        let scene = Self {
            plane,
            run: run.clone(),
            nodes,
            pods: Api::namespaced(plane.client(), NAMESPACE),
            _network: network,
        };
        Ok(scene)
    }

    async fn create_pod(&self, volumes: Value) -> Result<()> {
        let pod = json!({
            "metadata": {"name": POD},
            "spec": {
                "nodeName": NODE,
                "automountServiceAccountToken": false,
                "volumes": volumes,
                "containers": [{"name": "sleep", "image": "sleeps", "command": ["sleep", "600"]}],
            },
        });
        let pod = serde_json::from_value(pod)?;
        self.pods.create(&PostParams::default(), &pod).await?;
        Ok(())
    }

    /// Waits until that many processes were started, and the API says that the pod is ready.
    async fn started(&self, count: u64) -> Result<()> {
        self.starts(count).await?;
        wait::until("the pod to be ready", DEADLINE, async || {
            let status = self.pods.get(POD).await?.status.unwrap_or_default();
            let containers = status.container_statuses.unwrap_or_default();
            let container = containers.first().context("no container")?;
            let ready = container.ready && u64::try_from(container.restart_count)? + 1 == count;
            Ok(ready.then_some(()))
        })
        .await
    }

    async fn starts(&self, count: u64) -> Result<()> {
        wait::until(&format!("process {count}"), DEADLINE, async || {
            let starts = self.nodes.starts(NAMESPACE, POD)?;
            Ok((starts.count == count).then_some(()))
        })
        .await
    }

    /// Waits until its process is in that state, as the kernel names them; none: there is no process.
    async fn state(&self, state: Option<char>) -> Result<()> {
        wait::until(&format!("state {state:?}"), DEADLINE, async || {
            let pid = self.run.running_child(POD);
            let stat = pid.map(|pid| std::fs::read_to_string(format!("/proc/{pid}/stat")));
            let now = match stat {
                None => None,
                Some(stat) => stat?.rsplit_once(") ").and_then(|(_, s)| s.chars().next()),
            };
            ensure!(now == state, "it is in state {now:?}");
            Ok(Some(()))
        })
        .await
    }

    async fn end(self) -> Result<()> {
        let now = DeleteParams::default().grace_period(0);
        self.pods.delete(POD, &now).await?;
        self.nodes.remove().await;
        Ok(())
    }
}

/// While the API hangs, what is ordered is done, and what ends is started again, as by a kubelet.
pub async fn without_api(plane: &ControlPlane, run: &Arc<RunFolder>) -> Result<()> {
    let scene = Scene::set(plane, run).await?;
    scene.create_pod(json!([])).await?;
    scene.started(1).await?;
    plane.pause(Component::ApiServer).await?;
    let done = orders(&scene).await;
    plane.resume(Component::ApiServer)?;
    done?;
    // What was not written meanwhile is written now.
    scene.started(3).await?;
    scene.end().await
}

async fn orders(scene: &Scene<'_>) -> Result<()> {
    let nodes = &scene.nodes;
    nodes.kill(NAMESPACE, POD)?;
    scene.starts(2).await?;
    nodes.freeze(NAMESPACE, POD)?;
    scene.state(Some('T')).await?;
    nodes.return_pod(NAMESPACE, POD)?;
    scene.state(Some('S')).await?;
    nodes.hold(NAMESPACE, POD)?;
    scene.state(None).await?;
    nodes.return_pod(NAMESPACE, POD)?;
    scene.starts(3).await?;
    scene.state(Some('S')).await
}

/// An order is not lost in a start, whenever it comes: held is down, and frozen stands still.
pub async fn orders_at_starts(plane: &ControlPlane, run: &Arc<RunFolder>) -> Result<()> {
    let scene = Scene::set(plane, run).await?;
    let nodes = &scene.nodes;
    scene.create_pod(json!([])).await?;
    // As soon as anybody can know that it runs.
    scene.starts(1).await?;
    nodes.hold(NAMESPACE, POD)?;
    scene.state(None).await?;
    // Frozen while it is down.
    nodes.change(NAMESPACE, POD, |verbs| {
        verbs.held = false;
        verbs.frozen = true;
    })?;
    scene.starts(2).await?;
    scene.state(Some('T')).await?;
    nodes.return_pod(NAMESPACE, POD)?;
    scene.state(Some('S')).await?;
    scene.end().await
}

/// A pod that is held before its first process starts none; until then it says what it waits for.
pub async fn held_from_the_start(plane: &ControlPlane, run: &Arc<RunFolder>) -> Result<()> {
    let scene = Scene::set(plane, run).await?;
    let volume = json!({"name": "settings", "configMap": {"name": "not-yet"}});
    scene.create_pod(json!([volume])).await?;
    let uid = scene.pods.get(POD).await?.metadata.uid.context("no UID")?;
    wait::until("the pod to say what it lacks", DEADLINE, async || {
        let status = scene.pods.get(POD).await?.status.unwrap_or_default();
        let status = serde_json::to_string(&status.container_statuses)?;
        Ok(status.contains("volume settings").then_some(()))
    })
    .await?;
    scene.nodes.hold(NAMESPACE, POD)?;
    let create = ["create", "configmap", "not-yet", "--from-literal=key=value"];
    plane.kubectl(&create).await?;
    let node = run.path().join("nodes").join(NODE);
    let file = node.join("pods").join(uid).join("settings/key");
    wait::until("the volume", DEADLINE, async || {
        Ok(file.is_file().then_some(()))
    })
    .await?;
    // Many times what a start takes.
    plane.kubectl(&["get", "pods"]).await?;
    let starts = scene.nodes.starts(NAMESPACE, POD)?.count;
    ensure!(starts == 0, "a held pod was started");
    scene.nodes.return_pod(NAMESPACE, POD)?;
    scene.started(1).await?;
    scene.end().await
}

/// What somebody else writes into a status is put right, as by a kubelet.
pub async fn statuses(plane: &ControlPlane, run: &Arc<RunFolder>) -> Result<()> {
    let scene = Scene::set(plane, run).await?;
    scene.create_pod(json!([])).await?;
    scene.started(1).await?;
    let version = async || -> Result<Option<String>> {
        Ok(scene.pods.get(POD).await?.metadata.resource_version)
    };
    let before = version().await?;
    // As the node controller does to the pods of a silent node.
    let unready =
        json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}}).to_string();
    let patch = ["patch", "pod", POD, "--subresource=status", "-p", &unready];
    scene.plane.kubectl(&patch).await?;
    ensure!(version().await? != before, "nothing was changed");
    wait::until("the pod to be ready again", DEADLINE, async || {
        let conditions = scene
            .pods
            .get(POD)
            .await?
            .status
            .unwrap_or_default()
            .conditions;
        let mut ready = conditions.iter().flatten().filter(|c| c.type_ == "Ready");
        Ok(ready.any(|c| c.status == "True").then_some(()))
    })
    .await?;
    scene.end().await
}
