//! etcd, kube-apiserver, kube-controller-manager and kube-scheduler as child processes on loopback.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use nix::sys::signal::Signal;
use tokio::process::Command;

use crate::assets::Assets;
use crate::certificates::{Certificates, Pair};
use crate::process::{Process, Program};
use crate::run_folder::RunFolder;
use crate::wait;

const START: Duration = Duration::from_secs(90);
const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A running control plane. Dropping it ends it.
#[derive(Debug)]
pub struct ControlPlane {
    assets: Assets,
    certificates: Certificates,
    server: String,
    kubeconfig: PathBuf,
    client: Client2,
    processes: Vec<Process>,
}

/// `kube::Client` says nothing of itself.
struct Client2(Client);

impl std::fmt::Debug for Client2 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

impl ControlPlane {
    /// Starts everything and waits until the API server is ready.
    ///
    /// # Errors
    /// Says which component did not start, and where its log is.
    pub async fn start(assets: Assets, run: &RunFolder) -> Result<Self> {
        let folder = run.path().join("control-plane");
        let certificates = Certificates::create(&folder.join("pki"))?;
        let [etcd_port, peer_port, api_port, kcm_port, scheduler_port] = free_ports()?;
        let etcd_url = format!("http://127.0.0.1:{etcd_port}");
        let server = format!("https://127.0.0.1:{api_port}");
        let mut processes = Vec::new();

        let mut start = |name: &str, arguments: Vec<String>| -> Result<()> {
            let program = Program {
                name: name.to_owned(),
                binary: assets.path(name)?.to_owned(),
                arguments: arguments.into_iter().map(OsString::from).collect(),
                environment: Vec::new(),
            };
            processes.push(Process::start(&program, run)?);
            Ok(())
        };
        start(
            "etcd",
            vec![
                format!("--data-dir={}", folder.join("etcd").display()),
                format!("--listen-client-urls={etcd_url}"),
                format!("--advertise-client-urls={etcd_url}"),
                format!("--listen-peer-urls=http://127.0.0.1:{peer_port}"),
                "--unsafe-no-fsync".into(),
                "--log-level=warn".into(),
            ],
        )?;
        start(
            "kube-apiserver",
            api_server_arguments(&certificates, &folder, &etcd_url, api_port)?,
        )?;

        let kubeconfig = folder.join("admin.kubeconfig");
        write_kubeconfig(
            &kubeconfig,
            &server,
            &certificates,
            &certificates.client("admin", Some("system:masters"))?,
        )?;
        let client = client_of(&kubeconfig).await?;
        // 200 and nothing less: earlier the roles that the controllers need are not there yet.
        wait::until("the API server", START, async || {
            let ready = client.request_text(http_request("/readyz")?).await?;
            Ok((ready == "ok").then_some(()))
        })
        .await
        .with_context(|| format!("see {}", run.log_file("kube-apiserver").display()))?;

        for (name, port, extra) in [
            (
                "kube-controller-manager",
                kcm_port,
                controller_manager_arguments(&certificates),
            ),
            ("kube-scheduler", scheduler_port, Vec::new()),
        ] {
            let path = folder.join(format!("{name}.kubeconfig"));
            write_kubeconfig(
                &path,
                &server,
                &certificates,
                &certificates.client(&format!("system:{name}"), None)?,
            )?;
            let mut arguments = vec![
                format!("--kubeconfig={}", path.display()),
                format!("--authentication-kubeconfig={}", path.display()),
                format!("--authorization-kubeconfig={}", path.display()),
                "--leader-elect=false".into(),
                "--bind-address=127.0.0.1".into(),
                format!("--secure-port={port}"),
            ];
            arguments.extend(extra);
            start(name, arguments)?;
        }
        Ok(Self {
            assets,
            certificates,
            server,
            kubeconfig,
            client: Client2(client),
            processes,
        })
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

    /// A client with the rights of a node.
    ///
    /// # Errors
    /// When its files cannot be written.
    pub async fn node_client(&self, node: &str) -> Result<Client> {
        let pair = self
            .certificates
            .client(&format!("system:node:{node}"), Some("system:nodes"))?;
        let path = pair.key.with_extension("kubeconfig");
        write_kubeconfig(&path, &self.server, &self.certificates, &pair)?;
        client_of(&path).await
    }

    /// Runs kubectl; its output.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.tool("kubectl", arguments).await
    }

