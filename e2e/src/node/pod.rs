//! The life of one pod: one process for each container, restarted with back-off, probed, reported, and
//! ended with grace.
//!
//! ```text
//!   verbs, deletion ─▶ life ─▶ process        told ─▶ writer of the status ─▶ API
//!                       ▲  └──▶ told ◀─ probes       volumes, kept up to date ◀─ API
//!                       └─────────────────────────────── mounted
//! ```
//!
//! Only the writer and the volumes ask the API, beside the life and not within it: while the API hangs
//! or the node is cut off from it, processes are still started, watched, killed, held and frozen.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{Container, Pod};
use kube::ResourceExt;
use nix::sys::signal::Signal;
use serde_json::json;
use tokio::sync::watch;

use super::probe::Probes;
use super::refused::refusal;
use super::status::{Teller, Told, field, finalize, running, terminated};
use super::volumes::{Mounted, Volumes};
use super::{Host, Starts, Verbs, map_path};
use crate::process::{Process, Program, exit_code};

/// A kubelet's back-off: at once, then 10 s doubling to 5 min.
const BACKOFF_MIN: Duration = Duration::from_secs(10);
const BACKOFF_MAX: Duration = Duration::from_secs(300);
const NEVER: Duration = Duration::from_secs(3600);

struct Life {
    host: Arc<Host>,
    pod: watch::Receiver<Arc<Pod>>,
    verbs: watch::Receiver<Verbs>,
    starts: watch::Sender<Starts>,
    container: Container,
    ip: IpAddr,
    mounts: Vec<(String, PathBuf)>,
    mounted: watch::Receiver<Mounted>,
    told: watch::Sender<Told>,
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
    let volumes = Volumes::new(host.pod_folder(&uid));
    let (told, news) = watch::channel(Told::after(&current));
    let (mounting, mounted) = watch::channel(Mounted::NotYet);
    let teller = Teller {
        host: host.clone(),
        pod: pod.clone(),
        container: container.clone(),
        ip: host.address_of(&uid)?,
    };
    let mut life = Life {
        ip: teller.ip,
        mounts: volumes.mounts(&current),
        mounted,
        told,
        host,
        pod,
        verbs,
        starts,
        container,
    };
    let kept = volumes.keep_fresh(&teller.host, life.pod.clone(), &mounting);
    tokio::select! {
        () = life.live(&current) => {}
        never = teller.keep_told(news) => match never {},
        never = kept => match never {},
    }
    // One attempt: what is to be deleted need not be told of for ever.
    let last = life.told.borrow().clone();
    if let Err(error) = teller.tell(&last).await {
        tracing::debug!(pod = current.name_any(), %error, "the last status");
    }
    finalize(&life.host, &current).await
}

impl Life {
    /// Everything until the pod is to be deleted and its process has ended.
    async fn live(&mut self, pod: &Pod) {
        if let Some(what) = refusal(pod) {
            let message = format!("process nodes do not do this: {what}");
            return self.wait_in_vain("CreateContainerError", &message).await;
        }
        let image = self.container.image.clone().unwrap_or_default();
        let Some(binary) = self.host.images.get(&image).cloned() else {
            let message = format!("process nodes run known images; this is `{image}`");
            return self.wait_in_vain("ErrImagePull", &message).await;
        };
        if !self.mounted().await {
            return;
        }
        if let Err(error) = self.run_container(pod, &binary).await {
            tracing::warn!(
                pod = pod.name_any(),
                node = self.host.node,
                error = format!("{error:#}"),
                "a container cannot run"
            );
            self.wait_in_vain("CreateContainerError", &format!("{error:#}"))
                .await;
        }
    }

    /// Nothing is run: says why until the pod is deleted.
    async fn wait_in_vain(&mut self, reason: &str, message: &str) {
        self.wait_for(reason, message);
        deleted(&mut self.pod).await;
    }

    fn wait_for(&self, reason: &str, message: &str) {
        self.told.send_modify(|told| {
            told.state = json!({"waiting": {"reason": reason, "message": message}});
            (told.ready, told.started) = (false, false);
        });
    }

