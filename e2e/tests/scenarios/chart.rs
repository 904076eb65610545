//! The chart: lint, a matrix of values against the API's own schemas, values that are refused, and the
//! first cluster of the notes.

use anyhow::{Context, Result, bail, ensure};
use slotmesh_e2e::stage::{CHART, OPERATOR_NAMESPACE, Stage};

/// What a release's values may look like.
const RENDERED: [(&str, &[&str]); 8] = [
    ("defaults", &[]),
    ("no CRDs", &["crds.enabled=false"]),
    ("CRDs that go with the release", &["crds.keep=false"]),
    (
        "a registry of one's own",
        &[
            "image.registry=registry.example",
            "image.tag=v9",
            "agent.image.registry=registry.example",
        ],
    ),
    (
        "one replica, other times",
        &[
            "replicaCount=1",
            "leaderElection.leaseDurationSeconds=30",
            "leaderElection.renewDeadlineSeconds=20",
        ],
    ),
    (
        "fewest rights",
        &["rbac.readNodes=false", "rbac.aggregate=false"],
    ),
    (
        "other names",
        &["fullnameOverride=mesh", "serviceAccount.name=mesh"],
    ),
    ("logs for a machine", &["logging.format=json"]),
];
/// Values that are refused, and the word that the complaint must hold.
const REFUSED: [(&str, &str); 6] = [
    ("replicaCount=0", "replicaCount"),
    ("replicas=2", "replicas"),
    ("logging.level=verbose", "level"),
    ("image.repository=", "repository"),
    ("crds.enabled=perhaps", "enabled"),
    ("leaderElection.retryPeriodSeconds=0", "retryPeriodSeconds"),
];

pub async fn play(stage: &Stage) -> Result<()> {
    stage.plane.helm(&["lint", "--strict", CHART]).await?;
    println!("  helm lint --strict: clean");
    for (case, values) in RENDERED {
        let objects = accepted(stage, values).await.context(case)?;
        println!("  accepted: {case} ({objects} objects)");
    }
    for (value, word) in REFUSED {
        let complaint = match render(stage, &[value]).await {
            Ok(_) => bail!("{value} is rendered"),
            Err(error) => format!("{error:#}"),
        };
        ensure!(
            complaint.contains(word),
            "{value} is refused without naming {word}: {complaint}"
        );
        println!("  refused:  {value}");
    }
    first_cluster_of_the_notes(stage).await
}

async fn render(stage: &Stage, values: &[&str]) -> Result<String> {
    let set = values.join(",");
    let mut arguments = vec!["template", "slotmesh", CHART, "-n", OPERATOR_NAMESPACE];
    if !values.is_empty() {
        arguments.extend(["--set", &set]);
    }
    stage.plane.helm(&arguments).await
}

/// Renders and asks the API server whether it would take it; how many objects there are.
async fn accepted(stage: &Stage, values: &[&str]) -> Result<usize> {
    let manifest = render(stage, values).await?;
    // Strict: a field that the API does not know is a mistake of the chart.
    let answer = stage
        .plane
        .kubectl_with_input(
            &[
                "apply",
                "--dry-run=server",
                "--server-side",
                "--force-conflicts",
                "--field-manager=chart-check",
                "--validate=strict",
                "-o",
                "name",
                "-f",
                "-",
            ],
            &manifest,
        )
        .await?;
    let objects = answer.lines().count();
    let rendered = manifest.lines().filter(|line| *line == "---").count();
    ensure!(
        objects > 0 && objects == rendered,
        "{rendered} objects were rendered and {objects} taken"
    );
    Ok(objects)
}

async fn first_cluster_of_the_notes(stage: &Stage) -> Result<()> {
    let notes = stage
        .plane
        .helm(&["get", "notes", "slotmesh", "-n", OPERATOR_NAMESPACE])
        .await?;
    let manifest = notes
        .split_once("<<YAML\n")
        .and_then(|(_, rest)| rest.split_once("YAML\n"))
        .map(|(manifest, _)| manifest)
        .context("the notes show no first cluster")?;
    let arguments = ["apply", "--dry-run=server", "-o", "name", "-f", "-"];
    let answer = stage.plane.kubectl_with_input(&arguments, manifest).await?;
    println!("  the notes' first cluster is taken: {}", answer.trim());
    Ok(())
}
