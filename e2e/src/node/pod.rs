//! The life of one pod: one process for each container, restarted with back-off, probed, reported, and
//! ended with grace.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{Container, Pod};
use kube::ResourceExt;
use nix::sys::signal::Signal;
use serde_json::json;
use tokio::sync::watch;

use super::probe::Prober;
use super::status::{Told, field, finalize, terminated};
use super::volumes::Volumes;
use super::{Host, Starts, Verbs, map_path};
use crate::process::{Process, Program, exit_code};

/// Pause between looks at volumes.
const REFRESH: Duration = Duration::from_secs(2);
/// A kubelet's back-off: at once, then 10 s doubling to 5 min.
const BACKOFF_MIN: Duration = Duration::from_secs(10);
const BACKOFF_MAX: Duration = Duration::from_secs(300);
const NEVER: Duration = Duration::from_secs(3600);

pub(super) struct Life {
    pub(super) host: Arc<Host>,
    pub(super) pod: watch::Receiver<Arc<Pod>>,
    verbs: watch::Receiver<Verbs>,
    starts: watch::Sender<Starts>,
    pub(super) container: Container,
    pub(super) ip: IpAddr,
    volumes: Volumes,
    pub(super) told: Told,
}

/// How a process came to its end.
enum End {
    ByItself(i32),
    Deleted,
}

/// Runs a pod until it is deleted.
pub(super) async fn run(
    host: Arc<Host>,
    pod: watch::Receiver<Arc<Pod>>,
    verbs: watch::Receiver<Verbs>,
    starts: watch::Sender<Starts>,
) {
    let current = pod.borrow().clone();
    let name = current.name_any();
    if let Err(error) = live(host.clone(), pod, verbs, starts).await {
        tracing::warn!(
            pod = name,
            node = host.node,
            error = format!("{error:#}"),
            "a pod was given up"
        );
    }
}

async fn live(
    host: Arc<Host>,
    pod: watch::Receiver<Arc<Pod>>,
    verbs: watch::Receiver<Verbs>,
    starts: watch::Sender<Starts>,
) -> Result<()> {
    let current = pod.borrow().clone();
    let uid = current.uid().context("a pod without UID")?;
    let spec = current.spec.as_ref().context("a pod without spec")?;
    let container = spec
        .containers
        .first()
        .cloned()
        .context("a pod without containers")?;
    let image = container.image.clone().unwrap_or_default();
    let mut life = Life {
        ip: host.address_of(&uid)?,
        volumes: Volumes::new(host.pod_folder(&uid)),
        told: Told::after(&current),
        host,
        pod,
        verbs,
        starts,
        container,
    };
    let unsupported =
        spec.containers.len() > 1 || spec.init_containers.as_ref().is_some_and(|c| !c.is_empty());
    let binary = life
        .host
        .images
        .get(&image)
        .cloned()
        .filter(|_| !unsupported);
    let Some(binary) = binary else {
        let message =
            format!("process nodes run one container of a known image; this is `{image}`");
        life.told.state = json!({"waiting": {"reason": "ErrImagePull", "message": message}});
        life.tell().await;
        life.deletion().await;
        return finalize(&life.host, &current).await;
    };
    life.tell().await;
    loop {
        match life.volumes.refresh(&life.host, &current).await {
            Ok(()) => break,
            Err(error) => tracing::debug!(
                pod = current.name_any(),
                error = format!("{error:#}"),
                "volumes"
            ),
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(200)) => {}
            () = deleted(&mut life.pod) => return finalize(&life.host, &current).await,
        }
    }
    life.run_container(&current, &binary).await?;
    finalize(&life.host, &current).await
}