    /// Waits until everything is mounted; false when the pod is deleted first.
    async fn mounted(&mut self) -> bool {
        loop {
            let mounted = self.mounted.borrow_and_update().clone();
            match mounted {
                Mounted::All => return true,
                Mounted::NotYet => {}
                Mounted::Failed(why) => self.wait_for("ContainerCreating", &why),
            }
            tokio::select! {
                () = deleted(&mut self.pod) => return false,
                changed = self.mounted.changed() => if changed.is_err() {
                    return false;
                },
            }
        }
    }

    /// Runs the container again and again, until the pod is deleted.
    async fn run_container(&mut self, pod: &Pod, binary: &Path) -> Result<()> {
        let mut backoff = Duration::ZERO;
        let mut again = Instant::now();
        while self.may_start(again).await {
            let begun = Instant::now();
            let end = self.run_once(pod, binary).await;
            self.host.logs.end(&self.log_key(pod));
            match end? {
                End::Deleted => return Ok(()),
                End::ByItself(code) if !restarts(pod, code) => {
                    self.tell_end(code);
                    deleted(&mut self.pod).await;
                    return Ok(());
                }
                End::ByItself(code) => self.told.send_modify(|told| {
                    told.last = terminated(code);
                    told.state = json!({"waiting": {"reason": "CrashLoopBackOff"}});
                    (told.ready, told.started) = (false, false);
                    told.restarts += 1;
                }),
            }
            if begun.elapsed() > BACKOFF_MAX * 2 {
                backoff = Duration::ZERO;
            }
            again = Instant::now() + backoff;
            backoff = (backoff * 2).clamp(BACKOFF_MIN, BACKOFF_MAX);
        }
        Ok(())
    }

    /// Waits while a test holds it down, and for the end of the back-off; a release starts it at once.
    /// False when the pod is deleted first.
    async fn may_start(&mut self, mut again: Instant) -> bool {
        loop {
            let held = self.verbs.borrow_and_update().held;
            if !held && Instant::now() >= again {
                return true;
            }
            let wait = if held {
                NEVER
            } else {
                again.saturating_duration_since(Instant::now())
            };
            tokio::select! {
                biased;
                () = deleted(&mut self.pod) => return false,
                changed = self.verbs.changed() => {
                    if changed.is_err() {
                        return false;
                    }
                    if held && !self.verbs.borrow().held {
                        again = Instant::now();
                    }
                }
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    async fn run_once(&mut self, pod: &Pod, binary: &Path) -> Result<End> {
        let program = self.program(pod, binary)?;
        let log = self.host.run.log_file(&program.name);
        self.host.logs.begin(self.log_key(pod), &log);
        // Looked at before it starts: whatever is ordered from here on is meant for this process.
        let mut done = *self.verbs.borrow_and_update();
        let mut process = Process::start(&program, &self.host.run)?;
        if done.frozen {
            process.signal(Signal::SIGSTOP);
        }
        self.starts.send_modify(|starts| {
            starts.count += 1;
            starts.last = Some(Instant::now());
        });
        self.told.send_modify(|told| {
            told.state = running();
            told.started = self.container.startup_probe.is_none();
            told.ready = told.started && self.container.readiness_probe.is_none();
        });
        let probes = Probes::of(&self.container);
        let mut failing =
            pin!(probes.until_failing(&self.host, &self.container, self.ip, &self.told));
        let mut failed = false;
        loop {
            tokio::select! {
                biased;
                status = process.wait() => return Ok(End::ByItself(exit_code(status?))),
                () = deleted(&mut self.pod) => {
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
                () = &mut failing, if !failed => {
                    failed = true;
                    process.signal(Signal::SIGKILL);
                }
            }
        }
    }

    /// SIGTERM, then after the grace period SIGKILL.
    async fn end(&self, process: &mut Process) {
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
        self.tell_end(code);
    }

    fn tell_end(&self, code: i32) {
        self.told.send_modify(|told| {
            told.state = terminated(code);
            (told.ready, told.started) = (false, false);
        });
    }

    fn log_key(&self, pod: &Pod) -> (String, String, String) {
        let namespace = pod.namespace().unwrap_or_default();
        (namespace, pod.name_any(), self.container.name.clone())
    }

    fn program(&self, pod: &Pod, binary: &Path) -> Result<Program> {
        let mut mounts = self.mounts.clone();
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
