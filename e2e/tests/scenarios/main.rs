//! Stories on a real Kubernetes API, one story a file, each printing its figures. Arguments name the
//! stories to play; without any all are played. They share two control planes, `--stages 1` one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

mod all_pods_deleted;
mod api;
mod api_down;
mod calm;
mod chart;
mod children;
mod clean;
mod cut;
mod drain;
mod four_of_ten;
mod freeze_and_wake;
mod hand_edited;
mod install_uninstall;
mod kept_map;
mod keys_lost;
mod kill_and_hold;
mod kubectl_only;
mod leaders;
mod logs;
mod mass_failure;
mod namespace_gone;
mod no_majority;
mod one_of_two;
mod operator_restarted;
mod pace;
mod policy;
mod power_off;
mod preview_and_pause;
mod rbac_taken;
mod reconcile_killed;
mod restart;
mod restored;
mod rollout;
mod scale;
mod scene;
mod silence;
mod split;
mod split_killed;
mod stages;
mod strangers;
mod told;
mod two_clusters;
mod two_leaders;
mod upgrade;

use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use slotmesh_e2e::assets::Assets;
use slotmesh_e2e::network::{self, Form};
use slotmesh_e2e::process::{self, until_signal};
use slotmesh_e2e::run_folder::RunFolder;
use slotmesh_e2e::stage::Stage;

use scene::Scene;
use stages::{Outcome, Queue};

/// Name, what it tells, and how it is played.
type Story = (&'static str, &'static str, Play);
type Play = fn(&mut Stage) -> LocalBoxFuture<'_, Result<()>>;

/// One line a story, in the order in which they are played.
#[rustfmt::skip]
const STORIES: [Story; 38] = [
    ("api", "each validation rule of the CRDs: accepted and refused", |s| Box::pin(api::play(s))),
    ("chart", "the chart and deploy/: rendered, tried against the API, rights, policy, helm test", |s| Box::pin(chart::play(s))),
    ("children", "every child is deleted and edited, names are taken, overrides refused, a cluster paused", |s| Box::pin(children::play(s))),
    ("kill_and_hold", "an agent is killed and held down: verdict, new owners, and back", |s| Box::pin(kill_and_hold::play(s))),
    ("restart", "an agent is killed and runs again within 100 ms: no slot moves", |s| Box::pin(restart::play(s))),
    ("freeze_and_wake", "an agent is frozen, loses its slots, wakes, and learns that it was deposed", |s| Box::pin(freeze_and_wake::play(s))),
    ("pace", "the heartbeat of a running cluster is made slower, and fast again: nobody is reported", |s| Box::pin(pace::play(s))),
    ("four_of_ten", "four of ten agents are killed at once: one change", |s| Box::pin(four_of_ten::play(s))),
    ("one_of_two", "one of two agents is killed, with the operator and without", |s| Box::pin(one_of_two::play(s))),
    ("no_majority", "two of three agents are killed: nobody can prove it, the operator looks itself", |s| Box::pin(no_majority::play(s))),
    ("operator_restarted", "operators are killed: nothing changes, and later joins work", |s| Box::pin(operator_restarted::play(s))),
    ("all_pods_deleted", "all agents' pods are deleted at once: whole again without anybody's help", |s| Box::pin(all_pods_deleted::play(s))),
    ("drain", "nodes are drained and taken back: the fewest moves", |s| Box::pin(drain::play(s))),
    ("two_clusters", "two clusters on the same nodes, one is deleted", |s| Box::pin(two_clusters::play(s))),
    ("mass_failure", "half of the agents vanish, then the owners of one key one by one: frozen, thawed", |s| Box::pin(mass_failure::play(s))),
    ("preview_and_pause", "Preview, Disabled, paused: what the operator does and does not", |s| Box::pin(preview_and_pause::play(s))),
    ("hand_edited", "a record is edited and deleted by hand", |s| Box::pin(hand_edited::play(s))),
    ("restored", "a record is restored that is older than a death: no map is made on it", |s| Box::pin(restored::play(s))),
    ("rbac_taken", "a right is taken from the operator and given back", |s| Box::pin(rbac_taken::play(s))),
    ("rollout", "the pod template changes: every look-up is answered, no slot changes its node", |s| Box::pin(rollout::play(s))),
    ("scale", "no nodes and back; every node is replaced", |s| Box::pin(scale::play(s))),
    ("kept_map", "an agent that starts without any operator answers by the map that it kept", |s| Box::pin(kept_map::play(s))),
    ("keys_lost", "the keys of a cluster are lost: put back, or the loss accepted", |s| Box::pin(keys_lost::play(s))),
    ("strangers", "wrong certificates, wrong tokens, members of another cluster: all refused", |s| Box::pin(strangers::play(s))),
    ("logs", "kubectl logs, as it follows and as it was before a restart", |s| Box::pin(logs::play(s))),
    ("api_down", "no API server for half a minute under a kill, then etcd anew", |s| Box::pin(api_down::play(s))),
    ("power_off", "a node loses power: its peers know long before Kubernetes", |s| Box::pin(power_off::play(s))),
    ("silence", "nothing gets in or out of a node: verdict, and back", |s| Box::pin(silence::play(s))),
    ("cut", "two of five are cut off: the three agree, the two claim nothing", |s| Box::pin(cut::play(s))),
    ("split", "a cell of twelve becomes two under look-ups: no slot moves", |s| Box::pin(split::play(s))),
    ("split_killed", "operators are killed at each step of a split", |s| Box::pin(split_killed::play(s))),
    ("upgrade", "an earlier chart is upgraded under a cluster, uninstalled, installed again", |s| Box::pin(upgrade::play(s))),
    ("reconcile_killed", "operators are killed at each step in which a cluster is made", |s| Box::pin(reconcile_killed::play(s))),
    ("two_leaders", "two operators both believe that they lead: one change, one map", |s| Box::pin(two_leaders::play(s))),
    ("leaders", "the lead is handed over under a join; certificates expire while nobody leads", |s| Box::pin(leaders::play(s))),
    ("kubectl_only", "installed by kubectl alone, then taken over by helm", |s| Box::pin(kubectl_only::play(s))),
    ("namespace_gone", "a namespace with a cluster goes without any operator", |s| Box::pin(namespace_gone::play(s))),
    ("install_uninstall", "helm uninstall and install again; a deleted cluster leaves nothing", |s| Box::pin(install_uninstall::play(s))),
];
/// Those that need nodes in network namespaces.
const APART: [&str; 2] = ["silence", "cut"];
const DEADLINE: Duration = Duration::from_secs(120);