impl Life {
    /// Runs the container again and again, until the pod is deleted.
    async fn run_container(&mut self, pod: &Pod, binary: &Path) -> Result<()> {
        let mut backoff = Duration::ZERO;
        loop {
            let begun = Instant::now();
            let end = self.run_once(pod, binary).await;
            self.host.logs.end(&self.log_key(pod));
            match end? {
                End::Deleted => return Ok(()),
                End::ByItself(code) if !restarts(pod, code) => {
                    self.told.state = terminated(code);
                    (self.told.ready, self.told.started) = (false, false);
                    self.tell().await;
                    self.deletion().await;
                    return Ok(());
                }
                End::ByItself(code) => {
                    self.told.last = terminated(code);
                    self.told.state = json!({"waiting": {"reason": "CrashLoopBackOff"}});
                    (self.told.ready, self.told.started) = (false, false);
                    self.told.restarts += 1;
                    self.tell().await;
                }
            }
            if begun.elapsed() > BACKOFF_MAX * 2 {
                backoff = Duration::ZERO;
            }
            let again = Instant::now() + backoff;
            backoff = (backoff * 2).clamp(BACKOFF_MIN, BACKOFF_MAX);
            // Held down by a test, or backing off; a release starts it at once.
            loop {
                let held = self.verbs.borrow_and_update().held;
                if !held && Instant::now() >= again {
                    break;
                }
                let wait = if held {
                    NEVER
                } else {
                    again.saturating_duration_since(Instant::now())
                };
                let mut pod = self.pod.clone();
                tokio::select! {
                    changed = self.verbs.changed() => {
                        changed?;
                        if held && !self.verbs.borrow().held {
                            break;
                        }
                    }
                    () = tokio::time::sleep(wait) => {}
                    () = deleted(&mut pod) => return Ok(()),
                }
            }
        }
    }

    async fn run_once(&mut self, pod: &Pod, binary: &Path) -> Result<End> {
        let program = self.program(pod, binary)?;
        let log = self.host.run.log_file(&program.name);
        self.host.logs.begin(self.log_key(pod), &log);
        let mut process = Process::start(&program, &self.host.run)?;
        self.starts.send_modify(|starts| {
            starts.count += 1;
            starts.last = Some(Instant::now());
        });
        self.told.state = json!({"running": {"startedAt": jiff::Timestamp::now()}});
        self.told.started = self.container.startup_probe.is_none();
        self.told.ready = self.told.started && self.container.readiness_probe.is_none();
        self.tell().await;
        let mut startup = Prober::new(self.container.startup_probe.as_ref());
        let mut readiness = Prober::new(self.container.readiness_probe.as_ref());
        let mut liveness = Prober::new(self.container.liveness_probe.as_ref());
        let mut refresh = tokio::time::interval(REFRESH);
        let started = Instant::now();
        let (mut next_ready, mut next_live) = (started, started);
        let mut done = *self.verbs.borrow_and_update();
        loop {
            let starting = startup.is_some() && !self.told.started;
            let mut pod_changes = self.pod.clone();
            let ready_wait = if starting || readiness.is_some() {
                next_ready.saturating_duration_since(Instant::now())
            } else {
                NEVER
            };
            let live_wait = if !starting && liveness.is_some() {
                next_live.saturating_duration_since(Instant::now())
            } else {
                NEVER
            };
            tokio::select! {
                status = process.wait() => return Ok(End::ByItself(exit_code(status?))),
                () = deleted(&mut pod_changes) => {
                    self.end(&mut process).await;
                    return Ok(End::Deleted);
                }
                changed = self.verbs.changed() => {
                    changed?;
                    let now = *self.verbs.borrow_and_update();
                    if now.frozen != done.frozen {
                        process.signal(if now.frozen { Signal::SIGSTOP } else { Signal::SIGCONT });
                    }
                    if now.kills != done.kills {
                        process.signal(Signal::SIGKILL);
                    }
                    done = now;
                }
                _ = refresh.tick() => {
                    if let Err(error) = self.volumes.refresh(&self.host, pod).await {
                        tracing::debug!(error = format!("{error:#}"), "volumes");
                    }
                }
                () = tokio::time::sleep(ready_wait) => {
                    let prober = if starting { &mut startup } else { &mut readiness };
                    let Some(prober) = prober else { continue };
                    next_ready = Instant::now() + prober.period();
                    match prober.probe(&self.host, &self.container, self.ip).await {
                        Some(true) if starting => {
                            self.told.started = true;
                            self.told.ready = readiness.is_none();
                            next_ready = Instant::now();
                        }
                        Some(false) if starting => process.signal(Signal::SIGKILL),
                        Some(well) => self.told.ready = well,
                        None => {}
                    }
                    self.tell().await;
                }
                () = tokio::time::sleep(live_wait) => {
                    let Some(prober) = &mut liveness else { continue };
                    next_live = Instant::now() + prober.period();
                    if prober.probe(&self.host, &self.container, self.ip).await == Some(false) {
                        process.signal(Signal::SIGKILL);
                    }
                }
            }
        }
    }

