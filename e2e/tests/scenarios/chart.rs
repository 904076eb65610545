//! The chart: lint, a matrix of values against the API's own schemas, values that are refused, rights,
//! what `deploy/` holds, the record's policy, and `helm test`.

mod deploy;
mod matrix;
mod policy;
mod rights;

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use slotmesh_e2e::stage::{CHART, NAMESPACE, OPERATOR_NAMESPACE, RELEASE, Stage};
use slotmesh_e2e::wait;

use crate::DEADLINE;

/// Nodes on which `helm test` plays.
const NODES: u8 = 3;

pub async fn play(stage: &mut Stage) -> Result<()> {
    matrix::play(stage).await?;
    rights::play(stage).await?;
    deploy::play(stage).await?;
    first_cluster_of_the_notes(stage).await?;
    policy::play(stage).await?;
    helm_tests(stage).await
}

/// The chart as Helm renders it with this file of values, if any, these values, and these flags.
async fn render(
    stage: &Stage,
    file: Option<&Path>,
    values: &[&str],
    flags: &[&str],
) -> Result<String> {
    let set = values.join(",");
    let file = file.map(|file| file.display().to_string());
    let mut arguments = vec!["template", RELEASE, CHART, "-n", OPERATOR_NAMESPACE];
    if let Some(file) = &file {
        arguments.extend(["--values", file]);
    }
    if !values.is_empty() {
        arguments.extend(["--set", &set]);
    }
    arguments.extend(flags);
    stage.plane.helm(&arguments).await
}

/// The objects of a manifest.
fn objects(manifest: &str) -> Result<Vec<Value>> {
    let documents = manifest.split("\n---\n").filter(|document| {
        let mut lines = document.lines();
        lines.any(|line| !line.is_empty() && !line.starts_with('#') && line != "---")
    });
    documents
        .map(|document| {
            let document = document.trim_start_matches("---\n");
            serde_saphyr::from_str(document).with_context(|| format!("no YAML: {document}"))
        })
        .collect()
}

/// Asks the API server whether it would take a manifest; the names of its objects.
async fn accepted(stage: &Stage, manifest: &str) -> Result<Vec<String>> {
    let mut arguments = vec!["apply", "--dry-run=server", "--server-side"];
    // Strict: a field that the API does not know is a mistake of ours.
    arguments.extend(["--force-conflicts", "--field-manager=chart-check"]);
    arguments.extend(["--validate=strict", "-o", "name", "-f", "-"]);
    let answer = stage.plane.kubectl_with_input(&arguments, manifest).await?;
    let taken: Vec<String> = answer.lines().map(str::to_owned).collect();
    let given = objects(manifest)?.len();
    ensure!(
        given > 0 && taken.len() == given,
        "of {given} objects {} were taken: {taken:?}",
        taken.len()
    );
    Ok(taken)
}

async fn first_cluster_of_the_notes(stage: &Stage) -> Result<()> {
    let notes = stage
        .plane
        .helm(&["get", "notes", RELEASE, "-n", OPERATOR_NAMESPACE])
        .await?;
    let manifest = notes
        .split_once("<<YAML\n")
        .and_then(|(_, rest)| rest.split_once("YAML\n"))
        .map(|(manifest, _)| manifest)
        .context("the notes show no first cluster")?;
    let taken = accepted(stage, manifest).await?;
    println!("  the notes' first cluster is taken: {}", taken.join(" "));
    Ok(())
}

/// Helm's own test, on nodes of its own, with rights everywhere, and then with Roles in one namespace
/// alone: it passes, prints what it did, and leaves nothing. The operators miss no right meanwhile.
async fn helm_tests(stage: &mut Stage) -> Result<()> {
    let nodes = stage.add_nodes("tried", NODES).await?;
    helm_test(stage, OPERATOR_NAMESPACE, &["--logs"]).await?;
    no_right_is_missing(stage).await?;

    let upgrade = ["upgrade", "--set", "watchNamespaces={default}"];
    let upgrade = [&upgrade[..], &["--set", "rbac.readNodes=false"]].concat();
    stage.release(&upgrade, CHART).await?;
    println!("  helm upgrade: Roles in namespace {NAMESPACE} alone");
    // Helm looks for logs of tests in the release's namespace only.
    helm_test(stage, NAMESPACE, &[]).await?;
    no_right_is_missing(stage).await?;
    stage.release(&["upgrade"], CHART).await?;
    nodes.remove().await;
    Ok(())
}

async fn helm_test(stage: &Stage, namespace: &str, flags: &[&str]) -> Result<()> {
    let begun = Instant::now();
    let arguments = [&["test", RELEASE, "-n", OPERATOR_NAMESPACE], flags].concat();
    let said = stage.plane.helm(&arguments).await?;
    println!(
        "  helm test: passed after {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    if flags.contains(&"--logs") {
        for words in [
            "is created",
            "Ready with 3 members",
            "user:42 belongs to",
            "is deleted",
        ] {
            ensure!(
                said.contains(words),
                "helm test does not say `{words}`: {said}"
            );
        }
        // Helm shows the log once for each hook of that name.
        let lines = said.lines().filter(|line| line.contains(" s  "));
        let steps = lines.skip_while(|line| !line.contains("is created"));
        for (index, line) in steps.enumerate() {
            if index > 0 && line.contains("is created") {
                break;
            }
            println!("    {line}");
        }
    }
    let kinds = "gossipclusters,pods,serviceaccounts,roles,rolebindings";
    wait::until("helm test to leave nothing", DEADLINE, async || {
        let query = ["get", kinds, "-n", namespace, "-o", "name"];
        let left = stage.plane.kubectl(&query).await?;
        ensure!(!left.contains("-check"), "still there: {left}");
        Ok(Some(()))
    })
    .await
}

async fn no_right_is_missing(stage: &Stage) -> Result<()> {
    for pod in stage.operator_pods().await? {
        let log = stage.log(&pod)?;
        let complaint = log
            .lines()
            .find(|line| line.to_lowercase().contains("forbidden"));
        ensure!(complaint.is_none(), "{pod} misses a right: {complaint:?}");
    }
    Ok(())
}
