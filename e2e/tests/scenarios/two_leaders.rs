//! Two operators that both believe that they lead. The leader is stopped (SIGSTOP) with a death that it
//! has not recorded yet, for longer than its Lease lasts; another leads and records it; then the first
//! goes on where it stopped. Afterwards somebody touches the record a hundred times a second while an agent
//! dies, so that writes of the leader meet others'. Each time there is one change, and one map everywhere.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kube::Api;
use kube::api::PostParams;
use slotmesh_api::GossipCell;
use slotmesh_e2e::measure;
use slotmesh_e2e::record::Record;
use slotmesh_e2e::stage::{Agent, NAMESPACE, OPERATOR_NAMESPACE, OPERATOR_USER, Operator, Stage};
use slotmesh_e2e::wait;

use crate::{DEADLINE, Scene, told};

const NODES: u8 = 5;
const LEADS: &str = "slotmesh_operator_leader";
const CONFLICTS: &str = r#"slotmesh_operator_record_write_failures_total{cause="conflict"}"#;
/// How often the leader is stopped before it has recorded a death, until that is so.
const TRIES: usize = 5;
/// Pause between two touches of the record.
const TOUCH: Duration = Duration::from_millis(10);

pub async fn play(stage: &mut Stage) -> Result<()> {
    let scene = Scene::set(stage, "rival", NODES).await?;
    stopped_before_it_wrote(stage, &scene).await?;
    written_beside(stage, &scene).await?;
    told::ensure_never_frozen(stage, scene.name).await?;
    scene.strike(stage).await
}

async fn stopped_before_it_wrote(stage: &Stage, scene: &Scene) -> Result<()> {
    let victim = &scene.agents[0];
    let survivors = scene.others(victim);
    let (old, before) = stop_in_time(stage, scene, victim).await?;
    let begun = Instant::now();
    let new = wait::until("another operator to lead", DEADLINE, async || {
        for operator in stage.operators().await? {
            let leads = operator.metric(LEADS).await;
            if operator != old && leads.is_ok_and(|leads| leads > 0.5) {
                return Ok(Some(operator));
            }
        }
        Ok(None)
    })
    .await?;
    let leads = begun.elapsed().as_secs_f64();
    one_change(stage, scene, &survivors, before.epoch).await?;
    stage.operators.return_pod(OPERATOR_NAMESPACE, &old.name)?;
    wait::until("the first one to notice", DEADLINE, async || {
        Ok((old.metric(LEADS).await? < 0.5).then_some(()))
    })
    .await?;
    ensure!(new.metric(LEADS).await? > 0.5, "{} leads no more", new.name);
    println!(
        "  the leader is stopped with a death that it has not recorded: another leads after {leads:.1} s and records it; the first goes on, and leads no more"
    );
    scene.nodes.return_pod(NAMESPACE, &victim.name)?;
    admitted(stage, scene, victim).await?;
    // Whatever the first still wanted to write, it has tried by now.
    let after = Record::read(stage, scene.name).await?;
    ensure!(
        after.epoch == before.epoch + 2,
        "a death and a return: epoch {} became {}",
        before.epoch,
        after.epoch
    );
    one_map(scene, after.epoch).await
}

/// Kills an agent and stops the leader between the verdict and the record; the record as it was.
async fn stop_in_time(stage: &Stage, scene: &Scene, victim: &Agent) -> Result<(Operator, Record)> {
    for _ in 0..TRIES {
        let before = Record::read(stage, scene.name).await?;
        let leader = stage.leader().await?;
        let at = measure::unix_seconds();
        scene.nodes.hold(NAMESPACE, &victim.name)?;
        measure::verdict_after(&scene.others(victim)[..1], at).await?;
        stage.operators.freeze(OPERATOR_NAMESPACE, &leader.name)?;
        wait::until("the leader to be stopped", DEADLINE, async || {
            Ok(leader.metric(LEADS).await.is_err().then_some(()))
        })
        .await?;
        if Record::read(stage, scene.name).await? == before {
            return Ok((leader, before));
        }
        println!("  the leader was faster: once more");
        stage
            .operators
            .return_pod(OPERATOR_NAMESPACE, &leader.name)?;
        scene.nodes.return_pod(NAMESPACE, &victim.name)?;
        admitted(stage, scene, victim).await?;
    }
    anyhow::bail!("the leader was never stopped in time, {TRIES} times")
}

