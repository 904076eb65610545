//! The Node object, its status, and its Lease.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Result;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

use super::{Host, NodesOptions, logs};

/// Well inside the 50 s after which a node counts as lost.
const HEARTBEAT: Duration = Duration::from_secs(10);

pub(super) async fn register(host: &Host, admin: &Client, options: &NodesOptions) -> Result<()> {
    let node: Node = serde_json::from_value(json!({
        "metadata": {
            "name": host.node,
            "labels": {
                "kubernetes.io/hostname": host.node,
                "kubernetes.io/os": "linux",
                "slotmesh.dev/e2e": options.prefix,
            },
        },
        "spec": {"taints": options.taint.iter().map(|(key, effect)| json!({"key": key, "effect": effect})).collect::<Vec<_>>()},
    }))?;
    // Made by the administrator: a node may not taint itself as it likes.
    Api::<Node>::all(admin.clone())
        .create(&PostParams::default(), &node)
        .await?;
    report_ready(host).await?;
    renew(host).await
}

async fn report_ready(host: &Host) -> Result<()> {
    let now = jiff::Timestamp::now();
    let condition = |kind: &str, status: &str| json!({"type": kind, "status": status, "reason": "ProcessNode", "lastHeartbeatTime": now, "lastTransitionTime": now});
    let resources = json!({"cpu": "64", "memory": "256Gi", "pods": "200"});
    let boot = format!("boot-{}", host.boots.load(Ordering::Relaxed));
    let status = json!({"status": {
        "capacity": resources,
        "allocatable": resources,
        "addresses": [{"type": "InternalIP", "address": host.address}, {"type": "Hostname", "address": host.node}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": logs::PORT}},
        "conditions": [
            condition("Ready", "True"),
            condition("MemoryPressure", "False"),
            condition("DiskPressure", "False"),
            condition("PIDPressure", "False"),
        ],
        "nodeInfo": {
            "architecture": "amd64", "bootID": boot, "containerRuntimeVersion": "process://1", "kernelVersion": "",
            "kubeProxyVersion": "", "kubeletVersion": "v1.35.4", "machineID": "", "operatingSystem": "linux",
            "osImage": "", "systemUUID": "",
        },
    }});
    let nodes: Api<Node> = Api::all(host.client.clone());
    nodes
        .patch_status(
            &host.node,
            &PatchParams::default(),
            &Patch::Strategic(status),
        )
        .await?;
    Ok(())
}

async fn renew(host: &Host) -> Result<()> {
    use k8s_openapi::api::coordination::v1::Lease;
    let leases: Api<Lease> = Api::namespaced(host.client.clone(), "kube-node-lease");
    let lease = json!({
        "metadata": {"name": host.node, "namespace": "kube-node-lease"},
        "spec": {"holderIdentity": host.node, "leaseDurationSeconds": 40, "renewTime": jiff::Timestamp::now().to_string()},
    });
    let lease: Lease = serde_json::from_value(lease)?;
    match leases.create(&PostParams::default(), &lease).await {
        Err(kube::Error::Api(error)) if error.code == 409 => {
            let patch = Patch::Merge(json!({"spec": lease.spec}));
            leases
                .patch(&host.node, &PatchParams::default(), &patch)
                .await?;
        }
        result => drop(result?),
    }
    Ok(())
}

pub(super) async fn heartbeat(host: Arc<Host>) {
    let mut ticks = tokio::time::interval(HEARTBEAT);
    loop {
        ticks.tick().await;
        // Once the controller has written Unknown, the Lease alone never brings a node back.
        let beat = async {
            renew(&host).await?;
            report_ready(&host).await
        };
        if let Err(error) = beat.await {
            tracing::debug!(node = host.node, %error, "heartbeat");
        }
    }
}
