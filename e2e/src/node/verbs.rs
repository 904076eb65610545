//! What tests do to pods, nodes and the network between them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result};
use tokio::sync::watch;

use super::{Host, Machine, Nodes};
use crate::http;
use crate::network::{Fabric, OPERATORS};

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
pub(super) struct Switch {
    pub(super) verbs: watch::Sender<Verbs>,
    pub(super) starts: watch::Receiver<Starts>,
}

/// Switches by namespace and name of the pod.
pub(super) type Switches = Arc<Mutex<BTreeMap<(String, String), Switch>>>;

/// Pods: kill, hold, freeze, return.
impl Nodes {
    /// Kills a pod's process; the node starts it again, as a kubelet does.
    ///
    /// # Errors
    /// When no such pod runs here.
    pub fn kill(&self, namespace: &str, pod: &str) -> Result<()> {
        self.change(namespace, pod, |verbs| verbs.kills += 1)
    }

    /// Kills a pod's process and keeps it down until [`Nodes::return_pod`].
    ///
    /// # Errors
    /// When no such pod runs here.
    pub fn hold(&self, namespace: &str, pod: &str) -> Result<()> {
        self.change(namespace, pod, |verbs| {
            verbs.held = true;
            verbs.kills += 1;
        })
    }

    /// Stops a pod's process where it is (SIGSTOP) until [`Nodes::return_pod`].
    ///
    /// # Errors
    /// When no such pod runs here.
    pub fn freeze(&self, namespace: &str, pod: &str) -> Result<()> {
        self.change(namespace, pod, |verbs| verbs.frozen = true)
    }

    /// A held pod starts, a frozen one goes on.
    ///
    /// # Errors
    /// When no such pod runs here.
    pub fn return_pod(&self, namespace: &str, pod: &str) -> Result<()> {
        self.change(namespace, pod, |verbs| {
            verbs.held = false;
            verbs.frozen = false;
        })
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
}

/// Nodes: power off, return.
impl Nodes {
    /// A node vanishes: its processes are killed, its Lease is no longer renewed, nothing more is
    /// written. In a namespace of its own it does not answer either; on loopback its ports refuse.
    ///
    /// # Errors
    /// When there is no such node.
    pub fn power_off(&self, node: &str) -> Result<()> {
        let machine = self.machine(node)?;
        // First, so that no kernel tells of the end of the processes.
        if machine.host.namespace.is_some() {
            self.fabric()?.switch_off(node)?;
        }
        machine.power_off();
        Ok(())
    }

    /// A node that was powered off boots on the same address and starts its pods, as after a reboot.
    /// False, and nothing done, for one that is on.
    ///
    /// # Errors
    /// When there is no such node, or its ports are taken.
    pub async fn return_node(&self, node: &str) -> Result<bool> {
        let machine = self.machine(node)?;
        if !machine.is_off() {
            return Ok(false);
        }
        if machine.host.namespace.is_some() {
            self.fabric()?.switch_on(node)?;
        }
        machine.host.reachable.send_replace(true);
        machine.boot(&self.switches).await?;
        Ok(true)
    }
}

/// The network: silence, cut, heal; only for nodes in namespaces of their own.
impl Nodes {
    /// Nothing gets in or out of a node, and nobody gets an error.
    ///
    /// # Errors
    /// When it has no namespace of its own.
    pub fn silence(&self, node: &str) -> Result<()> {
        self.fabric()?.silence(node)?;
        self.machine(node)?.host.reachable.send_replace(false);
        Ok(())
    }

    /// Cuts two groups off from each other. [`OPERATORS`] stands for the operators and the API server.
    ///
    /// # Errors
    /// When one has no namespace of its own.
    pub fn cut(&self, one: &[&str], other: &[&str]) -> Result<()> {
        self.cut_one_way(one, other)?;
        self.cut_one_way(other, one)
    }

    /// What the first group sends to the second is lost; the way back is open.
    ///
    /// # Errors
    /// When one has no namespace of its own.
    pub fn cut_one_way(&self, from: &[&str], to: &[&str]) -> Result<()> {
        let fabric = self.fabric()?;
        for (sender, receiver) in from
            .iter()
            .flat_map(|from| to.iter().map(move |to| (*from, *to)))
        {
            fabric.cut_one_way(sender, receiver)?;
            // Half a connection is none: a node without one way has no API.
            let node = match (sender, receiver) {
                (OPERATORS, node) | (node, OPERATORS) => node,
                _ => continue,
            };
            self.machine(node)?.host.reachable.send_replace(false);
        }
        Ok(())
    }

    /// Ends every silence and every cut.
    ///
    /// # Errors
    /// When the rules cannot be removed.
    pub fn heal(&self) -> Result<()> {
        if let Some(fabric) = &self.fabric {
            fabric.heal()?;
        }
        for machine in self.machines.values() {
            machine.host.reachable.send_replace(true);
        }
        Ok(())
    }

    /// Whether its nodes can be silenced and cut off.
    #[must_use]
    pub fn can_cut(&self) -> bool {
        self.fabric.is_some()
    }

    /// A metric of a pod as its own node sees it: also when nothing gets in or out.
    ///
    /// # Errors
    /// When it does not answer, or knows no such metric.
    pub async fn metric_on(&self, node: &str, pod: SocketAddr, name: &str) -> Result<f64> {
        let host = &self.machine(node)?.host;
        let (_, body) = host.get(pod, "/metrics").await?;
        let metrics = http::parse_metrics(&body);
        metrics
            .get(name)
            .copied()
            .with_context(|| format!("{pod} has no metric {name}"))
    }

    fn fabric(&self) -> Result<&Fabric> {
        self.fabric
            .as_deref()
            .context("these nodes are on loopback, where nothing can be cut: add them apart")
    }

    pub(super) fn machine(&self, node: &str) -> Result<&Machine> {
        let machine = self.machines.get(node);
        machine.with_context(|| format!("there is no node {node} here"))
    }
}

impl Host {
    /// HTTP GET from the node itself.
    pub(crate) async fn get(&self, address: SocketAddr, path: &str) -> Result<(u16, String)> {
        match &self.namespace {
            Some(namespace) => http::get_over(namespace.connect(address).await?, path).await,
            None => http::get(&format!("http://{address}{path}")).await,
        }
    }
}
