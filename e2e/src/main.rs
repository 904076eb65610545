//! The `slotmesh-e2e` binary: the demo, the measurements, and a control plane to play with.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use clap::{Parser, Subcommand};
use slotmesh_e2e::assets::Assets;
use slotmesh_e2e::bench::{self, Bench};
use slotmesh_e2e::chart_docs;
use slotmesh_e2e::control_plane::ControlPlane;
use slotmesh_e2e::demo::{self, Played};
use slotmesh_e2e::deploy;
use slotmesh_e2e::process::{self, until_signal};
use slotmesh_e2e::run_folder::{RunFolder, clean_leftovers};
use tracing_subscriber::EnvFilter;

/// Printed below `--help`.
const HELP: &str = "\
The programs of Kubernetes are taken from KUBEBUILDER_ASSETS when their version fits (what does not is named), from an
earlier build, or from PATH; else they are built once with Go (about 7 minutes on 2 cores) into XDG_CACHE_HOME/slotmesh,
usually ~/.cache/slotmesh.
Everything that is started lives in a folder of its own there and ends with this program, also after
Ctrl-C; what a crash leaves behind is cleaned at the next start, or by `slotmesh-e2e clean`.

  slotmesh-e2e demo --keep        play the demo, then leave it running
  slotmesh-e2e up                 only the control plane: point kubectl at the KUBECONFIG it prints
  RUST_LOG=debug slotmesh-e2e up  the same, and say more";

/// A real Kubernetes on this machine, without Docker: for the demo of SlotMesh, its tests, and to play.
#[derive(Debug, Parser)]
#[command(name = "slotmesh-e2e", version, after_help = HELP)]
struct Arguments {
    #[command(subcommand)]
    command: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Plays the demo: install, form, kill, freeze, recover, split; exit code 1 when a promise is broken.
    Demo {
        /// Leave everything running at the end, and print how to point kubectl at it.
        #[arg(long)]
        keep: bool,
    },
    /// Measures what is promised, part by part; exit code 1 when an aim is missed.
    Bench {
        #[command(subcommand)]
        what: Bench,
    },
    /// Starts a control plane and keeps it until Ctrl-C.
    Up,
    /// Finds or builds the binaries of Kubernetes.
    Assets,
    /// Writes the table of values into the chart's README.
    ChartDocs,
    /// Writes deploy/install.yaml from the chart.
    Manifests,
    /// Ends and removes what crashed runs left behind.
    Clean,
}

fn main() -> ExitCode {
    if let Err(error) = process::launch_if_asked() {
        eprintln!("slotmesh-e2e: {error:#}");
        return ExitCode::from(127);
    }
    let command = Arguments::parse().command;
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("warn,kube_client=off"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    // One thread: children die with the thread that spawned them.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let done = runtime
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(run(command)));
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("slotmesh-e2e: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: What) -> Result<bool> {
    match command {
        What::Demo { keep } => {
            let run = Arc::new(RunFolder::create()?);
            let all_met = match until_signal(demo::play(run.clone())).await {
                Ok(None) => return Ok(false),
                Ok(Some(played)) => shown(played, keep).await,
                Err(error) => Err(error),
            };
            keep_logs_if(!matches!(all_met, Ok(true)), &run);
            all_met
        }
        What::Bench { what } => Ok(until_signal(bench::run(&what)).await?.unwrap_or(false)),
        What::Up => {
            let run = RunFolder::create()?;
            let up = async {
                let assets = Assets::ensure(|line| println!("{line}")).await?;
                ControlPlane::start(assets, &run).await
            };
            let started = until_signal(up).await;
            keep_logs_if(started.is_err(), &run);
            let Some(plane) = started? else {
                return Ok(false);
            };
            println!(
                "export KUBECONFIG={}\nCtrl-C ends it.",
                plane.kubeconfig().display()
            );
            until_signal::<()>(std::future::pending()).await?;
            plane.stop().await;
            Ok(true)
        }
        What::Assets => {
            let built = until_signal(Assets::ensure(|line| println!("{line}"))).await?;
            Ok(built.is_some())
        }
        What::ChartDocs => chart_docs::write().map(|()| true),
        What::Manifests => {
            let written = async {
                let assets = Assets::ensure(|line| println!("{line}")).await?;
                deploy::write(&assets).await
            };
            Ok(until_signal(written).await?.is_some())
        }
        What::Clean => {
            let done = clean_leftovers()?;
            println!(
                "{}",
                if done.is_empty() {
                    "nothing was left behind".to_owned()
                } else {
                    done.join("\n")
                }
            );
            Ok(true)
        }
    }
}

/// The end of the demo; whether every promise was kept.
async fn shown(played: Played, keep: bool) -> Result<bool> {
    if keep {
        println!("\n{}", played.how_to_look());
        until_signal::<()>(std::future::pending()).await?;
    }
    let all_met = played.all_met;
    played.end().await;
    Ok(all_met)
}

/// After a failure the logs are moved to where they stay.
fn keep_logs_if(failed: bool, run: &RunFolder) {
    if failed {
        match run.keep_logs() {
            Ok(kept) => eprintln!("logs: {}", kept.display()),
            // The failure itself is what matters.
            Err(error) => eprintln!("{error:#}"),
        }
    }
}
