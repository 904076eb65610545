//! etcd, kube-apiserver, kube-controller-manager and kube-scheduler as child processes.
//!
//! ```text
//!   etcd ◀─ kube-apiserver ◀─ kube-controller-manager, kube-scheduler     (started in this order,
//!                          ◀─ nodes, operators, kubectl, helm              ended in the opposite one)
//! ```

mod arguments;
mod audit;
mod kubeconfig;
mod tools;

use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use kube::Client;
use nix::sys::signal::Signal;
use tokio::net::TcpStream;

use crate::assets::Assets;
use crate::certificates::Certificates;
use crate::process::{Process, Program};
use crate::run_folder::RunFolder;
use crate::tokens::TokenMint;
use crate::wait;

pub use audit::Write;
pub use tools::Complaint;

/// Time for a component's threads to stop where they are.
const STOP_DEADLINE: Duration = Duration::from_secs(30);
/// Longest wait for the API server, at the start and after a restart.
const START: Duration = Duration::from_secs(90);
/// Another program may take a port between our choice and the component's start.
const ATTEMPTS: u8 = 3;
/// Lines of a component's log that an error shows.
const LOG_LINES: usize = 5;

/// A running control plane. Dropping it ends it.
#[derive(Debug)]
pub struct ControlPlane {
    assets: Assets,
    certificates: Certificates,
    server: String,
    kubeconfig: PathBuf,
    client: Client2,
    audit_log: Option<PathBuf>,
    // In the order of their start.
    running: Vec<Running>,
}

#[derive(Debug)]
struct Running {
    component: Component,
    process: Process,
    // By a test; a component that ended otherwise is a failure.
    killed: bool,
}

/// A part of the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Component {
    /// Holds everything.
    Etcd,
    /// kube-apiserver.
    ApiServer,
    /// kube-controller-manager.
    ControllerManager,
    /// kube-scheduler.
    Scheduler,
}

impl Component {
    /// Name of its program and of its log.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
            Self::Scheduler => "kube-scheduler",
        }
    }
}

/// Where a control plane listens.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Address of the API server. Loopback is enough for nodes on loopback; nodes in network namespaces
    /// need the address of the bridge that they share, which must exist by now.
    pub address: IpAddr,
    /// Whether the API server notes every write, for [`ControlPlane::writes`].
    pub audit: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            audit: false,
        }
    }
}

/// `kube::Client` says nothing of itself.
struct Client2(Client);

impl std::fmt::Debug for Client2 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

impl ControlPlane {
    /// Starts everything on loopback and waits until the API server is ready.
    ///
    /// # Errors
    /// Says which component did not start, and shows the end of its log.
    pub async fn start(assets: Assets, run: &RunFolder) -> Result<Self> {
        Self::start_with(assets, run, Options::default()).await
    }

