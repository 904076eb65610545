//! The heartbeat of a running cluster is made five times slower, and fast again. Nobody is reported for it, and a death is
//! found at the pace that is in force.

use anyhow::{Result, ensure};
use serde_json::json;
use slotmesh_e2e::measure::{self, EPOCH, Failure};
use slotmesh_e2e::stage::Stage;
use slotmesh_e2e::wait;

use crate::{DEADLINE, Scene};

const SLOW_MS: u32 = 1000;
const USUAL_MS: u32 = 200;
/// Beats to each peer that are waited for: edges at the old pace would have failed after two.
const BEATS: f64 = 12.0;
const SENT: &str = "slotmesh_agent_heartbeats_sent_total";
const SIGNED: &str = "slotmesh_agent_evidence_signed_total";
const OPENING: &str = "slotmesh_agent_opening_edges";

pub async fn play(stage: &mut Stage) -> Result<()> {
    let scene = Scene::set(stage, "pace", 5).await?;
    let signed = all(&scene, SIGNED).await?;
    for interval_ms in [SLOW_MS, USUAL_MS] {
        let epoch = scene.agents[0].metric(EPOCH).await?;
        let health = json!({"health": {"heartbeatIntervalMilliseconds": interval_ms}});
        stage.apply_cluster(scene.name, &health).await?;
        wait::until("all agents to have the new pace", DEADLINE, async || {
            let epochs = all(&scene, EPOCH).await?;
            Ok(epochs.iter().all(|it| *it > epoch).then_some(()))
        })
        .await?;
        let before = all(&scene, SENT).await?;
        #[allow(clippy::cast_precision_loss)]
        let peers = (scene.agents.len() - 1) as f64;
        wait::until("a dozen beats at that pace", DEADLINE, async || {
            let sent = all(&scene, SENT).await?;
            let enough = |(now, before): (&f64, &f64)| now - before >= BEATS * peers;
            let opening = all(&scene, OPENING).await?;
            let is_done = sent.iter().zip(&before).all(enough) && opening.iter().sum::<f64>() < 0.5;
            Ok(is_done.then_some(()))
        })
        .await?;
        let now = all(&scene, SIGNED).await?;
        ensure!(
            now == signed,
            "somebody was reported at {interval_ms} ms: statements {signed:?} before, {now:?} after"
        );
        println!("  a beat each {interval_ms} ms: nobody was reported in {BEATS} beats");
    }
    let victims = std::slice::from_ref(&scene.agents[1]);
    let measured = measure::fail(stage, &scene.nodes, scene.name, victims, Failure::Freeze).await?;
    println!("  {measured}");
    scene.strike(stage).await
}

/// A metric of all agents.
async fn all(scene: &Scene, name: &str) -> Result<Vec<f64>> {
    scene.metrics(&scene.agents, name).await
}
