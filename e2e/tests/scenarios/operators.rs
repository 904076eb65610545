//! All operators at once: killed, and started again.

use anyhow::Result;
use slotmesh_e2e::stage::{OPERATOR_NAMESPACE, Stage};
use slotmesh_e2e::wait;

use crate::DEADLINE;

/// Kills these operators, keeps them down and waits until none of them answers.
pub async fn hold(stage: &Stage, pods: &[String]) -> Result<()> {
    for pod in pods {
        stage.operators.hold(OPERATOR_NAMESPACE, pod)?;
    }
    wait::until("the operators to be dead", DEADLINE, async || {
        for operator in stage.operators().await? {
            if operator.metric("slotmesh_operator_leader").await.is_ok() {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
    .await
}

/// Starts them again.
pub fn start(stage: &Stage, pods: &[String]) -> Result<()> {
    pods.iter()
        .try_for_each(|pod| stage.operators.return_pod(OPERATOR_NAMESPACE, pod))
}
