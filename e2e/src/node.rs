//! Process nodes: real Nodes with Leases, whose pods are child processes.
//!
//! ```text
//!   watch (pods of this node) ─▶ one task a pod: volumes ─▶ process ─▶ probes ─▶ status
//!                                        verbs (kill, hold, freeze) ──┘
//! ```
//!
//! A node acts with its own certificate (Node authorizer, NodeRestriction). What it cannot show:
//! isolation, images, CNI, and endpoints of Services, which refuse loopback addresses. A pod that asks
//! for more than is done here is refused with words in its status.

mod gate;
mod logs;
mod pod;
mod probe;
mod refused;
mod registration;
mod status;
mod verbs;
mod volumes;
mod watched;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use futures::StreamExt;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::DeleteParams;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::control_plane::ControlPlane;
use crate::network::{Fabric, Namespace, Place};
use crate::run_folder::RunFolder;
pub use verbs::{Starts, Verbs};
use verbs::{Switch, Switches};
use watched::{Change, Watched};

/// Pods have addresses up to this; a namespace holds half of its network.
const PODS: u8 = 126;

/// What nodes are made of.
#[derive(Clone, Debug)]
pub struct NodesOptions {
    /// Names are this and a number.
    pub prefix: String,
    /// How many.
    pub count: u8,
    /// Second octet of their addresses: distinct for each group of nodes.
    pub network: u8,
    /// Where they live.
    pub place: Place,
    /// Image -> binary.
    pub images: BTreeMap<String, PathBuf>,
    /// Taint of all of them: `key=value:Effect` parts.
    pub taint: Option<(String, String)>,
}

/// Running nodes. Dropping them ends their pods.
#[derive(Debug)]
pub struct Nodes {
    names: Vec<String>,
    machines: BTreeMap<String, Machine>,
    switches: Switches,
    // For nodes in namespaces.
    fabric: Option<Arc<Fabric>>,
    client: Admin,
}

/// One node, on or off.
struct Machine {
    host: Arc<Host>,
    running: Mutex<Running>,
}

/// The tasks of a node.
#[derive(Default)]
struct Running {
    off: bool,
    own: Vec<JoinHandle<()>>,
    pods: Pods,
}

type Pods = Arc<Mutex<JoinSet<()>>>;

struct Admin(Client);

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

impl std::fmt::Debug for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.host.node)
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
    pub(crate) logs: logs::LogBook,
    // None on loopback.
    namespace: Option<Namespace>,
    log_server: logs::Server,
    // False while the API does not hear it.
    reachable: watch::Sender<bool>,
    boots: AtomicU32,
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
        let fabric = match &options.place {
            Place::Namespaces(fabric) => Some(fabric.clone()),
            Place::Loopback | Place::Harness(_) => None,
        };
        let mut nodes = Self {
            names: Vec::new(),
            machines: BTreeMap::new(),
            switches: Switches::default(),
            fabric,
            client: Admin(plane.client()),
        };
        for number in 1..=options.count {
            let node = format!("{}-{number}", options.prefix);
            let host = Host::prepare(plane, run, options, &node, number)
                .await
                .with_context(|| format!("node {node}"))?;
            registration::register(&host, &plane.client(), options)
                .await
                .with_context(|| format!("node {node}"))?;
            let machine = Machine {
                host: Arc::new(host),
                running: Mutex::default(),
            };
            machine.boot(&nodes.switches).await?;
            nodes.machines.insert(node.clone(), machine);
            nodes.names.push(node);
        }
        Ok(nodes)
    }

    /// Their names.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Ends their pods and takes the Nodes out of the API.
    pub async fn remove(mut self) {
        for machine in self.machines.values() {
            machine.power_off();
            machine.ended().await;
        }
        if let Err(error) = self.heal() {
            tracing::warn!(error = format!("{error:#}"), "heal");
        }
        let nodes: Api<Node> = Api::all(self.client.0.clone());
        for name in std::mem::take(&mut self.names) {
            let _ = nodes.delete(&name, &DeleteParams::default()).await;
        }
    }
}

impl Machine {
    fn running(&self) -> MutexGuard<'_, Running> {
        lock(&self.running)
    }

    fn is_off(&self) -> bool {
        self.running().off
    }

    /// Starts everything that runs on a node.
    async fn boot(&self, switches: &Switches) -> Result<()> {
        self.ended().await;
        let host = self.host.clone();
        host.boots.fetch_add(1, Ordering::Relaxed);
        let listener = host.log_server.listen(host.namespace.as_ref()).await?;
        let pods = Pods::default();
        let serving = host.clone();
        let logs = async move { serving.log_server.serve(serving.clone(), listener).await };
        *self.running() = Running {
            off: false,
            own: vec![
                tokio::spawn(registration::heartbeat(host.clone())),
                tokio::spawn(logs),
                tokio::spawn(run_pods(host, switches.clone(), pods.clone())),
            ],
            pods,
        };
        Ok(())
    }

    /// Ends everything at once; processes are killed with the tasks that hold them.
    fn power_off(&self) {
        let mut running = self.running();
        running.off = true;
        for task in &running.own {
            task.abort();
        }
        lock(&running.pods).abort_all();
    }

    /// Waits until the tasks of a node that is off have ended.
    async fn ended(&self) {
        let Running { own, pods, off } = std::mem::take(&mut *self.running());
        self.running().off = off;
        for task in own {
            let _ = task.await;
        }
        let mut pods = std::mem::take(&mut *lock(&pods));
        pods.shutdown().await;
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.power_off();
    }
}

