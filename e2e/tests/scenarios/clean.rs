//! The stage after a story that failed: whatever it left is removed, so that the next one can be
//! played.

use anyhow::{Result, ensure};
use slotmesh_e2e::stage::{NAMESPACE, OPERATOR_NAMESPACE, OPERATOR_USER, RELEASE, Stage};
use slotmesh_e2e::wait;

use crate::DEADLINE;

pub async fn clean(stage: &Stage) -> Result<()> {
    for pod in stage.operator_pods().await? {
        // One that is being deleted may be gone from its node by now.
        let _ = stage.operators.change(OPERATOR_NAMESPACE, &pod, |verbs| {
            verbs.held = false;
            verbs.frozen = false;
        });
    }
    let release = ["status", RELEASE, "-n", OPERATOR_NAMESPACE, "-o", "json"];
    let status = stage.plane.helm(&release).await.unwrap_or_default();
    if !status.contains(r#""status":"deployed""#) {
        // There may be half a release, or none.
        let _ = stage.uninstall().await;
        stage.install().await?;
    }
    let clusters = ["delete", "gossip", "--all", "-n", NAMESPACE];
    stage.plane.kubectl(&clusters).await?;
    let mut records = vec!["delete", "gcell", "--all", "-n", NAMESPACE];
    records.extend(["--as", OPERATOR_USER]);
    stage.plane.kubectl(&records).await?;
    wait::until("the pods of a failed story to go", DEADLINE, async || {
        // Their nodes ended with the story: nobody else would ever say that they are gone.
        let mut force = vec!["delete", "pods", "--all", "-n", NAMESPACE];
        force.extend(["--force", "--grace-period=0", "--wait=false"]);
        stage.plane.kubectl(&force).await?;
        let names = ["get", "pods,daemonsets", "-n", NAMESPACE, "-o", "name"];
        let left = stage.plane.kubectl(&names).await?;
        ensure!(left.is_empty(), "still there: {}", left.replace('\n', " "));
        Ok(Some(()))
    })
    .await?;
    let of_stories = ["delete", "nodes", "-l", "slotmesh.dev/e2e!=control"];
    stage.plane.kubectl(&of_stories).await?;
    let deployment = format!("deployment/{RELEASE}-operator");
    let mut rollout = vec!["rollout", "status", &deployment, "-n", OPERATOR_NAMESPACE];
    rollout.extend(["--timeout", "120s"]);
    stage.plane.kubectl(&rollout).await.map(drop)
}
