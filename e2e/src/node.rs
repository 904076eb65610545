//! Process nodes: real Nodes with Leases, whose pods are child processes.
//!
//! ```text
//!   watch (pods of this node) ─▶ one task a pod: volumes ─▶ process ─▶ probes ─▶ status
//!                                        verbs (kill, hold, freeze) ──┘
//! ```
//!
//! A node acts with its own certificate (Node authorizer, NodeRestriction). What it cannot show:
//! isolation, images, CNI, and endpoints of Services, which refuse loopback addresses.

mod pod;
mod probe;
mod volumes;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::StreamExt;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::control_plane::ControlPlane;
use crate::run_folder::RunFolder;

/// Well inside the 50 s after which a node counts as lost.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// What nodes are made of.
#[derive(Clone, Debug)]
pub struct NodesOptions {
    /// Names are this and a number.
    pub prefix: String,
    /// How many.
    pub count: u8,
    /// Second octet of their addresses: distinct for each group of nodes.
    pub network: u8,
    /// Image -> binary.
    pub images: BTreeMap<String, PathBuf>,
    /// Taint of all of them: `key=value:Effect` parts.
    pub taint: Option<(String, String)>,
}

/// What is done to the process of a pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verbs {
    /// Not started again while true.
    pub held: bool,
    /// Raised by one to have the process killed.
    pub kills: u64,
    /// SIGSTOP while true.
    pub frozen: bool,
}

/// The processes of a pod so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Starts {
    /// How many.
    pub count: u64,
    /// When the newest was started.
    pub last: Option<Instant>,
}

/// What a story holds of a pod.
#[derive(Debug)]
struct Switch {
    verbs: watch::Sender<Verbs>,
    starts: watch::Receiver<Starts>,
}

/// Switches by namespace and name of the pod.
type Switches = Arc<Mutex<BTreeMap<(String, String), Switch>>>;

/// Running nodes. Dropping them ends their pods.
#[derive(Debug)]
pub struct Nodes {
    names: Vec<String>,
    switches: Switches,
    tasks: Vec<JoinHandle<()>>,
    client: Admin,
}

struct Admin(Client);

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

/// What the pods of one node share.
pub(crate) struct Host {
    pub(crate) client: Client,
    pub(crate) node: String,
    pub(crate) address: IpAddr,
    pub(crate) images: BTreeMap<String, PathBuf>,
    pub(crate) run: Arc<RunFolder>,
    pub(crate) folder: PathBuf,
    pub(crate) server: String,
    pub(crate) ca: PathBuf,
    addresses: Mutex<BTreeMap<String, IpAddr>>,
}

impl Nodes {
    /// Registers nodes and starts to run their pods.
    ///
    /// # Errors
    /// When a node is refused.
    pub async fn start(
        plane: &ControlPlane,
        run: &Arc<RunFolder>,
        options: &NodesOptions,
    ) -> Result<Self> {
        let switches = Switches::default();
        let (mut names, mut tasks) = (Vec::new(), Vec::new());
        for number in 1..=options.count {
            let node = format!("{}-{number}", options.prefix);
            let client = plane.node_client(&node).await?;
            let host = Arc::new(Host {
                address: IpAddr::V4(Ipv4Addr::new(127, options.network, number, 1)),
                images: options.images.clone(),
                folder: run.path().join("nodes").join(&node),
                run: run.clone(),
                server: plane.server().to_owned(),
                ca: plane.certificates().ca(),
                addresses: Mutex::default(),
                node: node.clone(),
                client,
            });
            register(&host, &plane.client(), options)
                .await
                .with_context(|| format!("node {node}"))?;
            tasks.push(tokio::spawn(heartbeat(host.clone())));
            tasks.push(tokio::spawn(run_pods(host, switches.clone())));
            names.push(node);
        }
        Ok(Self {
            names,
            switches,
            tasks,
            client: Admin(plane.client()),
        })
    }

    /// Their names.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Changes what is done to the process of a pod.
    ///
    /// # Errors
    /// When no such pod runs here.
    pub fn change(
        &self,
        namespace: &str,
        pod: &str,
        change: impl FnOnce(&mut Verbs),
    ) -> Result<()> {
        self.with_switch(namespace, pod, |switch| switch.verbs.send_modify(change))
    }

    /// The processes of a pod so far.
    ///
    /// # Errors
    /// When no such pod runs here.
    pub fn starts(&self, namespace: &str, pod: &str) -> Result<Starts> {
        self.with_switch(namespace, pod, |switch| *switch.starts.borrow())
    }

    fn with_switch<T>(
        &self,
        namespace: &str,
        pod: &str,
        act: impl FnOnce(&Switch) -> T,
    ) -> Result<T> {
        let switches = self.switches.lock().unwrap_or_else(PoisonError::into_inner);
        let switch = switches.get(&(namespace.to_owned(), pod.to_owned()));
        switch
            .map(act)
            .with_context(|| format!("no pod {namespace}/{pod} on these nodes"))
    }

