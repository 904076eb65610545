//! What `deploy/` holds is current, and the API server takes it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use slotmesh_e2e::deploy::{DEPLOY, HELM_ARGUMENTS, install_yaml};
use slotmesh_e2e::stage::{NAMESPACE, Stage};

use super::accepted;

/// Samples below which the folder has lost some.
const SAMPLES_MIN: usize = 5;

pub async fn play(stage: &Stage) -> Result<()> {
    let file = std::fs::read_to_string(Path::new(DEPLOY).join("install.yaml"))?;
    let rendered = stage.plane.helm(&HELM_ARGUMENTS).await?;
    ensure!(
        file == install_yaml(&rendered)?,
        "deploy/install.yaml is stale: run `make manifests`"
    );
    let objects = accepted(stage, &file).await?.len();
    println!("  accepted: deploy/install.yaml, which is current ({objects} objects)");
    for folder in [".", "../docs/examples/own-registry"] {
        let path = Path::new(DEPLOY).join(folder).display().to_string();
        let built = stage.plane.kubectl(&["kustomize", &path]).await?;
        let found = accepted(stage, &built).await.context(path)?.len();
        ensure!(found == objects, "{folder}: {found} objects of {objects}");
        let own = built.matches("registry.example/slotmesh/slotmesh-").count();
        let expected = if folder == "." { 0 } else { 2 };
        ensure!(
            own == expected,
            "{folder}: {own} images of one's own, not {expected}"
        );
        println!("  accepted: kubectl kustomize deploy/{folder}");
    }
    let samples = samples()?;
    ensure!(
        samples.len() >= SAMPLES_MIN,
        "only {} samples",
        samples.len()
    );
    for sample in samples {
        let path = sample.display().to_string();
        let mut arguments = vec!["apply", "--dry-run=server", "--validate=strict"];
        arguments.extend(["-n", NAMESPACE, "-o", "name", "-f", &path]);
        let taken = stage.plane.kubectl(&arguments).await?;
        println!("  accepted: {} ({})", file_name(&sample), taken.trim());
    }
    Ok(())
}

fn samples() -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(Path::new(DEPLOY).join("samples"))?;
    let mut files = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<PathBuf>>>()?;
    files.sort();
    Ok(files)
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}