    /// SIGTERM, then after the grace period SIGKILL.
    async fn end(&mut self, process: &mut Process) {
        process.signal(Signal::SIGCONT);
        process.signal(Signal::SIGTERM);
        let grace = self
            .pod
            .borrow()
            .metadata
            .deletion_grace_period_seconds
            .unwrap_or(30);
        let grace = Duration::from_secs(u64::try_from(grace).unwrap_or(30));
        let code = match tokio::time::timeout(grace, process.wait()).await {
            Ok(Ok(status)) => exit_code(status),
            _ => {
                process.kill().await;
                137
            }
        };
        self.told.state = terminated(code);
        (self.told.ready, self.told.started) = (false, false);
        self.tell().await;
    }

    fn log_key(&self, pod: &Pod) -> (String, String, String) {
        let namespace = pod.namespace().unwrap_or_default();
        (namespace, pod.name_any(), self.container.name.clone())
    }

    async fn deletion(&mut self) {
        deleted(&mut self.pod).await;
    }

    fn program(&self, pod: &Pod, binary: &Path) -> Result<Program> {
        let mut mounts = self.volumes.mounts(pod);
        let mut environment = BTreeMap::new();
        for entry in self.container.env.iter().flatten() {
            let from = entry
                .value_from
                .as_ref()
                .and_then(|from| from.field_ref.as_ref());
            let value = match (&entry.value, from) {
                (Some(value), _) => value.clone(),
                (None, Some(field_ref)) if field_ref.field_path == "status.podIP" => {
                    self.ip.to_string()
                }
                (None, Some(field_ref)) => {
                    field(pod, &field_ref.field_path, &self.host).unwrap_or_default()
                }
                (None, None) => String::new(),
            };
            environment.insert(entry.name.clone(), map_path(&value, &mounts));
        }
        let token = mounts
            .iter()
            .find(|(path, _)| path == "/var/run/secrets/kubernetes.io/serviceaccount");
        if let Some((_, folder)) = token {
            let kubeconfig = self.kubeconfig(folder)?;
            environment.insert("KUBECONFIG".into(), kubeconfig.display().to_string());
        }
        mounts.retain(|(path, _)| path != "/");
        let words = self
            .container
            .command
            .iter()
            .flatten()
            .skip(1)
            .chain(self.container.args.iter().flatten());
        Ok(Program {
            name: pod.name_any(),
            binary: binary.to_owned(),
            arguments: words
                .map(|word| OsString::from(map_path(word, &mounts)))
                .collect(),
            environment: environment.into_iter().collect(),
            namespace: self.host.namespace_path(),
        })
    }

    /// In a pod the API server is found through a Service; here through a kubeconfig with the token.
    fn kubeconfig(&self, token_folder: &Path) -> Result<PathBuf> {
        let path = token_folder.with_extension("kubeconfig");
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "local", "cluster": {"server": self.host.server, "certificate-authority": self.host.ca}}],
            "users": [{"name": "pod", "user": {"tokenFile": token_folder.join("token")}}],
            "contexts": [{"name": "local", "context": {"cluster": "local", "user": "pod"}}],
            "current-context": "local",
        });
        super::write_whole(&path, &serde_json::to_vec(&config)?)?;
        Ok(path)
    }
}

/// Returns when the pod is being deleted.
async fn deleted(pod: &mut watch::Receiver<Arc<Pod>>) {
    // The sender goes when the pod is gone altogether.
    let _ = pod
        .wait_for(|pod| pod.metadata.deletion_timestamp.is_some())
        .await;
}

/// Whether a container that ended with that code is started again.
fn restarts(pod: &Pod, code: i32) -> bool {
    let policy = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.restart_policy.as_deref());
    match policy {
        Some("Never") => false,
        Some("OnFailure") => code != 0,
        _ => true,
    }
}