    /// Ends their pods and takes the Nodes out of the API.
    pub async fn remove(mut self) {
        for task in self.tasks.drain(..) {
            task.abort();
            let _ = task.await;
        }
        let nodes: Api<Node> = Api::all(self.client.0.clone());
        for name in &self.names {
            let _ = nodes.delete(name, &DeleteParams::default()).await;
        }
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Host {
    /// An address of its own for a pod, tried before it is given away: orphans of a crashed run may
    /// hold one.
    pub(crate) fn address_of(&self, uid: &str) -> Result<IpAddr> {
        let mut addresses = self
            .addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(address) = addresses.get(uid) {
            return Ok(*address);
        }
        let IpAddr::V4(node) = self.address else {
            anyhow::bail!("nodes have IPv4 addresses here")
        };
        let [a, b, c, _] = node.octets();
        let free = |address: &IpAddr| {
            !addresses.values().any(|used| used == address)
                && [7400, 7401]
                    .iter()
                    .all(|port| UdpSocket::bind((*address, *port)).is_ok())
        };
        let found = (2..=250)
            .map(|d| IpAddr::V4(Ipv4Addr::new(a, b, c, d)))
            .find(free);
        let address = found.context("no address is left on this node")?;
        addresses.insert(uid.to_owned(), address);
        Ok(address)
    }

    fn forget(&self, uid: &str) {
        self.addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(uid);
    }

    /// Folder of one pod.
    pub(crate) fn pod_folder(&self, uid: &str) -> PathBuf {
        self.folder.join("pods").join(uid)
    }
}

async fn register(host: &Host, admin: &Client, options: &NodesOptions) -> Result<()> {
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
    let status = json!({"status": {
        "capacity": resources,
        "allocatable": resources,
        "addresses": [{"type": "InternalIP", "address": host.address}, {"type": "Hostname", "address": host.node}],
        "conditions": [
            condition("Ready", "True"),
            condition("MemoryPressure", "False"),
            condition("DiskPressure", "False"),
            condition("PIDPressure", "False"),
        ],
        "nodeInfo": {
            "architecture": "amd64", "bootID": "process", "containerRuntimeVersion": "process://1", "kernelVersion": "",
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

async fn heartbeat(host: Arc<Host>) {
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

async fn run_pods(host: Arc<Host>, switches: Switches) {
    let pods: Api<Pod> = Api::all(host.client.clone());
    let config = watcher::Config::default().fields(&format!("spec.nodeName={}", host.node));
    let mut stream = std::pin::pin!(watcher(pods, config).default_backoff());
    let mut running: BTreeMap<String, watch::Sender<Arc<Pod>>> = BTreeMap::new();
    let mut tasks = JoinSet::new();
    while let Some(event) = stream.next().await {
        while tasks.try_join_next().is_some() {}
        let (pod, deleted) = match event {
            Ok(watcher::Event::Apply(pod) | watcher::Event::InitApply(pod)) => {
                (Arc::new(pod), false)
            }
            Ok(watcher::Event::Delete(pod)) => (Arc::new(pod), true),
            Ok(watcher::Event::Init | watcher::Event::InitDone) => continue,
            Err(error) => {
                tracing::debug!(node = host.node, %error, "watch of pods");
                continue;
            }
        };
        let Some(uid) = pod.uid() else { continue };
        let key = (pod.namespace().unwrap_or_default(), pod.name_any());
        if deleted {
            // Only now is its UID forgotten: a late event must not start it again.
            running.remove(&uid);
            host.forget(&uid);
            switches
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&key);
            continue;
        }
        match running.get(&uid) {
            Some(known) => drop(known.send_replace(pod)),
            None if pod.metadata.deletion_timestamp.is_some()
                && pod.status.as_ref().is_some_and(|s| s.pod_ip.is_none()) =>
            {
                let _ = pod::finalize(&host, &pod).await;
            }
            None => {
                let (sender, receiver) = watch::channel(pod);
                let (verbs, orders) = watch::channel(Verbs::default());
                let (told, starts) = watch::channel(Starts::default());
                switches
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .insert(key, Switch { verbs, starts });
                running.insert(uid, sender);
                tasks.spawn(pod::run(host.clone(), receiver, orders, told));
            }
        }
    }
}

/// Replaces the start of a path inside the pod by that of its folder outside.
pub(crate) fn map_path(text: &str, mounts: &[(String, PathBuf)]) -> String {
    for (inside, outside) in mounts {
        // Also behind `--flag=`.
        for prefix in ["", "="] {
            let needle = format!("{prefix}{inside}");
            let starts = if prefix.is_empty() {
                text.starts_with(&needle)
            } else {
                text.contains(&needle)
            };
            if starts {
                return text.replacen(&needle, &format!("{prefix}{}", outside.display()), 1);
            }
        }
    }
    text.to_owned()
}

/// Writes a file whole or not at all.
pub(crate) fn write_whole(path: &Path, content: &[u8]) -> Result<()> {
    let part = path.with_extension("part");
    std::fs::write(&part, content)?;
    Ok(std::fs::rename(&part, path)?)
}