    /// Starts everything and waits until the API server is ready.
    ///
    /// # Errors
    /// Says which component did not start, and shows the end of its log.
    pub async fn start_with(assets: Assets, run: &RunFolder, options: Options) -> Result<Self> {
        let mut attempt = 1;
        loop {
            let folder = run.path().join(format!("control-plane-{attempt}"));
            let mut plane = Self::prepare(assets.clone(), &folder, options).await?;
            match plane.start_components(run, &folder, options).await {
                Ok(()) => return Ok(plane),
                // Only what ended by itself is worth another attempt: it had no port.
                Err(error) if attempt < ATTEMPTS && plane.ended().is_some() => {
                    tracing::warn!("{error:#}; starting anew with other ports");
                    plane.stop().await;
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Everything but the processes.
    async fn prepare(assets: Assets, folder: &Path, options: Options) -> Result<Self> {
        let certificates = Certificates::create(&folder.join("pki"))?;
        let [port] = free_ports(options.address)?;
        let server = format!("https://{}:{port}", options.address);
        let kubeconfig = folder.join("admin.kubeconfig");
        let admin = certificates.client("admin", Some("system:masters"))?;
        kubeconfig::write(&kubeconfig, &server, &certificates.ca(), &admin)?;
        let client = Client2(kubeconfig::client(&kubeconfig, None).await?);
        let audit_log = options.audit.then(|| folder.join("audit.log"));
        Ok(Self {
            assets,
            certificates,
            server,
            kubeconfig,
            client,
            audit_log,
            running: Vec::new(),
        })
    }

    async fn start_components(
        &mut self,
        run: &RunFolder,
        folder: &Path,
        options: Options,
    ) -> Result<()> {
        let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let [etcd, peer, controllers, scheduler] = free_ports(local)?;
        let etcd_url = format!("http://127.0.0.1:{etcd}");
        let arguments = arguments::etcd(folder, &etcd_url, peer);
        self.start_component(Component::Etcd, arguments, run)?;
        let port = self.server.rsplit_once(':').map_or("", |(_, port)| port);
        let mut arguments =
            arguments::api_server(&self.certificates, folder, &etcd_url, options.address, port)?;
        if let Some(log) = &self.audit_log {
            arguments.extend(audit::arguments(folder, log)?);
        }
        self.start_component(Component::ApiServer, arguments, run)?;
        self.wait_ready().await?;
        for (component, port) in [
            (Component::ControllerManager, controllers),
            (Component::Scheduler, scheduler),
        ] {
            let name = component.name();
            let path = folder.join(format!("{name}.kubeconfig"));
            let pair = self.certificates.client(&format!("system:{name}"), None)?;
            kubeconfig::write(&path, &self.server, &self.certificates.ca(), &pair)?;
            let mut arguments = arguments::client_of_the_api(&path, port);
            if component == Component::ControllerManager {
                arguments.extend(arguments::controllers(&self.certificates, options.address));
            }
            self.start_component(component, arguments, run)?;
        }
        for (component, port) in [
            (Component::ControllerManager, controllers),
            (Component::Scheduler, scheduler),
        ] {
            self.wait_for(component, async || {
                Ok(TcpStream::connect((local, port)).await.is_ok())
            })
            .await?;
        }
        Ok(())
    }

    fn start_component(
        &mut self,
        component: Component,
        arguments: Vec<String>,
        run: &RunFolder,
    ) -> Result<()> {
        let program = Program {
            name: component.name().to_owned(),
            binary: self.assets.path(component.name())?.to_owned(),
            arguments: arguments.into_iter().map(Into::into).collect(),
            environment: Vec::new(),
            namespace: None,
        };
        self.running.push(Running {
            component,
            process: Process::start(&program, run)?,
            killed: false,
        });
        Ok(())
    }

    /// Waits until the API server is ready.
    ///
    /// # Errors
    /// When a component ended by itself, or after a long time, with the end of the log.
    pub async fn wait_ready(&mut self) -> Result<()> {
        let client = self.client();
        // 200 and nothing less: earlier the roles that the controllers need are not there yet.
        self.wait_for(Component::ApiServer, async || {
            let request = hyper::Request::get("/readyz").body(Vec::new())?;
            Ok(client.request_text(request).await? == "ok")
        })
        .await
    }

    /// Waits until a component does something, and no longer than all of them run.
    async fn wait_for(
        &mut self,
        component: Component,
        works: impl AsyncFn() -> Result<bool>,
    ) -> Result<()> {
        let mut ended = None;
        let waited = wait::until(component.name(), START, async || {
            ended = self.ended();
            if ended.is_some() {
                return Ok(Some(()));
            }
            Ok(works().await?.then_some(()))
        })
        .await;
        let suspect = ended.unwrap_or(component);
        let complaint = match (waited, ended) {
            (Ok(()), None) => return Ok(()),
            (Ok(()), Some(ended)) => anyhow::anyhow!("{} ended by itself", ended.name()),
            (Err(error), _) => error,
        };
        Err(complaint.context(end_of_log(self.process(suspect)?.log())))
    }

    /// A component that ended by itself.
    fn ended(&mut self) -> Option<Component> {
        self.running
            .iter_mut()
            .find_map(|it| (!it.killed && it.process.has_ended()).then_some(it.component))
    }

    /// A client with all rights.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.0.clone()
    }

    /// A kubeconfig with all rights.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// URL of the API server.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The CA.
    #[must_use]
    pub fn certificates(&self) -> &Certificates {
        &self.certificates
    }

    /// Makes ServiceAccount tokens as the API server does, also such as it would not make.
    ///
    /// # Errors
    /// When the key cannot be read.
    pub fn token_mint(&self) -> Result<TokenMint> {
        TokenMint::open(&self.certificates.service_account_key())
    }

    /// Every write that the API server has answered so far, whoever made it.
    ///
    /// # Errors
    /// When the control plane was started without `audit`.
    pub fn writes(&self) -> Result<Vec<Write>> {
        let log = self.audit_log.as_deref().context(
            "this control plane notes no writes: start it with `audit: true` in its options",
        )?;
        audit::read(log)
    }

    /// A client that plays another user, with his rights.
    ///
    /// # Errors
    /// When the kubeconfig cannot be read.
    pub async fn client_as(&self, user: &str) -> Result<Client> {
        kubeconfig::client(&self.kubeconfig, Some(user)).await
    }

    /// A client with the rights of a node.
    ///
    /// # Errors
    /// When its files cannot be written.
    pub async fn node_client(&self, node: &str) -> Result<Client> {
        kubeconfig::client(&self.node_kubeconfig(node)?, None).await
    }

    /// A kubeconfig with the rights of a node.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn node_kubeconfig(&self, node: &str) -> Result<PathBuf> {
        let user = format!("system:node:{node}");
        let pair = self.certificates.client(&user, Some("system:nodes"))?;
        let path = pair.key.with_extension("kubeconfig");
        kubeconfig::write(&path, &self.server, &self.certificates.ca(), &pair)?;
        Ok(path)
    }

    /// Freezes a component: an outage that hangs. When this returns nothing of it runs any more.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn pause(&self, component: Component) -> Result<()> {
        let process = self.process(component)?;
        process.signal(Signal::SIGSTOP);
        let what = format!("{} to stand still", process.name());
        wait::until(&what, STOP_DEADLINE, async || {
            Ok(process.stands_still()?.then_some(()))
        })
        .await
    }

    /// Thaws it.
    ///
    /// # Errors
    /// When it does not run.
    pub fn resume(&self, component: Component) -> Result<()> {
        self.process(component)?.signal(Signal::SIGCONT);
        Ok(())
    }

    /// Kills a component and waits until it is gone: an outage that refuses. For one longer than half a
    /// minute kill [`Component::ApiServer`], [`Component::ControllerManager`] and
    /// [`Component::Scheduler`] together: informers of a controller-manager left alone back off, and it
    /// then takes every node for lost.
    ///
    /// # Errors
    /// When there is no such component.
    pub async fn kill(&mut self, component: Component) -> Result<()> {
        let running = self.running_mut(component)?;
        running.killed = true;
        running.process.kill().await;
        Ok(())
    }

    /// Starts a component anew on the same data and port, killed or running.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn restart(&mut self, component: Component) -> Result<()> {
        self.restart_all(&[component]).await
    }

