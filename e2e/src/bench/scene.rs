//! A stage with one cluster, and what most parts do with it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use crate::assets::Assets;
use crate::control_plane::Options;
use crate::node::Nodes;
use crate::record::Record;
use crate::run_folder::RunFolder;
use crate::stage::{Agent, Stage};
use crate::{http, wait};

pub(super) const CLUSTER: &str = "bench";
const DEADLINE: Duration = Duration::from_secs(120);

/// A running cluster.
#[derive(Debug)]
pub(super) struct Scene<'a> {
    pub(super) stage: &'a mut Stage,
    pub(super) nodes: Nodes,
    pub(super) agents: Vec<Agent>,
}

/// Plays something on a stage of its own, with SlotMesh installed; when it fails, the logs stay.
pub(super) async fn with_stage<T>(
    options: Options,
    play: impl AsyncFnOnce(&mut Stage) -> Result<T>,
) -> Result<T> {
    let run = Arc::new(RunFolder::create()?);
    let played = async {
        let assets = Assets::ensure(|line| println!("  {line}")).await?;
        let mut stage = Stage::start_with(assets, run.clone(), options).await?;
        stage.install().await?;
        let played = play(&mut stage).await;
        stage.stop().await;
        played
    }
    .await;
    if played.is_err() {
        match run.keep_logs() {
            Ok(kept) => eprintln!("logs: {}", kept.display()),
            // The failure itself is what matters.
            Err(error) => eprintln!("{error:#}"),
        }
    }
    played
}

/// Plays something with a cluster on that many nodes; when it fails, the logs stay.
pub(super) async fn with_cluster<T>(
    count: u8,
    options: Options,
    play: impl AsyncFnOnce(&mut Scene<'_>) -> Result<T>,
) -> Result<T> {
    with_stage(options, async |stage| {
        let mut scene = Scene::set(stage, count).await?;
        let played = play(&mut scene).await;
        scene.nodes.remove().await;
        played
    })
    .await
}

impl<'a> Scene<'a> {
    async fn set(stage: &'a mut Stage, count: u8) -> Result<Self> {
        let nodes = stage.add_nodes("worker", count).await?;
        stage.apply_cluster(CLUSTER, &json!({})).await?;
        stage.wait_ready(CLUSTER, count.into()).await?;
        let agents = stage.agents(CLUSTER).await?;
        let scene = Self {
            stage,
            nodes,
            agents,
        };
        scene.settled().await?;
        println!("  {count} nodes, every agent a member");
        Ok(scene)
    }

    pub(super) async fn record(&self) -> Result<Record> {
        Record::whole(self.stage, CLUSTER).await
    }

    /// Waits until every agent is a member by the recorded map, has that map in force, and the cluster is
    /// Ready; the record.
    pub(super) async fn settled(&self) -> Result<Record> {
        let record = Record::in_force(self.stage, CLUSTER, &self.agents).await?;
        let members = i32::try_from(self.agents.len())?;
        self.stage.wait_ready(CLUSTER, members).await?;
        Ok(record)
    }

    /// Metrics of every agent, by its place in `agents`.
    pub(super) async fn metrics(&self) -> Result<Vec<BTreeMap<String, f64>>> {
        let mut all = Vec::new();
        for agent in &self.agents {
            let what = format!("metrics of {}", agent.name);
            let url = agent.metrics_url();
            all.push(
                wait::until(&what, DEADLINE, async || {
                    http::metrics(&url).await.map(Some)
                })
                .await?,
            );
        }
        Ok(all)
    }
}
