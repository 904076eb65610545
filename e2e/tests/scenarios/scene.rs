//! A cluster on nodes of its own.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use slotmesh_e2e::node::Nodes;
use slotmesh_e2e::stage::{Agent, NAMESPACE, Stage};
use slotmesh_e2e::wait;

use crate::DEADLINE;

/// A cluster on nodes of its own.
pub struct Scene {
    pub name: &'static str,
    pub nodes: Nodes,
    pub agents: Vec<Agent>,
}

/// None of these agents has taken in another map.
pub async fn ensure_epoch(agents: &[Agent], wanted: i64) -> Result<()> {
    for agent in agents {
        let epoch = agent.locate("user:42").await?.epoch;
        ensure!(
            epoch == wanted.unsigned_abs(),
            "{} has epoch {epoch}",
            agent.name
        );
    }
    Ok(())
}

impl Scene {
    /// Adds nodes, applies a cluster named like the story, and waits until it is Ready.
    pub async fn set(stage: &mut Stage, name: &'static str, count: u8) -> Result<Self> {
        Self::set_with(stage, name, count, &json!({})).await
    }

    /// The same with that spec.
    pub async fn set_with(
        stage: &mut Stage,
        name: &'static str,
        count: u8,
        spec: &Value,
    ) -> Result<Self> {
        let nodes = stage.add_nodes(name, count).await?;
        Self::set_on(stage, name, nodes, spec).await
    }

    /// The same on nodes that can be silenced and cut off.
    pub async fn set_apart(stage: &mut Stage, name: &'static str, count: u8) -> Result<Self> {
        let nodes = stage.add_nodes_apart(name, count).await?;
        Self::set_on(stage, name, nodes, &json!({})).await
    }

    async fn set_on(stage: &Stage, name: &'static str, nodes: Nodes, spec: &Value) -> Result<Self> {
        let count = i32::try_from(nodes.names().len())?;
        stage.apply_cluster(name, spec).await?;
        stage.wait_ready(name, count).await?;
        Ok(Self {
            name,
            nodes,
            agents: stage.agents(name).await?,
        })
    }

    /// All agents but one.
    pub fn others(&self, than: &Agent) -> Vec<&Agent> {
        self.agents.iter().filter(|agent| *agent != than).collect()
    }

    /// Whoever owns a key, as another agent of the scene says that is not one of `not_asked`.
    pub async fn owner_of(&self, key: &str, not_asked: &[Agent]) -> Result<Agent> {
        let asked = self.agents.iter().find(|agent| !not_asked.contains(agent));
        let owner = asked.context("nobody is left")?.locate(key).await?.owner;
        let mut agents = self.agents.iter();
        let found = agents.find(|agent| agent.uid == owner.uid);
        found
            .cloned()
            .with_context(|| format!("{} is no agent of this scene", owner.name))
    }

    /// A metric of each of these agents, asked for on its own node.
    pub async fn metrics(&self, agents: &[Agent], name: &str) -> Result<Vec<f64>> {
        let mut values = Vec::new();
        for agent in agents {
            let address = SocketAddr::new(agent.ip, 7403);
            values.push(self.nodes.metric_on(&agent.node, address, name).await?);
        }
        Ok(values)
    }

    /// Deletes the cluster, waits until its pods are gone, and removes the nodes.
    pub async fn strike(self, stage: &Stage) -> Result<()> {
        for agent in &self.agents {
            let _ = self.nodes.return_pod(NAMESPACE, &agent.name);
        }
        delete_cluster(stage, self.name).await?;
        self.nodes.remove().await;
        Ok(())
    }
}

/// Deletes a cluster and waits until its pods are gone.
pub async fn delete_cluster(stage: &Stage, name: &str) -> Result<()> {
    stage
        .plane
        .kubectl(&["delete", "gossip", name, "-n", NAMESPACE])
        .await?;
    wait::until("the cluster's pods to go", DEADLINE, async || {
        Ok(stage.agents(name).await?.is_empty().then_some(()))
    })
    .await
}