async fn written_beside(stage: &Stage, scene: &Scene) -> Result<()> {
    let leader = stage.leader().await?;
    let known = leader.metric(CONFLICTS).await?;
    let before = Record::read(stage, scene.name).await?;
    let cell = before.cells.first().context("no record")?.clone();
    let client = stage.plane.client_as(OPERATOR_USER).await?;
    let cells: Api<GossipCell> = Api::namespaced(client, NAMESPACE);
    let touching = tokio::spawn(async move {
        for count in 0_u64.. {
            if let Err(error) = touch(&cells, &cell, count).await {
                return (count, error);
            }
            tokio::time::sleep(TOUCH).await;
        }
        unreachable!("it counts for ever")
    });
    let victim = &scene.agents[1];
    scene.nodes.hold(NAMESPACE, &victim.name)?;
    let begun = Instant::now();
    let done = one_change(stage, scene, &scene.others(victim), before.epoch).await;
    if touching.is_finished() {
        let (count, error) = touching.await?;
        return Err(error).with_context(|| format!("touch {count} of the record"));
    }
    touching.abort();
    done?;
    let conflicts = leader.metric(CONFLICTS).await? - known;
    println!(
        "  the record is touched all the while: the death is recorded after {:.1} s, once, {conflicts} writes refused",
        begun.elapsed().as_secs_f64()
    );
    scene.nodes.return_pod(NAMESPACE, &victim.name)?;
    admitted(stage, scene, victim).await
}

/// Writes the record as the other operator would, with another annotation; it may lose a race too.
async fn touch(cells: &Api<GossipCell>, cell: &str, count: u64) -> kube::Result<()> {
    let mut record = cells.get(cell).await?;
    let annotations = record.metadata.annotations.get_or_insert_default();
    annotations.insert("touched".to_owned(), count.to_string());
    match cells.replace(cell, &PostParams::default(), &record).await {
        Err(kube::Error::Api(answer)) if answer.code == 409 => Ok(()),
        other => other.map(drop),
    }
}

/// Waits until the survivors have the next map; it is the next one of the record.
async fn one_change(stage: &Stage, scene: &Scene, survivors: &[&Agent], before: i64) -> Result<()> {
    let wanted = u64::try_from(before + 1)?;
    wait::until(
        "every survivor to have the next map",
        DEADLINE,
        async || {
            for agent in survivors {
                if agent.locate("user:42").await?.epoch < wanted {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        },
    )
    .await?;
    let epoch = Record::read(stage, scene.name).await?.epoch;
    ensure!(epoch == before + 1, "epoch {before} became {epoch}");
    Ok(())
}

async fn admitted(stage: &Stage, scene: &Scene, agent: &Agent) -> Result<()> {
    wait::until("the killed agent to be a member", DEADLINE, async || {
        let joined = agent.metric("slotmesh_agent_joined").await;
        Ok(joined.is_ok_and(|joined| joined > 0.5).then_some(()))
    })
    .await?;
    stage.wait_ready(scene.name, NODES.into()).await.map(drop)
}

/// Every agent has that map, and none has seen two of one epoch.
async fn one_map(scene: &Scene, epoch: i64) -> Result<()> {
    let wanted = u64::try_from(epoch)?;
    wait::until("every agent to have the newest map", DEADLINE, async || {
        for agent in &scene.agents {
            if agent.locate("user:42").await?.epoch != wanted {
                return Ok(None);
            }
            let conflict = agent.metric("slotmesh_agent_map_conflict").await?;
            ensure!(conflict < 0.5, "{} has seen two maps", agent.name);
        }
        Ok(Some(()))
    })
    .await
}
