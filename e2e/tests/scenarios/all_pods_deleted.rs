//! All agents' pods are deleted at once. The DaemonSet makes new ones, and the cluster is whole again
//! without anybody's help: never Frozen, every slot served. (Who leaves says so, and its slots go to whoever
//! is there by then: mostly to the new agent on its node.)

use std::time::Instant;

use anyhow::Result;
use slotmesh_api::names;
use slotmesh_e2e::record::Record;
use slotmesh_e2e::stage::{NAMESPACE, Stage};
use slotmesh_e2e::wait;

use crate::{DEADLINE, Scene, told};

const NODES: u8 = 5;

pub async fn play(stage: &mut Stage) -> Result<()> {
    let mut scene = Scene::set(stage, "wiped", NODES).await?;
    let before = Record::read(stage, scene.name).await?;
    let begun = Instant::now();
    let label = format!("{}={}", names::LABEL_CLUSTER, scene.name);
    let delete = [
        "delete",
        "pods",
        "-l",
        &label,
        "-n",
        NAMESPACE,
        "--wait=false",
    ];
    stage.plane.kubectl(&delete).await?;
    let new = wait::until("a record of new agents alone", DEADLINE, async || {
        let agents = stage.agents(scene.name).await?;
        let record = Record::read(stage, scene.name).await?;
        let listed = agents.iter().all(|agent| record.lists(&agent.uid));
        let all_new = !agents.iter().any(|agent| scene.agents.contains(agent));
        let complete = agents.len() == usize::from(NODES) && record.members.len() == agents.len();
        Ok((listed && all_new && complete && record.unserved() == 0).then_some(agents))
    })
    .await?;
    let recorded = begun.elapsed().as_secs_f64();
    stage.wait_ready(scene.name, NODES.into()).await?;
    for agent in &new {
        wait::until("each agent to answer", DEADLINE, async || {
            agent.locate("user:42").await.map(Some)
        })
        .await?;
    }
    println!(
        "  all {NODES} pods are deleted: a record of new agents after {recorded:.1} s, Ready and answering after {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    let after = Record::read(stage, scene.name).await?;
    let elsewhere = after.rehomed_since(&before).on_other_node;
    println!(
        "  {} slots have new owners, {elsewhere} of them on another node; {} epochs",
        after.since(&before).moved,
        after.epoch - before.epoch
    );
    told::ensure_never_frozen(stage, scene.name).await?;
    scene.agents = new;
    scene.strike(stage).await
}
