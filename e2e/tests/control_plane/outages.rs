//! Outages: one that refuses, one that hangs, and a return on the same data.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;
use slotmesh_e2e::control_plane::{Component, ControlPlane};

use crate::{controllers_fill, seconds};

/// Many times what an answer takes.
const PATIENCE: Duration = Duration::from_secs(2);

async fn put(plane: &ControlPlane, name: &str) -> Result<()> {
    let maps: Api<ConfigMap> = Api::namespaced(plane.client(), "default");
    let map = serde_json::from_value(json!({"metadata": {"name": name}, "data": {"key": name}}))?;
    maps.create(&PostParams::default(), &map).await?;
    Ok(())
}

async fn holds(plane: &ControlPlane, name: &str) -> Result<()> {
    let maps: Api<ConfigMap> = Api::namespaced(plane.client(), "default");
    let data = maps.get(name).await?.data.unwrap_or_default();
    ensure!(
        data.get("key").is_some_and(|value| value == name),
        "{data:?}"
    );
    Ok(())
}

/// kill -9 of the API server, which then is back on the same data and port; the controllers live on.
pub async fn api_server_killed(plane: &mut ControlPlane) -> Result<()> {
    put(plane, "before-kill").await?;
    let pid = plane.pid(Component::ApiServer)?;
    plane.kill(Component::ApiServer).await?;
    ensure!(
        holds(plane, "before-kill").await.is_err(),
        "a dead API server answers"
    );
    let begun = Instant::now();
    plane.restart(Component::ApiServer).await?;
    println!("  API server back after {:.1} s", seconds(begun));
    ensure!(plane.pid(Component::ApiServer)? != pid, "it was not killed");
    holds(plane, "before-kill").await?;
    controllers_fill(plane, "after-kill").await
}

/// SIGSTOP of the API server: requests hang, and are answered later.
pub async fn api_server_paused(plane: &ControlPlane) -> Result<()> {
    put(plane, "before-pause").await?;
    plane.pause(Component::ApiServer).await?;
    let hanging = holds(plane, "before-pause");
    tokio::pin!(hanging);
    let answer = tokio::time::timeout(PATIENCE, &mut hanging).await;
    plane.resume(Component::ApiServer)?;
    ensure!(answer.is_err(), "a frozen API server answers: {answer:?}");
    hanging.await
}

/// An outage of everything that refuses, etcd too.
pub async fn all_restarted(plane: &mut ControlPlane) -> Result<()> {
    put(plane, "before-all").await?;
    let all = [
        Component::Etcd,
        Component::ApiServer,
        Component::ControllerManager,
        Component::Scheduler,
    ];
    for component in all.into_iter().rev() {
        plane.kill(component).await?;
    }
    // Together: each needs the one before it.
    plane.restart_all(&all).await?;
    holds(plane, "before-all").await?;
    controllers_fill(plane, "after-all").await
}
