//! Volumes of a pod as folders: ConfigMaps, Secrets, projected tokens, the downward API. They are
//! written before the process starts and kept up to date while it runs. An emptyDir is a folder that is
//! left alone: it outlives containers, and goes with the pod's folder.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{
    ConfigMap, KeyToPath, Pod, Secret, ServiceAccount, ServiceAccountTokenProjection, Volume,
    VolumeProjection,
};
use kube::api::PostParams;
use kube::{Api, ResourceExt};
use tokio::sync::watch;

use super::{Host, write_whole};

/// Tokens are renewed when this share of their life is left.
const RENEW_SHARE: i64 = 5;

/// Pause between two looks at what volumes are made of, while the process runs and before.
const REFRESH: Duration = Duration::from_secs(2);
const FIRST: Duration = Duration::from_millis(200);

/// Whether the volumes of a pod are there, so that its process may start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mounted {
    NotYet,
    /// And why; it is tried again.
    Failed(String),
    All,
}

/// The volumes of one pod.
pub(super) struct Volumes {
    folder: PathBuf,
    /// Path of a token -> Unix second at which to renew it.
    tokens: BTreeMap<PathBuf, i64>,
}

impl Volumes {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            tokens: BTreeMap::new(),
        }
    }

    /// Where each mount path lies outside.
    pub(super) fn mounts(&self, pod: &Pod) -> Vec<(String, PathBuf)> {
        let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
        let mounts = containers.flat_map(|container| container.volume_mounts.iter().flatten());
        let mut mounts: Vec<(String, PathBuf)> = mounts
            .map(|mount| (mount.mount_path.clone(), self.folder.join(&mount.name)))
            .collect();
        // The longest first: one mount may lie inside another.
        mounts.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
        mounts
    }

    /// Writes what is new, again and again; says when everything is there.
    pub(super) async fn keep_fresh(
        mut self,
        host: &Host,
        pod: watch::Receiver<Arc<Pod>>,
        mounted: &watch::Sender<Mounted>,
    ) -> Infallible {
        loop {
            let current = pod.borrow().clone();
            let now = match self.refresh(host, &current).await {
                Ok(()) => Mounted::All,
                Err(error) => {
                    let why = format!("{error:#}");
                    tracing::debug!(pod = current.name_any(), why, "volumes");
                    Mounted::Failed(why)
                }
            };
            // What was there once is still there, if perhaps not the newest.
            mounted.send_if_modified(|mounted| {
                let is_news = *mounted != Mounted::All && *mounted != now;
                if is_news {
                    *mounted = now;
                }
                is_news
            });
            let all = *mounted.borrow() == Mounted::All;
            tokio::time::sleep(if all { REFRESH } else { FIRST }).await;
        }
    }

    /// Writes what is new.
    async fn refresh(&mut self, host: &Host, pod: &Pod) -> Result<()> {
        for volume in pod
            .spec
            .iter()
            .flat_map(|spec| spec.volumes.iter().flatten())
        {
            let written = async {
                let folder = self.prepare(volume)?;
                self.refresh_one(host, pod, volume, &folder).await
            };
            written
                .await
                .with_context(|| format!("volume {}", volume.name))?;
        }
        Ok(())
    }

    /// The folder of a volume, with what it held.
    fn prepare(&self, volume: &Volume) -> Result<PathBuf> {
        let known = volume.config_map.is_some()
            || volume.secret.is_some()
            || volume.projected.is_some()
            || volume.empty_dir.is_some();
        ensure!(known, "process nodes have no volumes of this kind");
        let folder = self.folder.join(&volume.name);
        std::fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    async fn refresh_one(
        &mut self,
        host: &Host,
        pod: &Pod,
        volume: &Volume,
        folder: &Path,
    ) -> Result<()> {
        let namespace = pod.namespace().unwrap_or_default();
        let mut files = Files::default();
        if let Some(source) = &volume.config_map {
            let items = source.items.as_deref();
            files.add(config_map(host, &namespace, &source.name, items).await?);
        } else if let Some(source) = &volume.secret {
            let name = source.secret_name.as_deref().unwrap_or_default();
            files.add(secret(host, &namespace, name, source.items.as_deref()).await?);
        } else if let Some(projected) = &volume.projected {
            for source in projected.sources.iter().flatten() {
                self.refresh_projection(host, pod, &namespace, source, folder, &mut files)
                    .await?;
            }
        } else {
            // An emptyDir is the pod's own.
            return Ok(());
        }
        files.write(folder)
    }

    async fn refresh_projection(
        &mut self,
        host: &Host,
        pod: &Pod,
        namespace: &str,
        source: &VolumeProjection,
        folder: &Path,
        files: &mut Files,
    ) -> Result<()> {
        ensure!(
            source.cluster_trust_bundle.is_none(),
            "process nodes project no clusterTrustBundle"
        );
        if let Some(token) = &source.service_account_token {
            self.refresh_token(host, pod, namespace, token, folder)
                .await?;
            files.leave(&token.path);
        }
        if let Some(source) = &source.config_map {
            let items = source.items.as_deref();
            files.add(config_map(host, namespace, &source.name, items).await?);
        }
        if let Some(source) = &source.secret {
            let items = source.items.as_deref();
            files.add(secret(host, namespace, &source.name, items).await?);
        }
        let items = source.downward_api.iter();
        for item in items.flat_map(|api| api.items.iter().flatten()) {
            let path = item.field_ref.as_ref().map(|field| &field.field_path);
            let path = path.context("process nodes know no resources of a container")?;
            let value = super::status::field(pod, path, host).unwrap_or_default();
            files.add(BTreeMap::from([(item.path.clone(), value.into_bytes())]));
        }
        Ok(())
    }

    async fn refresh_token(
        &mut self,
        host: &Host,
        pod: &Pod,
        namespace: &str,
        source: &ServiceAccountTokenProjection,
        folder: &Path,
    ) -> Result<()> {
        let path = folder.join(&source.path);
        let now = jiff::Timestamp::now().as_second();
        let renew_at = self.tokens.get(&path);
        if renew_at.is_some_and(|renew_at| now < *renew_at) {
            return Ok(());
        }
        let account = pod
            .spec
            .as_ref()
            .and_then(|spec| spec.service_account_name.clone());
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: source.audience.iter().cloned().collect(),
                // 3607 is what admission asks for, and means a claim of one year.
                expiration_seconds: source.expiration_seconds.map(|seconds| seconds.min(3600)),
                bound_object_ref: Some(
                    k8s_openapi::api::authentication::v1::BoundObjectReference {
                        api_version: Some("v1".into()),
                        kind: Some("Pod".into()),
                        name: Some(pod.name_any()),
                        uid: pod.uid(),
                    },
                ),
            },
            ..TokenRequest::default()
        };
        let accounts: Api<ServiceAccount> = Api::namespaced(host.client.clone(), namespace);
        let account = account.unwrap_or_else(|| "default".into());
        let granted = accounts
            .create_token_request(&account, &PostParams::default(), &request)
            .await?;
        let status = granted.status.context("the token request has no status")?;
        write_one(&path, status.token.as_bytes())?;
        let ends = status.expiration_timestamp.0.as_second();
        self.tokens.insert(path, ends - (ends - now) / RENEW_SHARE);
        Ok(())
    }
}

