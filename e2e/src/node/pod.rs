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
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, ResourceExt};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::probe::Prober;
use super::volumes::Volumes;
use super::{Host, Starts, Verbs, map_path};
use crate::process::{Process, Program, exit_code};

/// Pause between looks at volumes.
const REFRESH: Duration = Duration::from_secs(2);
/// A kubelet's back-off: at once, then 10 s doubling to 5 min.
const BACKOFF_MIN: Duration = Duration::from_secs(10);
const BACKOFF_MAX: Duration = Duration::from_secs(300);
const NEVER: Duration = Duration::from_secs(3600);

/// What is told of the one container.
#[derive(Clone, Debug, Default, PartialEq)]
struct Told {
    state: Value,
    last: Value,
    ready: bool,
    started: bool,
    restarts: i32,
}

struct Life {
    host: Arc<Host>,
    pod: watch::Receiver<Arc<Pod>>,
    verbs: watch::Receiver<Verbs>,
    starts: watch::Sender<Starts>,
    container: Container,
    ip: IpAddr,
    volumes: Volumes,
    told: Told,
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
        told: Told {
            state: json!({"waiting": {"reason": "ContainerCreating"}}),
            ..Told::default()
        },
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
            match self.run_once(pod, binary).await? {
                End::Deleted => return Ok(()),
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
        let mut process = Process::start(&self.program(pod, binary)?, &self.host.run)?;
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
                    match prober.probe(&self.container, self.ip).await {
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
                    if prober.probe(&self.container, self.ip).await == Some(false) {
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

    /// Writes the status; a failure is made good by the next.
    async fn tell(&mut self) {
        let pod = self.pod.borrow().clone();
        let ended = self.told.state.get("terminated").is_some();
        let phase = if self.told.state.get("running").is_some() || self.told.restarts > 0 {
            "Running"
        } else {
            "Pending"
        };
        let phase = if ended { "Succeeded" } else { phase };
        let now = jiff::Timestamp::now();
        let before = pod
            .status
            .as_ref()
            .and_then(|status| status.conditions.clone())
            .unwrap_or_default();
        let condition = |kind: &str, holds: bool| {
            let status = if holds { "True" } else { "False" };
            let since = before
                .iter()
                .find(|c| c.type_ == kind && c.status == status);
            let since = since
                .and_then(|c| c.last_transition_time.clone())
                .map_or(now, |time| time.0);
            json!({"type": kind, "status": status, "lastTransitionTime": since})
        };
        let image = self.container.image.clone().unwrap_or_default();
        let status = json!({"status": {
            "phase": phase,
            "hostIP": self.host.address,
            "hostIPs": [{"ip": self.host.address}],
            "podIP": self.ip,
            "podIPs": [{"ip": self.ip}],
            "startTime": pod.metadata.creation_timestamp,
            "conditions": [
                condition("PodScheduled", true),
                condition("Initialized", true),
                condition("ContainersReady", self.told.ready),
                condition("Ready", self.told.ready),
            ],
            "containerStatuses": [{
                "name": self.container.name,
                "image": image,
                "imageID": image,
                "ready": self.told.ready,
                "started": self.told.started,
                "restartCount": self.told.restarts,
                "state": self.told.state,
                "lastState": if self.told.last.is_null() { json!({}) } else { self.told.last.clone() },
            }],
        }});
        let pods: Api<Pod> = Api::namespaced(
            self.host.client.clone(),
            &pod.namespace().unwrap_or_default(),
        );
        let patch = Patch::Merge(status);
        if let Err(error) = pods
            .patch_status(&pod.name_any(), &PatchParams::default(), &patch)
            .await
        {
            tracing::debug!(pod = pod.name_any(), %error, "status");
        }
    }
}

fn terminated(code: i32) -> Value {
    let reason = if code == 0 { "Completed" } else { "Error" };
    json!({"terminated": {"exitCode": code, "reason": reason, "finishedAt": jiff::Timestamp::now()}})
}

/// Returns when the pod is being deleted.
async fn deleted(pod: &mut watch::Receiver<Arc<Pod>>) {
    // The sender goes when the pod is gone altogether.
    let _ = pod
        .wait_for(|pod| pod.metadata.deletion_timestamp.is_some())
        .await;
}

/// The process has ended: the object may go.
pub(super) async fn finalize(host: &Host, pod: &Pod) -> Result<()> {
    let pods: Api<Pod> = Api::namespaced(host.client.clone(), &pod.namespace().unwrap_or_default());
    let only_this = Preconditions {
        uid: pod.uid(),
        resource_version: None,
    };
    let parameters = DeleteParams {
        grace_period_seconds: Some(0),
        preconditions: Some(only_this),
        ..DeleteParams::default()
    };
    if let Some(uid) = pod.uid() {
        let _ = std::fs::remove_dir_all(host.pod_folder(&uid));
    }
    match pods.delete(&pod.name_any(), &parameters).await {
        Err(kube::Error::Api(error)) if matches!(error.code, 404 | 409) => Ok(()),
        result => Ok(result.map(drop)?),
    }
}

/// A field of the downward API.
pub(super) fn field(pod: &Pod, path: &str, host: &Host) -> Option<String> {
    let metadata = &pod.metadata;
    let of_map = |map: &Option<BTreeMap<String, String>>, rest: &str| {
        let key = rest.strip_prefix("['")?.strip_suffix("']")?;
        map.as_ref()?.get(key).cloned()
    };
    if let Some(rest) = path.strip_prefix("metadata.labels") {
        return of_map(&metadata.labels, rest);
    }
    if let Some(rest) = path.strip_prefix("metadata.annotations") {
        return of_map(&metadata.annotations, rest);
    }
    match path {
        "metadata.name" => metadata.name.clone(),
        "metadata.namespace" => metadata.namespace.clone(),
        "metadata.uid" => metadata.uid.clone(),
        "spec.nodeName" => Some(host.node.clone()),
        "spec.serviceAccountName" => pod.spec.as_ref()?.service_account_name.clone(),
        "status.hostIP" => Some(host.address.to_string()),
        _ => None,
    }
}
