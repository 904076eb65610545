//! No operator is there and an agent's process is killed; its node starts it again. It cannot join, but
//! it kept the last signed map: it goes on answering look-ups, and says that they may be outdated. When
//! an operator leads again it is a member like before.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use slotmesh_e2e::http;
use slotmesh_e2e::stage::{NAMESPACE, Stage};
use slotmesh_e2e::wait;

use crate::{DEADLINE, Scene};

const NODES: u8 = 3;
const KEY: &str = "user:42";

pub async fn play(stage: &mut Stage) -> Result<()> {
    let scene = Scene::set(stage, "keeper", NODES).await?;
    let (victim, other) = (&scene.agents[0], &scene.agents[1]);
    let before = victim.locate(KEY).await?;
    ensure!(!before.stale, "stale before anything happened");
    let pods = stage.operator_pods().await?;
    stage.hold_operators(&pods).await?;

    let begun = Instant::now();
    scene.nodes.kill(NAMESPACE, &victim.name)?;
    let kept = wait::until("the new process to answer", DEADLINE, async || {
        let starts = scene.nodes.starts(NAMESPACE, &victim.name)?;
        let is_new = starts.last.is_some_and(|last| last > begun);
        let answer = victim.locate(KEY).await;
        Ok(answer.ok().filter(|_| is_new))
    })
    .await?;
    let after = begun.elapsed().as_secs_f64();
    ensure!(
        kept.stale && kept.epoch == before.epoch && kept.owner == before.owner,
        "it answers {kept:?} instead of {before:?}, stale"
    );
    let joined = victim.metric("slotmesh_agent_joined").await?;
    ensure!(joined < 0.5, "it is a member without an operator");
    let (status, _) = http::get(&victim.api("/readyz")).await?;
    ensure!(status == 503, "it is ready with an outdated map");
    let map = http::json(&victim.api("/v1/map")).await?;
    let stale = map["stale"].as_bool().context("a map without `stale`")?;
    ensure!(stale, "its map is not called stale");
    ensure!(!other.locate(KEY).await?.stale, "a member's is");
    println!(
        "  no operator, an agent is killed: it answers again after {after:.1} s, by the map of epoch {}, stale; not ready",
        kept.epoch
    );

    stage.return_operators(&pods)?;
    let begun = Instant::now();
    wait::until("it to be a member again", DEADLINE, async || {
        let answer = victim.locate(KEY).await?;
        Ok((!answer.stale && answer.epoch > kept.epoch).then_some(()))
    })
    .await?;
    println!(
        "  the operators return: a member again after {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    stage.wait_ready(scene.name, NODES.into()).await?;
    scene.strike(stage).await
}
