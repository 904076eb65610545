//! SlotMesh as an earlier chart installed it, with a cluster on it, is upgraded to today's chart; then
//! it is uninstalled, and installed again. All the while the cluster stays Ready, no agent restarts or
//! joins anew, and every look-up is answered. Agents that join afterwards show that an operator acts.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use slotmesh_e2e::lookups::LookUps;
use slotmesh_e2e::node::Nodes;
use slotmesh_e2e::stage::{CHART, CHART_BEFORE, OPERATOR_NAMESPACE, Stage};
use slotmesh_e2e::wait;

use crate::calm::Calm;
use crate::{DEADLINE, Scene};

const MEMBERS: u8 = 4;

pub async fn play(stage: &mut Stage) -> Result<()> {
    remove_everything(stage).await?;
    let new = ["install", "--create-namespace"];
    stage.release(&new, CHART_BEFORE).await?;
    let chart = installed(stage).await?;
    let scene = Scene::set(stage, "older", MEMBERS).await?;

    let first = Act::begin(stage, &scene).await?;
    stage.release(&["upgrade"], CHART).await?;
    let now = installed(stage).await?;
    ensure!(now != chart, "both charts are {now}");
    let what = format!("helm upgrade from {chart} to {now}");
    let guest = first.end(stage, &scene, &what, MEMBERS + 1).await?;

    let second = Act::begin(stage, &scene).await?;
    stage.uninstall().await?;
    stage.install().await?;
    let what = "helm uninstall, helm install";
    let other = second.end(stage, &scene, what, MEMBERS + 2).await?;

    scene.strike(stage).await?;
    guest.remove().await;
    other.remove().await;
    Ok(())
}

/// Something that is done to the operators under a cluster.
struct Act {
    begun: Instant,
    before: Calm,
    look_ups: LookUps,
}

impl Act {
    async fn begin(stage: &Stage, scene: &Scene) -> Result<Self> {
        Ok(Self {
            begun: Instant::now(),
            before: Calm::look(stage, scene).await?,
            look_ups: LookUps::start(&scene.agents),
        })
    }

    /// Nothing has happened to the cluster, and the operators that are there now let a new agent in.
    async fn end(self, stage: &mut Stage, scene: &Scene, what: &str, members: u8) -> Result<Nodes> {
        let done = self.begun.elapsed().as_secs_f64();
        let cluster = stage.cluster(scene.name).await?;
        let status = cluster.status.context("no status")?;
        let ready = status.conditions.iter().find(|it| it.type_ == "Ready");
        ensure!(
            ready.is_some_and(|ready| ready.status == "True"),
            "{what}: {:?}",
            status.conditions
        );
        let nodes = stage.add_nodes(&format!("late{members}"), 1).await?;
        stage.wait_ready(scene.name, members.into()).await?;
        let admitted = self.begun.elapsed().as_secs_f64();
        let agents = stage.agents(scene.name).await?.into_iter();
        let mut new = agents.filter(|agent| nodes.names().contains(&agent.node));
        let new = new.next().context("the new node has no agent")?;
        wait::until("everybody to have the new map", DEADLINE, async || {
            for agent in &scene.agents {
                if !agent.incarnations().await?.contains_key(&new.uid) {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        })
        .await?;
        let tally = self.look_ups.stop().await?;
        println!("  {what}: {done:.1} s; a new node's agent is a member after {admitted:.1} s");
        println!("  {tally}");
        tally.ensure_served()?;
        let after = Calm::look(stage, scene).await?;
        after.ensure_one_join_since(&self.before, &new)?;
        println!("  one epoch, that join; no agent restarted or joined anew, 0 verdicts");
        Ok(nodes)
    }
}

/// The release, and the definitions that it keeps.
pub async fn remove_everything(stage: &Stage) -> Result<()> {
    stage.uninstall().await?;
    let crds = ["delete", "crd", "-l", "app.kubernetes.io/part-of=slotmesh"];
    stage.plane.kubectl(&crds).await.map(drop)
}

/// Name and version of the chart that is installed.
async fn installed(stage: &Stage) -> Result<String> {
    let list = ["list", "-n", OPERATOR_NAMESPACE, "-o", "json"];
    let list: Value = serde_json::from_str(&stage.plane.helm(&list).await?)?;
    let chart = list[0]["chart"].as_str();
    Ok(chart.context("nothing is installed")?.to_owned())
}
