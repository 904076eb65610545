//! Cells, as they are recorded and as agents are in them.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use serde_json::Value;
use slotmesh_api::{GossipCell, names};

use super::{Agent, NAMESPACE, Stage};
use crate::{http, wait};

const DEADLINE: Duration = Duration::from_secs(120);

impl Stage {
    /// Names of a cluster's cells on record.
    ///
    /// # Errors
    /// When the API does not answer.
    pub async fn cells(&self, cluster: &str) -> Result<Vec<String>> {
        let cells: Api<GossipCell> = Api::namespaced(self.plane.client(), NAMESPACE);
        let label = format!("{}={cluster}", names::LABEL_CLUSTER);
        let list = cells.list(&ListParams::default().labels(&label)).await?;
        Ok(list.items.iter().map(ResourceExt::name_any).collect())
    }

    /// Waits until so many cells are on record, no other is, and every agent is in one of them; cell ->
    /// its agents.
    ///
    /// # Errors
    /// When the deadline passes, with what is missing.
    pub async fn wait_cells<'a>(
        &self,
        cluster: &str,
        agents: &'a [Agent],
        count: usize,
    ) -> Result<BTreeMap<String, Vec<&'a Agent>>> {
        wait::until(&format!("{count} cells on record"), DEADLINE, async || {
            let cells = self.cells(cluster).await?;
            let mut members: BTreeMap<String, Vec<&Agent>> = BTreeMap::new();
            for agent in agents {
                let cell = agent.cell().await?;
                if !cells.contains(&cell) {
                    bail!("{} is in {cell}, on record are {cells:?}", agent.name);
                }
                members.entry(cell).or_default().push(agent);
            }
            Ok((cells.len() == count && members.len() == count).then_some(members))
        })
        .await
    }
}

impl Agent {
    /// The cell that it is in, by the map in force.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn cell(&self) -> Result<String> {
        let map = http::json(&self.api("/v1/map")).await?;
        let cell = map.get("cell").and_then(Value::as_str);
        Ok(cell.context("a map without a cell")?.to_owned())
    }
}
