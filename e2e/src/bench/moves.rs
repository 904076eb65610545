//! A node joins, an agent dies, an agent returns: slots that changed their owner, beside the minimum.

use anyhow::{Context, Result};

use super::kills::fail_and_return;
use super::scene::{CLUSTER, Scene, with_cluster};
use crate::control_plane::Options;
use crate::measure::Failure;
use crate::node::Nodes;
use crate::record::Moves;
use crate::wait;
use slotmesh_report::Report;

const NODES: u8 = 8;
const DEADLINE: std::time::Duration = std::time::Duration::from_secs(120);

pub(super) async fn measure(report: &mut Report) -> Result<()> {
    with_cluster(NODES, Options::default(), async |scene| {
        let (late, join) = join(scene).await?;
        row(report, "a 9th agent joins", join);
        let victim = scene
            .agents
            .iter()
            .find(|agent| scene.nodes.names().contains(&agent.node))
            .cloned()
            .context("there are no agents on the first nodes")?;
        let round = fail_and_return(scene, &victim, Failure::Kill).await?;
        row(report, "one of 9 agents dies", round.death);
        row(report, "it returns", round.back);
        late.remove().await;
        Ok(())
    })
    .await
}

/// One node more, and its agent a member.
async fn join(scene: &mut Scene<'_>) -> Result<(Nodes, Moves)> {
    let before = scene.settled().await?;
    let wanted = scene.agents.len() + 1;
    let late = scene.stage.add_nodes("late", 1).await?;
    scene.agents = wait::until("the new node's agent", DEADLINE, async || {
        let agents = scene.stage.agents(CLUSTER).await?;
        Ok((agents.len() == wanted).then_some(agents))
    })
    .await?;
    let after = scene.settled().await?;
    Ok((late, after.since(&before)))
}

fn row(report: &mut Report, what: &str, moves: Moves) {
    println!(
        "  {what}: {} slots moved, {} is the minimum",
        moves.moved, moves.minimum
    );
    report.exactly(
        format!("moves, {what}: slots moved beyond the minimum"),
        moves.beyond(),
        "slots",
        0.0,
    );
    let epochs = if moves.epochs == 1 { "epoch" } else { "epochs" };
    report.note(format!(
        "{} moved, {} is the minimum, {} {epochs}",
        moves.moved, moves.minimum, moves.epochs
    ));
}