    /// Runs helm; its output.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub async fn helm(&self, arguments: &[&str]) -> Result<String> {
        self.tool("helm", arguments).await
    }

    async fn tool(&self, name: &str, arguments: &[&str]) -> Result<String> {
        let home = self.kubeconfig.parent().context("no folder")?;
        let output = Command::new(self.assets.path(name)?)
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", home)
            .env("KUBECONFIG", &self.kubeconfig)
            .kill_on_drop(true)
            .output()
            .await?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("{name} {} failed: {}", arguments.join(" "), said.trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Freezes or thaws a component: an outage that hangs.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn signal(&self, component: &str, signal: Signal) -> Result<()> {
        let process = self
            .processes
            .iter()
            .find(|process| process.name() == component);
        process
            .with_context(|| format!("no component {component}"))?
            .signal(signal);
        Ok(())
    }

    /// Ends everything: the API server by force, because it waits a minute for open watches; etcd last.
    pub async fn stop(mut self) {
        while let Some(mut process) = self.processes.pop() {
            process.kill().await;
        }
    }
}

fn api_server_arguments(
    certificates: &Certificates,
    folder: &Path,
    etcd: &str,
    port: u16,
) -> Result<Vec<String>> {
    let server = certificates.server(&[LOCAL, IpAddr::from([10, 0, 0, 1])])?;
    let kubelet = certificates.client("kube-apiserver-kubelet-client", Some("system:masters"))?;
    let file = |flag: &str, path: &Path| format!("--{flag}={}", path.display());
    Ok(vec![
        format!("--etcd-servers={etcd}"),
        format!("--secure-port={port}"),
        "--bind-address=127.0.0.1".into(),
        "--advertise-address=127.0.0.1".into(),
        "--service-cluster-ip-range=10.0.0.0/24".into(),
        file("tls-cert-file", &server.certificate),
        file("tls-private-key-file", &server.key),
        file("client-ca-file", &certificates.ca()),
        "--service-account-issuer=https://kubernetes.default.svc".into(),
        file(
            "service-account-key-file",
            &certificates.service_account_public_key(),
        ),
        file(
            "service-account-signing-key-file",
            &certificates.service_account_key(),
        ),
        "--authorization-mode=Node,RBAC".into(),
        "--enable-admission-plugins=NodeRestriction".into(),
        "--allow-privileged=true".into(),
        file("kubelet-client-certificate", &kubelet.certificate),
        file("kubelet-client-key", &kubelet.key),
        "--kubelet-preferred-address-types=InternalIP".into(),
        // Loopback addresses are refused as endpoints, every ten seconds anew.
        "--endpoint-reconciler-type=none".into(),
        file("cert-dir", &folder.join("apiserver")),
    ])
}

fn controller_manager_arguments(certificates: &Certificates) -> Vec<String> {
    let file = |flag: &str, path: &Path| format!("--{flag}={}", path.display());
    vec![
        file("service-account-private-key-file", &certificates.service_account_key()),
        file("root-ca-file", &certificates.ca()),
        "--use-service-account-credentials".into(),
        file("cluster-signing-cert-file", &certificates.ca()),
        file("cluster-signing-key-file", &certificates.ca_key()),
        // Endpoints refuse loopback addresses, so Services have none here.
        "--controllers=*,-endpoints-controller,-endpointslice-controller,-endpointslice-mirroring-controller".into(),
    ]
}

/// Ports that are free now; kept open until all are chosen, so that they differ.
fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let mut listeners = Vec::new();
    let mut ports = [0; N];
    for port in &mut ports {
        let listener = TcpListener::bind((LOCAL, 0))?;
        *port = listener.local_addr()?.port();
        listeners.push(listener);
    }
    Ok(ports)
}

fn write_kubeconfig(
    path: &Path,
    server: &str,
    certificates: &Certificates,
    pair: &Pair,
) -> Result<()> {
    let text = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "local", "cluster": {"server": server, "certificate-authority": certificates.ca()}}],
        "users": [{"name": "user", "user": {"client-certificate": pair.certificate, "client-key": pair.key}}],
        "contexts": [{"name": "local", "context": {"cluster": "local", "user": "user"}}],
        "current-context": "local",
    });
    std::fs::write(path, serde_json::to_vec_pretty(&text)?)
        .with_context(|| format!("cannot write {}", path.display()))
}

async fn client_of(kubeconfig: &Path) -> Result<Client> {
    let parsed = Kubeconfig::read_from(kubeconfig)?;
    let mut config = Config::from_custom_kubeconfig(parsed, &KubeConfigOptions::default()).await?;
    // A proxy of the machine is not for loopback.
    config.proxy_url = None;
    Ok(Client::try_from(config)?)
}

fn http_request(path: &str) -> Result<hyper::Request<Vec<u8>>> {
    Ok(hyper::Request::get(path).body(Vec::new())?)
}
