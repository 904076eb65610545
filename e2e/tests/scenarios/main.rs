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
mod cut;
mod four_of_ten;
mod kill_and_hold;
mod logs;
mod one_of_two;
mod power_off;
mod restart;
mod silence;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;
use slotmesh_e2e::assets::Assets;
use slotmesh_e2e::network::{self, Form};
use slotmesh_e2e::node::Nodes;
use slotmesh_e2e::process;
use slotmesh_e2e::run_folder::RunFolder;
use slotmesh_e2e::stage::{Agent, NAMESPACE, Stage};
use slotmesh_e2e::wait;

const STORIES: [&str; 10] = [
    "api",
    "chart",
    "kill_and_hold",
    "restart",
    "four_of_ten",
    "one_of_two",
    "logs",
    "power_off",
    "silence",
    "cut",
];
/// Those that need nodes in network namespaces.
const APART: [&str; 2] = ["silence", "cut"];
const DEADLINE: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    process::launch_if_asked().expect("the program starts");
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    // What may have to be built needs the machine's network, which is left behind then.
    if let Err(error) = runtime().block_on(Assets::ensure(|line| println!("{line}"))) {
        eprintln!("the stage was not set: {error:#}");
        return ExitCode::FAILURE;
    }
    let form = network::enter();
    match runtime().block_on(play_all(&wanted, &form)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("the stage was not set: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn play_all(wanted: &[String], form: &Form) -> Result<bool> {
    let run = Arc::new(RunFolder::create()?);
    let assets = Assets::ensure(|line| println!("{line}")).await?;
    let mut stage = Stage::start_on(assets, run.clone(), form).await?;
    stage.install().await?;
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for story in STORIES {
        if !wanted.is_empty() && !wanted.iter().any(|word| story.contains(word.as_str())) {
            continue;
        }
        if let (true, Form::Loopback(why)) = (APART.contains(&story), form) {
            println!("story {story}: skipped: {why}");
            skipped += 1;
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
            "logs" => logs::play(&mut stage).await,
            "power_off" => power_off::play(&mut stage).await,
            "silence" => silence::play(&mut stage).await,
            "cut" => cut::play(&mut stage).await,
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
    println!("{passed} passed, {failed} failed, {skipped} skipped");
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
        Self::set_on(stage, name, nodes).await
    }

    /// The same on nodes that can be silenced and cut off.
    async fn set_apart(stage: &mut Stage, name: &'static str, count: u8) -> Result<Self> {
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

    /// A metric of each of these agents, asked for on its own node.
    async fn metrics(&self, agents: &[Agent], name: &str) -> Result<Vec<f64>> {
        let mut values = Vec::new();
        for agent in agents {
            let address = SocketAddr::new(agent.ip, 7403);
            values.push(self.nodes.metric_on(&agent.node, address, name).await?);
        }
        Ok(values)
    }

    /// Deletes the cluster, waits until its pods are gone, and removes the nodes.
    async fn strike(self, stage: &Stage) -> Result<()> {
        for agent in &self.agents {
            let _ = self.nodes.return_pod(NAMESPACE, &agent.name);
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
