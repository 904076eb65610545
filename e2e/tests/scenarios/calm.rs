//! What must not change in a cluster while something goes on around it.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use slotmesh_e2e::stage::{Agent, Stage};

use crate::Scene;

const ADMITTED: &str = r#"slotmesh_agent_join_attempts_total{outcome="admitted"}"#;

/// The agents that a scene was set with, as they are at one moment.
#[derive(Debug, PartialEq)]
pub struct Calm {
    agents: Vec<Agent>,
    restarts: BTreeMap<String, i32>,
    /// Of each agent: epoch of its map, incarnations that it lists.
    maps: BTreeMap<String, (u64, BTreeMap<String, u64>)>,
    /// Of each agent: how often it was admitted, and how many verdicts it came to.
    counts: BTreeMap<String, (u64, u64)>,
}

impl Calm {
    /// Looks at all of them.
    pub async fn look(stage: &Stage, scene: &Scene) -> Result<Self> {
        let mut calm = Self {
            agents: stage.agents(scene.name).await?,
            restarts: stage.restarts(scene.name).await?,
            maps: BTreeMap::new(),
            counts: BTreeMap::new(),
        };
        calm.agents.retain(|agent| scene.agents.contains(agent));
        let own: Vec<&String> = scene.agents.iter().map(|agent| &agent.uid).collect();
        calm.restarts.retain(|uid, _| own.contains(&uid));
        for agent in &scene.agents {
            let epoch = agent.locate("user:42").await?.epoch;
            let incarnations = agent.incarnations().await?;
            calm.maps.insert(agent.uid.clone(), (epoch, incarnations));
            let admitted = whole(agent.metric(ADMITTED).await?);
            let verdicts = whole(agent.metric("slotmesh_agent_verdicts_total").await?);
            calm.counts.insert(agent.uid.clone(), (admitted, verdicts));
        }
        Ok(calm)
    }

    /// Nothing has changed since.
    pub fn ensure_same_as(&self, before: &Self) -> Result<()> {
        ensure!(
            self == before,
            "something changed.\nbefore: {before:?}\nafter: {self:?}"
        );
        Ok(())
    }

    /// Exactly one epoch lies between the two, and all that it changed is one more member.
    pub fn ensure_one_join_since(mut self, before: &Self, new: &Agent) -> Result<()> {
        for (uid, (epoch, incarnations)) in &mut self.maps {
            let joined = incarnations.remove(&new.uid);
            joined.with_context(|| format!("{uid} does not list {}", new.name))?;
            *epoch -= 1;
        }
        ensure!(
            self == *before,
            "more than one join happened.\nbefore: {before:?}\nafter, the join taken away: {self:?}"
        );
        Ok(())
    }
}

/// Counters are whole numbers.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn whole(counter: f64) -> u64 {
    counter.round() as u64
}
