//! The record's policy: not even an administrator writes a GossipCell or a status; the operator does,
//! and the garbage collector and the namespace controller delete.

use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};
use slotmesh_e2e::stage::{NAMESPACE, OPERATOR_USER, Stage};
use slotmesh_e2e::wait;

use crate::api::cell;
use crate::{DEADLINE, scene};

const GARBAGE_COLLECTOR: &str = "system:serviceaccount:kube-system:generic-garbage-collector";
const NAMESPACE_CONTROLLER: &str = "system:serviceaccount:kube-system:namespace-controller";

pub async fn play(stage: &Stage) -> Result<()> {
    let record = cell(|_| {});
    let newer = cell(|spec| spec["epoch"] = 11.into());
    denied(stage, None, "create", &record, "create a GossipCluster").await?;
    written(stage, OPERATOR_USER, "create", &record).await?;
    denied(stage, None, "replace", &newer, "change its GossipCluster").await?;
    let collector = Some(GARBAGE_COLLECTOR);
    denied(
        stage,
        collector,
        "replace",
        &newer,
        "change its GossipCluster",
    )
    .await?;
    // `kubectl delete --cascade=orphan` of a cluster has the garbage collector take the owner off.
    let mut orphan = cell(|_| {});
    orphan["metadata"]["labels"] = json!({"taken": "off"});
    written(stage, GARBAGE_COLLECTOR, "replace", &orphan).await?;
    written(stage, OPERATOR_USER, "replace", &newer).await?;
    denied(stage, None, "delete", &record, "deleted by nobody else").await?;
    for other in [NAMESPACE_CONTROLLER, GARBAGE_COLLECTOR] {
        let dry = [
            "delete",
            "gcell",
            "rules",
            "-n",
            NAMESPACE,
            "--dry-run=server",
        ];
        stage.plane.kubectl(&as_user(Some(other), &dry)).await?;
    }
    let delete = ["delete", "gcell", "rules", "-n", NAMESPACE];
    stage
        .plane
        .kubectl(&as_user(Some(OPERATOR_USER), &delete))
        .await?;
    statuses(stage).await?;
    println!("  a record and a status are written by the operator alone");
    Ok(())
}

/// A cluster's status is refused from a person. It has no nodes, so the operator leaves it soon.
async fn statuses(stage: &Stage) -> Result<()> {
    stage
        .apply_cluster("judged", &json!({"paused": true}))
        .await?;
    let mut patch = vec!["patch", "gossip", "judged", "-n", NAMESPACE];
    patch.extend([
        "--subresource=status",
        "--type=merge",
        "-p",
        r#"{"status":{"epoch":1}}"#,
    ]);
    let complaint = stage.plane.kubectl(&patch).await.err();
    let complaint = complaint
        .map(|error| format!("{error:#}"))
        .unwrap_or_default();
    ensure!(
        complaint.contains("by the operator alone"),
        "not refused: {complaint}"
    );
    scene::delete_cluster(stage, "judged").await
}

async fn denied(
    stage: &Stage,
    user: Option<&str>,
    verb: &str,
    object: &Value,
    words: &str,
) -> Result<()> {
    let complaint = match attempt(stage, user, verb, object).await {
        Ok(_) => bail!("{verb} by {user:?} is accepted"),
        Err(error) => format!("{error:#}"),
    };
    ensure!(
        complaint.contains(words),
        "{verb} by {user:?} is refused otherwise: {complaint}"
    );
    Ok(())
}

/// It works; a policy takes a moment after its installation, and so does a right.
async fn written(stage: &Stage, user: &str, verb: &str, object: &Value) -> Result<()> {
    wait::until("a write of the record", DEADLINE, async || {
        attempt(stage, Some(user), verb, object).await.map(Some)
    })
    .await
    .map(drop)
}

async fn attempt(stage: &Stage, user: Option<&str>, verb: &str, object: &Value) -> Result<String> {
    let text = object.to_string();
    let arguments = as_user(user, &[verb, "-f", "-"]);
    stage.plane.kubectl_with_input(&arguments, &text).await
}

fn as_user<'a>(user: Option<&'a str>, arguments: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = arguments.to_vec();
    if let Some(user) = user {
        arguments.extend(["--as", user]);
    }
    arguments
}
