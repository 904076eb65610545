//! The stage of every story: a control plane, a node for operators, SlotMesh installed by helm, and
//! the agents' nodes.

mod asked;
mod cells;
mod operators;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use serde_json::Value;
use slotmesh_api::GossipCluster;

use crate::assets::Assets;
use crate::control_plane::{ControlPlane, Options};
use crate::network::{Fabric, Form, Place};
use crate::node::{Nodes, NodesOptions};
use crate::process::{Process, Program};
use crate::run_folder::{Network, RunFolder};
use crate::wait;

pub use asked::{Agent, Location, Operator, OwnerName};

/// Namespace of the operator.
pub const OPERATOR_NAMESPACE: &str = "slotmesh-system";
/// The operator, as the API server knows it: nobody else writes records and statuses.
pub const OPERATOR_USER: &str = "system:serviceaccount:slotmesh-system:slotmesh-operator";
/// Namespace of the stories' clusters.
pub const NAMESPACE: &str = "default";
/// Name of the release.
pub const RELEASE: &str = "slotmesh";
/// The chart.
pub const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/slotmesh");
/// The chart of the release before, as it was.
pub const CHART_BEFORE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/slotmesh-0.1.0");
const OPERATOR_TAINT: &str = "node-role.kubernetes.io/control-plane";
const DEADLINE: Duration = Duration::from_secs(120);

/// Everything that a story needs.
#[derive(Debug)]
pub struct Stage {
    /// The control plane.
    pub plane: ControlPlane,
    /// Nodes on which operators run, and nothing else.
    pub operators: Nodes,
    run: Arc<RunFolder>,
    networks: Vec<Network>,
    // Or why there is none.
    fabric: std::result::Result<Arc<Fabric>, String>,
}

impl Stage {
    /// Starts the control plane and the operators' nodes, on loopback.
    ///
    /// # Errors
    /// When something does not start.
    pub async fn start(assets: Assets, run: Arc<RunFolder>) -> Result<Self> {
        Self::start_with(assets, run, Options::default()).await
    }

    /// The same with a control plane of that kind.
    ///
    /// # Errors
    /// When something does not start.
    pub async fn start_with(assets: Assets, run: Arc<RunFolder>, options: Options) -> Result<Self> {
        let form = Form::Loopback("this stage was set on loopback".into());
        Self::set(assets, run, options, &form).await
    }

    /// Starts the control plane and the operators' nodes. In a network of our own, nodes can be added on
    /// loopback and [apart](Stage::add_nodes_apart): the operators reach both.
    ///
    /// # Errors
    /// When something does not start.
    pub async fn start_on(assets: Assets, run: Arc<RunFolder>, form: &Form) -> Result<Self> {
        Self::set(assets, run, Options::default(), form).await
    }

    async fn set(
        assets: Assets,
        run: Arc<RunFolder>,
        options: Options,
        form: &Form,
    ) -> Result<Self> {
        let fabric = match form {
            Form::Namespaces(entered) => Ok(Fabric::create(entered)?),
            Form::Loopback(why) => Err(why.clone()),
        };
        let place = match &fabric {
            Ok(fabric) => Place::Harness(fabric.clone()),
            Err(_) => Place::Loopback,
        };
        let plane = ControlPlane::start_with(assets, &run, options).await?;
        let network = Network::claim()?;
        let options = NodesOptions {
            prefix: "control".into(),
            count: 2,
            network: network.number(),
            place,
            images: images()?,
            taint: Some((OPERATOR_TAINT.into(), "NoSchedule".into())),
        };
        let operators = Nodes::start(&plane, &run, &options).await?;
        Ok(Self {
            plane,
            operators,
            run,
            networks: vec![network],
            fabric,
        })
    }

    /// Installs SlotMesh with the real helm, and waits as helm waits.
    ///
    /// # Errors
    /// With what helm said.
    pub async fn install(&self) -> Result<()> {
        let new = ["install", "--create-namespace"];
        self.release(&new, CHART).await
    }

