//! `deploy/install.yaml`: what the chart renders by default, for people without Helm (`make manifests`).

use std::path::Path;

use anyhow::{Result, ensure};
use tokio::process::Command;

use crate::assets::Assets;
use crate::stage::{CHART, OPERATOR_NAMESPACE, RELEASE};

/// The folder.
pub const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy");
/// What Helm is asked for. Nothing keeps the CRDs here but kubectl's user.
pub const HELM_ARGUMENTS: [&str; 8] = [
    "template",
    RELEASE,
    CHART,
    "--namespace",
    OPERATOR_NAMESPACE,
    "--skip-tests",
    "--set",
    "crds.keep=false",
];
const HEAD: &str = "\
# SlotMesh as its chart installs it by default; made by `make manifests`, not by hand.
#   kubectl apply --server-side -f install.yaml
apiVersion: v1
kind: Namespace
metadata:
  name: slotmesh-system
  labels:
    app.kubernetes.io/part-of: slotmesh
    pod-security.kubernetes.io/enforce: restricted
";
/// Lines that only Helm understands.
const OF_HELM: [&str; 3] = [
    "# Source: ",
    "app.kubernetes.io/managed-by: Helm",
    "helm.sh/chart: ",
];

/// The file, from what Helm rendered.
///
/// # Errors
/// When it holds something that means nothing without Helm.
pub fn install_yaml(rendered: &str) -> Result<String> {
    let lines = rendered.lines().map(str::trim_end).filter(|line| {
        let text = line.trim_start();
        !OF_HELM.iter().any(|of_helm| text.starts_with(of_helm))
    });
    let mut file = HEAD.to_owned();
    for line in lines {
        ensure!(!line.contains("helm.sh/"), "only Helm understands `{line}`");
        file.push_str(line);
        file.push('\n');
    }
    Ok(file)
}

/// Writes it.
///
/// # Errors
/// When Helm fails, or the file cannot be written.
pub async fn write(assets: &Assets) -> Result<()> {
    let mut helm = Command::new(assets.path("helm")?);
    let output = helm.args(HELM_ARGUMENTS).output().await?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "helm: {complaint}");
    let text = install_yaml(&String::from_utf8_lossy(&output.stdout))?;
    Ok(std::fs::write(
        Path::new(DEPLOY).join("install.yaml"),
        text,
    )?)
}

#[cfg(test)]
mod tests;
