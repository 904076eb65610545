//! The control plane itself: what it does, what it survives, and that nothing is left of it.
//! Arguments name the stories to play; without any all are played.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

mod builds;
mod ends;
mod networks;
mod outages;
mod pods;
mod works;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use slotmesh_e2e::assets::Assets;
use slotmesh_e2e::control_plane::ControlPlane;
use slotmesh_e2e::process::{self, until_signal};
use slotmesh_e2e::run_folder::RunFolder;
use slotmesh_e2e::{network, wait};

const DEADLINE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    process::launch_if_asked().expect("the program starts");
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // Before there is a second thread.
    let form = arguments
        .first()
        .filter(|word| *word == networks::NETWORK)
        .map(|_| network::enter());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    if arguments.first().is_some_and(|word| word == ends::PANIC) {
        return runtime.block_on(ends::panicking_run());
    }
    if let Some(form) = form {
        return runtime.block_on(networks::network_run(form));
    }
    let wanted: Vec<String> = arguments
        .into_iter()
        .filter(|word| !word.starts_with('-'))
        .collect();
    match runtime.block_on(until_signal(play_all(&wanted))) {
        Ok(Some(())) => ExitCode::SUCCESS,
        Ok(None) => ExitCode::FAILURE,
        Err(error) => {
            println!("FAILED: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn play_all(wanted: &[String]) -> Result<()> {
    let run = Arc::new(RunFolder::create()?);
    kept(&run, play_on(&run, wanted).await)?;
    // The control plane has ended: nothing of it may be left.
    ends::leaves_nothing(run)
}

/// Keeps what errors speak of: the logs of a run that failed.
fn kept<T>(run: &RunFolder, played: Result<T>) -> Result<T> {
    if played.is_err() {
        match run.keep_logs() {
            Ok(kept) => println!("logs: {}", kept.display()),
            // The failure itself is what matters.
            Err(error) => println!("{error:#}"),
        }
    }
    played
}

async fn play_on(run: &Arc<RunFolder>, wanted: &[String]) -> Result<()> {
    let assets = Assets::ensure(|line| println!("{line}")).await?;
    let is_wanted =
        |story: &str| wanted.is_empty() || wanted.iter().any(|word| story.contains(word.as_str()));

    let begun = Instant::now();
    let mut plane = ControlPlane::start(assets.clone(), run).await?;
    println!("control plane ready after {:.1} s", seconds(begun));
    macro_rules! story {
        ($name:literal, $played:expr) => {
            if is_wanted($name) {
                let begun = Instant::now();
                $played.await.context($name)?;
                println!("story {}: ok ({:.1} s)", $name, seconds(begun));
            }
        };
    }
    story!("components", works::components(&plane));
    story!("node_credentials", works::node_credentials(&plane));
    story!("tokens", works::tokens(&plane));
    story!("tools", works::tools(&plane));
    story!("pods_without_api", pods::without_api(&plane, run));
    story!(
        "pods_ordered_at_starts",
        pods::orders_at_starts(&plane, run)
    );
    story!(
        "pods_held_from_the_start",
        pods::held_from_the_start(&plane, run)
    );
    story!("pods_statuses", pods::statuses(&plane, run));
    story!("api_server_killed", outages::api_server_killed(&mut plane));
    story!("api_server_paused", outages::api_server_paused(&plane));
    story!("all_restarted", outages::all_restarted(&mut plane));
    // Last on the shared plane: it ends it.
    ends::stop(plane, run.path()).await.context("stop")?;
    println!("story stop: ok");
    story!("network_killed", networks::killed());
    story!("bridge_address", ends::bridge_address(&assets));
    story!("no_such_address", ends::no_such_address(&assets));
    story!("up_interrupted", ends::up_ends_with(&assets, "INT"));
    story!("up_terminated", ends::up_ends_with(&assets, "TERM"));
    story!("up_killed", ends::up_killed(&assets));
    story!("build_once", builds::once());
    story!("build_interrupted", builds::interrupted());
    story!("build_chosen", builds::chosen());
    story!("build_complaints", builds::complaints());
    story!("panic", ends::panic(&assets));
    Ok(())
}

fn seconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64()
}

/// Makes a namespace and waits until the controllers have filled it: proof that they work.
async fn controllers_fill(plane: &ControlPlane, namespace: &str) -> Result<()> {
    plane.kubectl(&["create", "namespace", namespace]).await?;
    is_filled(plane, namespace).await
}

/// Waits until a namespace can have pods.
async fn is_filled(plane: &ControlPlane, namespace: &str) -> Result<()> {
    let accounts: Api<ServiceAccount> = Api::namespaced(plane.client(), namespace);
    wait::until("the namespace's ServiceAccount", DEADLINE, async || {
        Ok(accounts.get_opt("default").await?)
    })
    .await
    .map(drop)
}