    /// Runs `helm install` or `upgrade`, with flags, for a chart, with operators on their own nodes, and
    /// waits as helm waits.
    ///
    /// # Errors
    /// With what helm said.
    pub async fn release(&self, verb_and_flags: &[&str], chart: &str) -> Result<()> {
        let tolerations =
            format!(r#"tolerations=[{{"key":"{OPERATOR_TAINT}","operator":"Exists"}}]"#);
        let mut arguments = verb_and_flags.to_vec();
        arguments.extend([RELEASE, chart, "--namespace", OPERATOR_NAMESPACE]);
        arguments.extend(["--set-json", &tolerations]);
        arguments.extend(["--set", "nodeSelector.slotmesh\\.dev/e2e=control"]);
        arguments.extend(["--wait", "--timeout", "120s"]);
        self.plane.helm(&arguments).await.map(drop)
    }

    /// Lets operators that were installed without helm run on their nodes, as their user would.
    ///
    /// # Errors
    /// With what kubectl said.
    pub async fn tolerate_operators(&self) -> Result<()> {
        let pod = serde_json::json!({
            "nodeSelector": {"slotmesh.dev/e2e": "control"},
            "tolerations": [{"key": OPERATOR_TAINT, "operator": "Exists"}],
        });
        let patch = serde_json::json!({"spec": {"template": {"spec": pod}}}).to_string();
        let deployment = format!("deployment/{RELEASE}-operator");
        let patch = ["patch", &deployment, "-n", OPERATOR_NAMESPACE, "-p", &patch];
        self.plane.kubectl(&patch).await?;
        let mut rollout = vec!["rollout", "status", &deployment, "-n", OPERATOR_NAMESPACE];
        rollout.extend(["--timeout", "120s"]);
        self.plane.kubectl(&rollout).await.map(drop)
    }

    /// Uninstalls it, and waits as helm waits.
    ///
    /// # Errors
    /// With what helm said.
    pub async fn uninstall(&self) -> Result<()> {
        self.plane
            .helm(&[
                "uninstall",
                RELEASE,
                "--namespace",
                OPERATOR_NAMESPACE,
                "--wait",
                "--timeout",
                "120s",
            ])
            .await
            .map(drop)
    }

    /// Why nodes cannot be in namespaces of their own here, if they cannot.
    #[must_use]
    pub fn why_not_apart(&self) -> Option<&str> {
        self.fabric.as_ref().err().map(String::as_str)
    }

    /// Adds a group of nodes on loopback.
    ///
    /// # Errors
    /// When a node is refused.
    pub async fn add_nodes(&mut self, prefix: &str, count: u8) -> Result<Nodes> {
        self.add_nodes_at(prefix, count, Place::Loopback).await
    }

    /// Adds a group of nodes, each in a network namespace of its own: they can be silenced and cut.
    ///
    /// # Errors
    /// When that cannot be had here, or a node is refused.
    pub async fn add_nodes_apart(&mut self, prefix: &str, count: u8) -> Result<Nodes> {
        let fabric = match &self.fabric {
            Ok(fabric) => fabric.clone(),
            Err(why) => anyhow::bail!("{why}"),
        };
        let place = Place::Namespaces(fabric);
        self.add_nodes_at(prefix, count, place).await
    }

    async fn add_nodes_at(&mut self, prefix: &str, count: u8, place: Place) -> Result<Nodes> {
        let network = Network::claim()?;
        let options = NodesOptions {
            prefix: prefix.into(),
            count,
            network: network.number(),
            place,
            images: images()?,
            taint: None,
        };
        self.networks.push(network);
        Nodes::start(&self.plane, &self.run, &options).await
    }

    /// Applies a GossipCluster with that spec.
    ///
    /// # Errors
    /// With what kubectl said.
    pub async fn apply_cluster(&self, name: &str, spec: &Value) -> Result<()> {
        let object = serde_json::json!({
            "apiVersion": "slotmesh.dev/v1alpha1",
            "kind": "GossipCluster",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": spec,
        });
        let file = self.run.path().join(format!("{name}.json"));
        std::fs::write(&file, serde_json::to_vec_pretty(&object)?)?;
        self.plane
            .kubectl(&["apply", "-f", &file.display().to_string()])
            .await
            .map(drop)
    }

    /// Waits until a cluster is Ready with that many members.
    ///
    /// # Errors
    /// When the deadline passes, with the status as it is.
    pub async fn wait_ready(&self, name: &str, members: i32) -> Result<GossipCluster> {
        self.wait_ready_for(name, members, DEADLINE).await
    }

    /// The same with a deadline of one's own: large clusters take their time.
    ///
    /// # Errors
    /// When the deadline passes, with the status as it is.
    pub async fn wait_ready_for(
        &self,
        name: &str,
        members: i32,
        deadline: Duration,
    ) -> Result<GossipCluster> {
        wait::until(
            &format!("GossipCluster {name} to be Ready with {members} members"),
            deadline,
            async || {
                let cluster = self.cluster(name).await?;
                let status = cluster.status.clone().unwrap_or_default();
                let ready = status
                    .conditions
                    .iter()
                    .any(|c| c.type_ == "Ready" && c.status == "True");
                if ready && status.members == Some(members) {
                    return Ok(Some(cluster));
                }
                anyhow::bail!("status is {}", serde_json::to_string(&status)?)
            },
        )
        .await
    }

    /// The cluster as it is.
    ///
    /// # Errors
    /// When it is not there.
    pub async fn cluster(&self, name: &str) -> Result<GossipCluster> {
        Ok(Api::namespaced(self.plane.client(), NAMESPACE)
            .get(name)
            .await?)
    }

    /// The agents of a cluster, by name.
    ///
    /// # Errors
    /// When the API does not answer.
    pub async fn agents(&self, cluster: &str) -> Result<Vec<Agent>> {
        let pods: Api<Pod> = Api::namespaced(self.plane.client(), NAMESPACE);
        let list = pods
            .list(&ListParams::default().labels(&format!("slotmesh.dev/cluster={cluster}")))
            .await?;
        let mut agents: Vec<Agent> = list.items.iter().filter_map(Agent::of).collect();
        agents.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(agents)
    }

    /// How often each agent of a cluster was started again, by UID of the pod.
    ///
    /// # Errors
    /// When the API does not answer.
    pub async fn restarts(&self, cluster: &str) -> Result<BTreeMap<String, i32>> {
        let pods: Api<Pod> = Api::namespaced(self.plane.client(), NAMESPACE);
        let list = pods
            .list(&ListParams::default().labels(&format!("slotmesh.dev/cluster={cluster}")))
            .await?;
        Ok(list
            .items
            .iter()
            .filter_map(|pod| {
                let containers = pod.status.as_ref()?.container_statuses.as_ref()?;
                Some((pod.uid()?, containers.first()?.restart_count))
            })
            .collect())
    }

    /// Starts an agent outside any pod, in this environment; its output is in [`Stage::log`].
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_agent(&self, name: &str, environment: Vec<(String, String)>) -> Result<Process> {
        let program = Program {
            name: name.to_owned(),
            binary: binary("slotmesh-agent")?,
            arguments: Vec::new(),
            environment,
            namespace: None,
        };
        Process::start(&program, &self.run)
    }

    /// A folder of this run for files of a story.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.run.path().join("stories").join(name);
        std::fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// Number of a pod's process that runs, or of a program started here.
    ///
    /// # Errors
    /// When none runs.
    pub fn pid_of(&self, name: &str) -> Result<u32> {
        let pid = self.run.running_child(name);
        pid.with_context(|| format!("{name} does not run; its log says why"))
    }

    /// What a pod, or a program started here, has logged so far.
    ///
    /// # Errors
    /// When it was never started.
    pub fn log(&self, name: &str) -> Result<String> {
        let path = self.run.log_file(name);
        let bytes =
            std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Ends everything.
    pub async fn stop(self) {
        self.operators.remove().await;
        self.plane.stop().await;
    }
}

/// Image -> binary of this build, beside our own.
fn images() -> Result<BTreeMap<String, PathBuf>> {
    let version = env!("CARGO_PKG_VERSION");
    let mut images = BTreeMap::new();
    for name in ["slotmesh-agent", "slotmesh-operator"] {
        images.insert(format!("slotmesh/{name}:{version}"), binary(name)?);
    }
    Ok(images)
}

/// A program of this build, beside our own.
pub(crate) fn binary(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let mut folders = own.ancestors().skip(1).take(2);
    let found = folders.find_map(|folder: &Path| {
        let path = folder.join(name);
        path.is_file().then_some(path)
    });
    found.with_context(|| {
        format!(
            "no binary {name} beside {}: run `make build`",
            own.display()
        )
    })
}