impl Host {
    async fn prepare(
        plane: &ControlPlane,
        run: &Arc<RunFolder>,
        options: &NodesOptions,
        node: &str,
        number: u8,
    ) -> Result<Self> {
        let group = options.network;
        let (first, namespace) = match &options.place {
            Place::Loopback => (127, None),
            Place::Harness(fabric) => {
                fabric.join_beside_harness(group, number)?;
                (10, None)
            }
            Place::Namespaces(fabric) => (10, Some(fabric.join(node, group, number)?)),
        };
        let address = IpAddr::V4(Ipv4Addr::new(first, group, number, 1));
        let (reachable, opened) = watch::channel(true);
        Ok(Self {
            client: gate::gated(plane.node_client(node).await?, opened),
            node: node.to_owned(),
            address,
            images: options.images.clone(),
            run: run.clone(),
            folder: run.path().join("nodes").join(node),
            server: plane.server().to_owned(),
            ca: plane.certificates().ca(),
            logs: logs::LogBook::default(),
            log_server: logs::Server::new(plane.certificates(), node, address)?,
            namespace,
            reachable,
            boots: AtomicU32::new(0),
            addresses: Mutex::default(),
        })
    }

    /// Where the processes of its pods live; ours when there is none.
    pub(crate) fn namespace_path(&self) -> Option<PathBuf> {
        self.namespace.as_ref().map(Namespace::path)
    }

    /// An address of its own for a pod, tried before it is given away: orphans of a crashed run may
    /// hold one.
    pub(crate) fn address_of(&self, uid: &str) -> Result<IpAddr> {
        let mut addresses = lock(&self.addresses);
        if let Some(address) = addresses.get(uid) {
            return Ok(*address);
        }
        let IpAddr::V4(node) = self.address else {
            anyhow::bail!("nodes have IPv4 addresses here")
        };
        let [a, b, c, _] = node.octets();
        let free = |address: &IpAddr| {
            // In a namespace that we made there are no orphans.
            let bound = || {
                [7400, 7401]
                    .iter()
                    .all(|port| UdpSocket::bind((*address, *port)).is_ok())
            };
            !addresses.values().any(|used| used == address) && (self.namespace.is_some() || bound())
        };
        let found = (2..=PODS)
            .map(|d| IpAddr::V4(Ipv4Addr::new(a, b, c, d)))
            .find(free);
        let address = found.context("no address is left on this node")?;
        addresses.insert(uid.to_owned(), address);
        Ok(address)
    }

    fn forget(&self, uid: &str) {
        lock(&self.addresses).remove(uid);
    }

    /// Folder of one pod.
    pub(crate) fn pod_folder(&self, uid: &str) -> PathBuf {
        self.folder.join("pods").join(uid)
    }
}

async fn run_pods(host: Arc<Host>, switches: Switches, tasks: Pods) {
    let pods: Api<Pod> = Api::all(host.client.clone());
    let config = watcher::Config::default().fields(&format!("spec.nodeName={}", host.node));
    let mut stream = std::pin::pin!(watcher(pods, config).default_backoff());
    let mut watched = Watched::default();
    let mut running = BTreeMap::new();
    while let Some(event) = stream.next().await {
        while lock(&tasks).try_join_next().is_some() {}
        match event {
            Ok(event) => {
                for change in watched.changes(event) {
                    follow(&host, &switches, &tasks, &mut running, change).await;
                }
            }
            Err(error) => tracing::debug!(node = host.node, %error, "watch of pods"),
        }
    }
}

/// Starts a pod, tells it what is new of it, or forgets it.
async fn follow(
    host: &Arc<Host>,
    switches: &Switches,
    tasks: &Pods,
    running: &mut BTreeMap<String, watch::Sender<Arc<Pod>>>,
    change: Change,
) {
    let (pod, gone) = match change {
        Change::There(pod) => (pod, false),
        Change::Gone(pod) => (pod, true),
    };
    let Some(uid) = pod.uid() else { return };
    let key = (pod.namespace().unwrap_or_default(), pod.name_any());
    if gone {
        // Only now is its UID forgotten: a late event must not start it again.
        running.remove(&uid);
        host.forget(&uid);
        host.logs.forget(&key);
        lock(switches).remove(&key);
        return;
    }
    match running.get(&uid) {
        Some(known) => drop(known.send_replace(pod)),
        // Not started since the node is on: there is nothing to end.
        None if pod.metadata.deletion_timestamp.is_some() => {
            if let Err(error) = status::finalize(host, &pod).await {
                tracing::debug!(node = host.node, error = format!("{error:#}"), "finalize");
            }
        }
        None => {
            let (sender, receiver) = watch::channel(pod);
            let (verbs, orders) = watch::channel(Verbs::default());
            let (told, starts) = watch::channel(Starts::default());
            lock(switches).insert(key, Switch { verbs, starts });
            running.insert(uid, sender);
            lock(tasks).spawn(pod::run(host.clone(), receiver, orders, told));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
