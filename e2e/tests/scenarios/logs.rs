//! `kubectl logs` of an agent: the last lines, all of them while they are written, and those of the
//! process before; and a node answers nobody but the API server.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use slotmesh_e2e::stage::{NAMESPACE, Stage};
use slotmesh_e2e::wait;

use crate::{DEADLINE, Scene};

pub async fn play(stage: &mut Stage) -> Result<()> {
    let scene = Scene::set(stage, "logs", 2).await?;
    let agent = &scene.agents[0];
    let logs = async |options: &[&str]| {
        let mut arguments = vec!["logs", "-n", NAMESPACE, agent.name.as_str()];
        arguments.extend(options);
        stage.plane.kubectl(&arguments).await
    };
    let whole = logs(&[]).await?;
    ensure!(whole.contains("map applied"), "its log is {whole:?}");
    let tail = logs(&["--tail=2"]).await?;
    ensure!(
        tail.lines().count() == 2 && whole.ends_with(&tail),
        "not the last two lines: {tail:?}"
    );
    ensure!(
        logs(&["--previous"]).await.is_err(),
        "there is no previous process yet"
    );

    // Whoever follows sees the end: here the process is killed while kubectl waits.
    let mut followed = Box::pin(logs(&["--follow"]));
    let waits = tokio::time::timeout(Duration::from_secs(2), &mut followed).await;
    ensure!(waits.is_err(), "it did not follow: {waits:?}");
    scene.nodes.hold(NAMESPACE, &agent.name)?;
    let followed = tokio::time::timeout(DEADLINE, followed)
        .await
        .context("kubectl logs --follow has no end")??;
    ensure!(followed.starts_with(&whole), "followed: {followed:?}");

    scene.nodes.return_pod(NAMESPACE, &agent.name)?;
    wait::until("the log of the new process", DEADLINE, async || {
        Ok(logs(&[]).await?.contains("map applied").then_some(()))
    })
    .await?;
    ensure!(
        logs(&["--previous"]).await? == followed,
        "the previous log is another"
    );
    ensure!(
        !logs(&[]).await?.starts_with(&whole),
        "the new process has the old one's log"
    );
    println!(
        "  {} lines, the last 2 of them, followed to the end, and previous",
        whole.lines().count()
    );
    strangers_get_nothing(stage, agent).await?;
    stage.wait_ready(scene.name, 2).await?;
    scene.strike(stage).await
}

/// Even an administrator's certificate is not the API server's.
async fn strangers_get_nothing(stage: &Stage, agent: &slotmesh_e2e::stage::Agent) -> Result<()> {
    let host = stage
        .plane
        .kubectl(&[
            "get",
            "pod",
            "-n",
            NAMESPACE,
            &agent.name,
            "-o",
            "jsonpath={.status.hostIP}",
        ])
        .await?;
    let server = format!("--server=https://{host}:10250");
    let path = format!("/containerLogs/{NAMESPACE}/{}/agent", agent.name);
    let answer = stage.plane.kubectl(&["get", "--raw", &path, &server]).await;
    let error = format!("{:#}", answer.err().context("a stranger reads logs")?);
    ensure!(error.contains("orbidden"), "{error}");
    println!("  another client is refused");
    Ok(())
}
