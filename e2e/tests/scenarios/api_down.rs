//! The API server is away for half a minute, and an agent is killed meanwhile: the verdict comes as
//! ever, look-ups go on, and once the API is back the slots find new owners. Then etcd is started
//! anew, and the agent comes back.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use slotmesh_e2e::control_plane::Component;
use slotmesh_e2e::lookups::LookUps;
use slotmesh_e2e::measure;
use slotmesh_e2e::record::Record;
use slotmesh_e2e::stage::{Agent, NAMESPACE, Stage};
use slotmesh_e2e::wait;

use crate::{DEADLINE, Scene, told};

const NODES: u8 = 5;
const OUTAGE: Duration = Duration::from_secs(30);

pub async fn play(stage: &mut Stage) -> Result<()> {
    let scene = Scene::set(stage, "alone", NODES).await?;
    let before = Record::read(stage, scene.name).await?;
    let victim = &scene.agents[3];
    let survivors = scene.others(victim);
    let look_ups = LookUps::start(survivors.iter().copied());

    // Their informers would back off, and make the outage longer than it is.
    let clients = [Component::ControllerManager, Component::Scheduler];
    for client in clients {
        stage.plane.pause(client).await?;
    }
    let begun = Instant::now();
    stage.plane.kill(Component::ApiServer).await?;
    let at = measure::unix_seconds();
    scene.nodes.hold(NAMESPACE, &victim.name)?;
    let verdict = measure::verdict_over(&survivors, victim, at).await?;
    println!(
        "  no API server: an agent is killed, verdict on the last survivor after {:.2} s",
        verdict - at
    );
    tokio::time::sleep(OUTAGE.saturating_sub(begun.elapsed())).await;
    stage.plane.restart(Component::ApiServer).await?;
    for client in clients {
        stage.plane.resume(client)?;
    }
    let back = Instant::now();
    println!(
        "  the API server is back after {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    listed(&survivors, victim, false).await?;
    println!(
        "  {:.1} s later every survivor has a map without the dead",
        back.elapsed().as_secs_f64()
    );
    stage.wait_ready(scene.name, i32::from(NODES) - 1).await?;
    let after = Record::read(stage, scene.name).await?;
    let moves = after.since(&before);
    println!(
        "  {} slots moved, {} is the fewest possible",
        moves.moved, moves.minimum
    );
    ensure!(moves.beyond() == 0.0, "{moves:?}");

    let begun = Instant::now();
    stage.plane.restart(Component::Etcd).await?;
    println!(
        "  etcd is started anew: {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    scene.nodes.return_pod(NAMESPACE, &victim.name)?;
    listed(&survivors, victim, true).await?;
    stage.wait_ready(scene.name, NODES.into()).await?;
    println!(
        "  the killed agent is a member again after {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    let tally = look_ups.stop().await?;
    println!("  {tally}");
    tally.ensure_served()?;
    told::ensure_never_frozen(stage, scene.name).await?;
    scene.strike(stage).await
}

/// Waits until all of these list an agent, or none does.
async fn listed(asked: &[&Agent], agent: &Agent, wanted: bool) -> Result<()> {
    let what = format!("{} to be listed: {wanted}", agent.name);
    wait::until(&what, DEADLINE, async || {
        for asked in asked {
            if asked.incarnations().await?.contains_key(&agent.uid) != wanted {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
    .await
}
