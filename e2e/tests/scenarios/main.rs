//! Stories on a real Kubernetes API: one control plane for all, one story a file, each printing its
//! figures. Arguments name the stories to play; without any all are played.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

mod api;
mod chart;
mod four_of_ten;
mod kill_and_hold;
mod no_majority;
mod one_of_two;
mod restart;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;
use slotmesh_e2e::assets::Assets;
use slotmesh_e2e::node::Nodes;
use slotmesh_e2e::process;
use slotmesh_e2e::run_folder::RunFolder;
use slotmesh_e2e::stage::{Agent, NAMESPACE, Stage};
use slotmesh_e2e::wait;

const STORIES: [&str; 7] = [
    "api",
    "chart",
    "kill_and_hold",
    "restart",
    "four_of_ten",
    "one_of_two",
    "no_majority",
];
const DEADLINE: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    process::launch_if_asked().expect("the program starts");
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    match runtime.block_on(play_all(&wanted)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("the stage was not set: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn play_all(wanted: &[String]) -> Result<bool> {
    let run = Arc::new(RunFolder::create()?);
    let assets = Assets::ensure(|line| println!("{line}")).await?;
    let mut stage = Stage::start(assets, run.clone()).await?;
    stage.install().await?;
    let (mut passed, mut failed) = (0, 0);
    for story in STORIES {
        if !wanted.is_empty() && !wanted.iter().any(|word| story.contains(word.as_str())) {
            continue;
        }
        println!("story {story}");
        let begun = Instant::now();
        let played = match story {
            "api" => api::play(&stage).await,
            "chart" => chart::play(&stage).await,
            "kill_and_hold" => kill_and_hold::play(&mut stage).await,
            "restart" => restart::play(&mut stage).await,
            "four_of_ten" => four_of_ten::play(&mut stage).await,
            "one_of_two" => one_of_two::play(&mut stage).await,
            "no_majority" => no_majority::play(&mut stage).await,
            _ => unreachable!("every story is played"),
        };
        match played {
            Ok(()) => {
                passed += 1;
                println!("story {story}: ok ({:.1} s)", begun.elapsed().as_secs_f64());
            }
            Err(error) => {
                failed += 1;
                println!("story {story}: FAILED: {error:#}");
                println!("the stage is not as it should be: later stories are not played");
                break;
            }
        }
    }
    if failed > 0 {
        println!("logs: {}", run.keep_logs()?.display());
    }
    stage.stop().await;
    println!("{passed} passed, {failed} failed");
    Ok(failed == 0)
}

/// A cluster on nodes of its own.
struct Scene {
    name: &'static str,
    nodes: Nodes,
    agents: Vec<Agent>,
}

impl Scene {
    /// Adds nodes, applies a cluster named like the story, and waits until it is Ready.
    async fn set(stage: &mut Stage, name: &'static str, count: u8) -> Result<Self> {
        let nodes = stage.add_nodes(name, count).await?;
        stage.apply_cluster(name, &json!({})).await?;
        stage.wait_ready(name, count.into()).await?;
        Ok(Self {
            name,
            nodes,
            agents: stage.agents(name).await?,
        })
    }

    /// Deletes the cluster, waits until its pods are gone, and removes the nodes.
    async fn strike(self, stage: &Stage) -> Result<()> {
        for agent in &self.agents {
            let _ = self.nodes.change(NAMESPACE, &agent.name, |verbs| {
                verbs.held = false;
                verbs.frozen = false;
            });
        }
        stage
            .plane
            .kubectl(&["delete", "gossip", self.name, "-n", NAMESPACE])
            .await?;
        wait::until("the cluster's pods to go", DEADLINE, async || {
            Ok(stage.agents(self.name).await?.is_empty().then_some(()))
        })
        .await?;
        self.nodes.remove().await;
        Ok(())
    }
}