    /// Starts several components anew, in the order given (each needs those before it), and waits until
    /// the API server is ready.
    ///
    /// # Errors
    /// When one does not start.
    pub async fn restart_all(&mut self, components: &[Component]) -> Result<()> {
        for component in components {
            let running = self.running_mut(*component)?;
            running.process.restart().await?;
            running.killed = false;
            // A controller-manager that comes earlier finds no roles yet, and dies of it.
            if *component == Component::ApiServer {
                self.wait_ready().await?;
            }
        }
        self.wait_ready().await
    }

    /// Process number of a component.
    ///
    /// # Errors
    /// When there is no such component.
    pub fn pid(&self, component: Component) -> Result<i32> {
        Ok(self.process(component)?.pid().as_raw())
    }

    fn process(&self, component: Component) -> Result<&Process> {
        let mut all = self.running.iter();
        let found = all.find(|it| it.component == component);
        Ok(&found.with_context(|| not_started(component))?.process)
    }

    fn running_mut(&mut self, component: Component) -> Result<&mut Running> {
        let mut all = self.running.iter_mut();
        let found = all.find(|it| it.component == component);
        found.with_context(|| not_started(component))
    }

    /// Ends everything: the API server by force, because it waits a minute for open watches; etcd last.
    pub async fn stop(mut self) {
        while let Some(mut running) = self.running.pop() {
            running.process.kill().await;
        }
    }
}

/// Ports that are free now; kept open until all are chosen, so that they differ.
fn free_ports<const N: usize>(address: IpAddr) -> Result<[u16; N]> {
    let mut listeners = Vec::new();
    let mut ports = [0; N];
    for port in &mut ports {
        let listener = TcpListener::bind((address, 0)).with_context(|| {
            format!("cannot listen on {address}: does the interface with this address exist?")
        })?;
        *port = listener.local_addr()?.port();
        listeners.push(listener);
    }
    Ok(ports)
}

fn not_started(component: Component) -> String {
    format!("{} was never started", component.name())
}

fn end_of_log(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(LOG_LINES).collect();
    let end: Vec<&str> = lines.into_iter().rev().collect();
    format!("see {}, which ends:\n{}", log.display(), end.join("\n"))
}
