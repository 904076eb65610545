//! What a person is told of a cluster: its conditions and its events.

use anyhow::{Context, Result, ensure};
use slotmesh_e2e::stage::{NAMESPACE, Stage};
use slotmesh_e2e::wait;

use crate::DEADLINE;

/// Waits until a condition has that reason; returns its message.
pub async fn condition(stage: &Stage, cluster: &str, kind: &str, reason: &str) -> Result<String> {
    let what = format!("{kind} of {cluster} to be {reason}");
    wait::until(&what, DEADLINE, async || {
        let cluster = stage.cluster(cluster).await?;
        let generation = cluster.metadata.generation;
        let status = cluster.status.context("no status")?;
        let mut conditions = status.conditions.into_iter();
        let found = conditions.find(|condition| condition.type_ == kind);
        let found = found.with_context(|| format!("no condition {kind}"))?;
        let current = found.observed_generation == generation && found.reason == reason;
        ensure!(current, "it is {}: {}", found.reason, found.message);
        Ok(Some(found.message))
    })
    .await
}

/// Waits until nothing is planned for that reason, which names the way out: the command that has the record written again.
pub async fn frozen(stage: &Stage, cluster: &str, reason: &str, cell: &str) -> Result<String> {
    let message = condition(stage, cluster, "Frozen", reason).await?;
    ensure!(
        message.contains(&format!("kubectl -n {NAMESPACE} delete gossipcell {cell}")),
        "no way out: {message}"
    );
    event(stage, cluster, reason, cell).await?;
    Ok(message)
}

/// Reason and note of each event about a cluster.
pub async fn events(stage: &Stage, cluster: &str) -> Result<Vec<(String, String)>> {
    let path = r#"jsonpath={range .items[*]}{.involvedObject.name}{" "}{.reason}{" "}{.message}{"\n"}{end}"#;
    let get = ["get", "events", "-n", NAMESPACE, "-o", path];
    let text = stage.plane.kubectl(&get).await?;
    let mine = text
        .lines()
        .filter_map(|line| line.strip_prefix(&format!("{cluster} ")));
    let pairs = mine.filter_map(|line| line.split_once(' '));
    Ok(pairs
        .map(|(reason, note)| (reason.to_owned(), note.to_owned()))
        .collect())
}

/// Waits for an event about a cluster with that reason whose note holds these words; returns the note.
pub async fn event(stage: &Stage, cluster: &str, reason: &str, words: &str) -> Result<String> {
    let what = format!("an event {reason} of {cluster} that tells of `{words}`");
    wait::until(&what, DEADLINE, async || {
        let mut events = events(stage, cluster).await?.into_iter();
        Ok(events
            .find(|(found, note)| found == reason && note.contains(words))
            .map(|(_, note)| note))
    })
    .await
}

/// No event has ever told that nothing is planned any more.
pub async fn ensure_never_frozen(stage: &Stage, cluster: &str) -> Result<()> {
    const OF_FROZEN: [&str; 6] = [
        "MassFailure",
        "PartialView",
        "EpochRegression",
        "MapConflict",
        "RecordTampered",
        "OwnersDyingInSequence",
    ];
    for (reason, note) in events(stage, cluster).await? {
        ensure!(!OF_FROZEN.contains(&reason.as_str()), "{reason}: {note}");
    }
    Ok(())
}
