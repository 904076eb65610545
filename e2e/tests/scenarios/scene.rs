//! A cluster on nodes of its own.

use std::net::SocketAddr;

use anyhow::Result;
use serde_json::json;
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

impl Scene {
    /// Adds nodes, applies a cluster named like the story, and waits until it is Ready.
    pub async fn set(stage: &mut Stage, name: &'static str, count: u8) -> Result<Self> {
        let nodes = stage.add_nodes(name, count).await?;
        Self::set_on(stage, name, nodes).await
    }

    /// The same on nodes that can be silenced and cut off.
    pub async fn set_apart(stage: &mut Stage, name: &'static str, count: u8) -> Result<Self> {
        let nodes = stage.add_nodes_apart(name, count).await?;
        Self::set_on(stage, name, nodes).await
    }

    async fn set_on(stage: &Stage, name: &'static str, nodes: Nodes) -> Result<Self> {
        let count = i32::try_from(nodes.names().len())?;
        stage.apply_cluster(name, &json!({})).await?;
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
