//! Kubeconfig files, and clients made from them.

use std::path::Path;

use anyhow::{Context, Result};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::certificates::Pair;

pub(super) fn write(path: &Path, server: &str, ca: &Path, pair: &Pair) -> Result<()> {
    let text = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "local", "cluster": {"server": server, "certificate-authority": ca}}],
        "users": [{"name": "user", "user": {"client-certificate": pair.certificate, "client-key": pair.key}}],
        "contexts": [{"name": "local", "context": {"cluster": "local", "user": "user"}}],
        "current-context": "local",
    });
    std::fs::write(path, serde_json::to_vec_pretty(&text)?)
        .with_context(|| format!("cannot write {}", path.display()))
}

/// A client with the rights of its file, or of the user whom it plays.
pub(super) async fn client(kubeconfig: &Path, plays: Option<&str>) -> Result<Client> {
    let parsed = Kubeconfig::read_from(kubeconfig)?;
    let mut config = Config::from_custom_kubeconfig(parsed, &KubeConfigOptions::default()).await?;
    // A proxy of the machine is not for its own addresses.
    config.proxy_url = None;
    config.auth_info.impersonate = plays.map(str::to_owned);
    Ok(Client::try_from(config)?)
}