async fn config_map(
    host: &Host,
    namespace: &str,
    name: &str,
    items: Option<&[KeyToPath]>,
) -> Result<BTreeMap<String, Vec<u8>>> {
    let map = Api::<ConfigMap>::namespaced(host.client.clone(), namespace)
        .get(name)
        .await?;
    let text = map
        .data
        .unwrap_or_default()
        .into_iter()
        .map(|(key, value)| (key, value.into_bytes()));
    let binary = map
        .binary_data
        .unwrap_or_default()
        .into_iter()
        .map(|(key, value)| (key, value.0));
    Ok(select(text.chain(binary).collect(), items))
}

async fn secret(
    host: &Host,
    namespace: &str,
    name: &str,
    items: Option<&[KeyToPath]>,
) -> Result<BTreeMap<String, Vec<u8>>> {
    let secret = Api::<Secret>::namespaced(host.client.clone(), namespace)
        .get(name)
        .await?;
    let data = secret.data.unwrap_or_default().into_iter();
    Ok(select(
        data.map(|(key, value)| (key, value.0)).collect(),
        items,
    ))
}

fn select(
    data: BTreeMap<String, Vec<u8>>,
    items: Option<&[KeyToPath]>,
) -> BTreeMap<String, Vec<u8>> {
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        return data;
    };
    items
        .iter()
        .filter_map(|item| Some((item.path.clone(), data.get(&item.key)?.clone())))
        .collect()
}

/// What a volume is to hold, by path within it.
#[derive(Default)]
struct Files(BTreeMap<PathBuf, Option<Vec<u8>>>);

impl Files {
    fn add(&mut self, files: BTreeMap<String, Vec<u8>>) {
        let files = files.into_iter();
        self.0
            .extend(files.map(|(path, content)| (path.into(), Some(content))));
    }

    /// One that is there as it should be.
    fn leave(&mut self, path: &str) {
        self.0.insert(path.into(), None);
    }

    /// Writes what differs, and removes what is no longer part of it.
    fn write(&self, folder: &Path) -> Result<()> {
        for (path, content) in &self.0 {
            if let Some(content) = content {
                write_one(&folder.join(path), content)?;
            }
        }
        self.remove_others(folder, Path::new(""))
    }

    fn remove_others(&self, folder: &Path, within: &Path) -> Result<()> {
        for entry in std::fs::read_dir(folder.join(within))? {
            let entry = entry?;
            let path = within.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                self.remove_others(folder, &path)?;
            } else if !self.0.contains_key(&path) {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

fn write_one(path: &Path, content: &[u8]) -> Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    if std::fs::read(path).ok().as_deref() != Some(content) {
        write_whole(path, content)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