/// Plays stories on a real Kubernetes API.
#[derive(Parser)]
#[command(name = "scenarios")]
struct Arguments {
    /// Words that names of stories hold; without any all are played.
    stories: Vec<String>,
    /// Prints what each story tells, and plays none.
    #[arg(long)]
    list: bool,
    /// Stages on which stories are played at once, each with a control plane of its own.
    #[arg(long, default_value_t = stages::USUAL, value_parser = clap::value_parser!(u8).range(1..=stages::MOST))]
    stages: u8,
}

fn main() -> ExitCode {
    process::launch_if_asked().expect("the program starts");
    let words: Vec<String> = std::env::args().skip(1).collect();
    let done = match words.as_slice() {
        [word, told] if word == stages::STAGE => be_stage(Path::new(told)),
        _ => direct(&Arguments::parse()),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Has the stories played; whether all went well.
fn direct(arguments: &Arguments) -> Result<bool> {
    if arguments.list {
        for (name, tells, _) in STORIES {
            println!("{name:<20} {tells}");
        }
        return Ok(true);
    }
    let stories = wanted(&arguments.stories);
    let count = usize::from(arguments.stages).min(stories.len());
    let runtime = runtime()?;
    // What may have to be built needs the machine's network, which a stage has left.
    let ensured = until_signal(Assets::ensure(|line| println!("{line}")));
    let ensured = runtime.block_on(ensured).context("the stage was not set")?;
    if ensured.is_none() {
        return Ok(false);
    }
    let played = runtime.block_on(stages::play(&stories, count))?;
    Ok(played.unwrap_or(false))
}

/// One thread: children die with the thread that spawned them.
fn runtime() -> Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    Ok(builder.enable_all().build()?)
}

/// The stories that the words name.
fn wanted(words: &[String]) -> Vec<Story> {
    let is_named = |word: &str| STORIES.iter().any(|(name, _, _)| name.contains(word));
    // A misspelt name that plays nothing would pass for ever.
    if let Some(word) = words.iter().find(|word| !is_named(word)) {
        let complaint = format!("no story's name holds `{word}`; --list shows them");
        Arguments::command()
            .error(ErrorKind::InvalidValue, complaint)
            .exit();
    }
    let mut stories = STORIES.to_vec();
    stories.retain(|(name, _, _)| words.is_empty() || words.iter().any(|word| name.contains(word)));
    stories
}

/// Plays the stories of the queue that comes on standard input, and tells what became of each.
fn be_stage(told: &Path) -> Result<bool> {
    let mut queue = Queue::ours()?;
    let form = network::enter();
    let run = Arc::new(RunFolder::create()?);
    let played = until_signal(play_all(&mut queue, told, &form, run.clone()));
    let played = runtime()?.block_on(played);
    if !matches!(played, Ok(Some(true) | None)) {
        println!("logs: {}", run.keep_logs()?.display());
    }
    // A story that failed was told; what remains is a stage that broke off.
    Ok(played?.is_some())
}

/// Whether all went well.
async fn play_all(
    queue: &mut Queue,
    told: &Path,
    form: &Form,
    run: Arc<RunFolder>,
) -> Result<bool> {
    let assets = Assets::ensure(|line| println!("{line}")).await?;
    let set = async {
        let stage = Stage::start_on(assets, run, form).await?;
        stage.install().await?;
        anyhow::Ok(stage)
    };
    let mut stage = set.await.context("the stage was not set")?;
    let mut all_well = true;
    while let Some((name, _, play)) = queue.take()? {
        if let (true, Form::Loopback(why)) = (APART.contains(&name), form) {
            println!("story {name}: skipped: {why}");
            stages::tell(told, name, Outcome::Skipped)?;
            continue;
        }
        println!("story {name}");
        let begun = Instant::now();
        // Stories panic as tests do; the others are played all the same.
        let played = AssertUnwindSafe(play(&mut stage)).catch_unwind().await;
        let Err(error) = played.unwrap_or_else(|_| bail!("it panicked; the reason stands above"))
        else {
            println!("story {name}: ok ({:.1} s)", begun.elapsed().as_secs_f64());
            stages::tell(told, name, Outcome::Passed)?;
            continue;
        };
        all_well = false;
        println!("story {name}: FAILED: {error:#}");
        stages::tell(told, name, Outcome::Failed(format!("{error:#}")))?;
        let cleaned = clean::clean(&stage).await;
        cleaned.context("cannot clean the stage, so it plays no more stories")?;
    }
    stage.stop().await;
    Ok(all_well)
}
