//! What values may look like, and what is refused.

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use slotmesh_e2e::stage::{CHART, Stage};

use super::{accepted, objects, render};

/// Files of values below which the folder has lost some.
const FILES_MIN: usize = 9;
/// Values that are refused, and the words that the complaint must hold.
const REFUSED: [(&str, &str); 24] = [
    ("replicas=2", "replicas"),
    ("replicaCount=0", "replicaCount"),
    ("replicaCount=many", "replicaCount"),
    ("logging.level=verbose", "level"),
    ("logging.colour=red", "colour"),
    ("image.repository=", "repository"),
    ("image.digest=sha256:abc", "digest"),
    ("image.tag=a b", "tag"),
    ("agent.image.pullPolicy=Always", "pullPolicy"),
    (
        "global.imageRegistry=https://registry.example",
        "imageRegistry",
    ),
    ("crds.enabled=perhaps", "enabled"),
    ("recordPolicy.enable=true", "enable"),
    ("watchNamespaces={Default}", "watchNamespaces"),
    ("watchNamespaces={a,a}", "watchNamespaces"),
    ("leaderElection.retryPeriodSeconds=0", "retryPeriodSeconds"),
    (
        "leaderElection.renewDeadlineSeconds=15",
        "longer than leaderElection.renewDeadlineSeconds",
    ),
    (
        "leaderElection.retryPeriodSeconds=10",
        "longer than leaderElection.retryPeriodSeconds",
    ),
    ("podDisruptionBudget.maxUnavailable=101%", "maxUnavailable"),
    ("topologySpreadConstraints[0].topologyKey=a", "maxSkew"),
    ("affinity.nodes=a", "nodes"),
    ("serviceAccount.create=false", "serviceAccount.name"),
    ("rbac.secrets=true", "secrets"),
    ("join.service.type=ExternalName", "type"),
    ("extraEnv[0].value=a", "name"),
];

pub async fn play(stage: &Stage) -> Result<()> {
    let files = files()?;
    ensure!(
        files.len() >= FILES_MIN,
        "only {} files of values",
        files.len()
    );
    let with = files.iter().map(|file| Some(file.clone()));
    for file in [None].into_iter().chain(with) {
        let name = file
            .as_ref()
            .and_then(|file| file.file_name())
            .map_or("defaults".into(), |name| {
                name.to_string_lossy().into_owned()
            });
        let objects = try_file(stage, file).await.context(name.clone())?;
        println!("  accepted: {name} ({objects} objects)");
    }
    for (value, word) in REFUSED {
        let complaint = match render(stage, None, &[value], &[]).await {
            Ok(_) => bail!("{value} is rendered"),
            Err(error) => format!("{error:#}"),
        };
        // Behind the command line, which holds the value in any case.
        let (_, said) = complaint.split_once("failed (").context("no complaint")?;
        ensure!(
            said.contains(word),
            "{value} is refused without naming {word}: {said}"
        );
    }
    println!(
        "  refused: {} wrong values, each by its name",
        REFUSED.len()
    );
    Ok(())
}

/// Lints, renders twice, and asks the API server; how many objects there are.
async fn try_file(stage: &Stage, file: Option<PathBuf>) -> Result<usize> {
    let path = file.as_ref().map(|file| file.display().to_string());
    let mut lint = vec!["lint", "--strict", CHART];
    if let Some(path) = &path {
        lint.extend(["--values", path]);
    }
    stage.plane.helm(&lint).await?;
    let manifest = render(stage, file.as_deref(), &[], &[]).await?;
    let again = render(stage, file.as_deref(), &[], &[]).await?;
    ensure!(manifest == again, "it is rendered another way each time");
    only_the_test_is_a_hook(&manifest)?;
    // The API server refuses a pod whose ServiceAccount is not there, and tests are tried for good later.
    let installed = render(stage, file.as_deref(), &[], &["--skip-tests"]).await?;
    Ok(accepted(stage, &installed).await?.len())
}

/// A hook that is no test would run with every install or upgrade.
fn only_the_test_is_a_hook(manifest: &str) -> Result<()> {
    let mut tests = 0;
    for object in objects(manifest)? {
        let annotations = &object["metadata"]["annotations"];
        let hook = annotations["helm.sh/hook"].as_str();
        ensure!(matches!(hook, None | Some("test")), "a hook {hook:?}");
        if hook.is_some() {
            let policy = annotations["helm.sh/hook-delete-policy"].as_str();
            ensure!(
                policy.is_some_and(|policy| policy.contains("hook-succeeded")),
                "a hook that stays: {policy:?}"
            );
            tests += 1;
        }
    }
    ensure!(tests > 0, "there is no test");
    Ok(())
}

fn files() -> Result<Vec<PathBuf>> {
    let folder = PathBuf::from(CHART).join("ci");
    let entries = std::fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
    let mut files = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<PathBuf>>>()?;
    files.sort();
    Ok(files)
}
