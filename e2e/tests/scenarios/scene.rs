//! A cluster on nodes of its own.

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
        stage.apply_cluster(name, &json!({})).await?;
        stage.wait_ready(name, count.into()).await?;
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

    /// Deletes the cluster, waits until its pods are gone, and removes the nodes.
    pub async fn strike(self, stage: &Stage) -> Result<()> {
        for agent in &self.agents {
            let _ = self.nodes.change(NAMESPACE, &agent.name, |verbs| {
                verbs.held = false;
                verbs.frozen = false;
            });
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
