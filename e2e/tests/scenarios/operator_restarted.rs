//! Operators are killed (kill -9): the leader, which its node starts again; the leader, held down until
//! the other has taken over; both at once. The mesh needs none of them: the map stays as it is, no
//! agent restarts or joins anew, and look-ups are answered all the while. A node that is added
//! meanwhile is admitted once somebody leads.

use std::time::Instant;

use anyhow::Result;
use slotmesh_e2e::lookups::LookUps;
use slotmesh_e2e::node::Nodes;
use slotmesh_e2e::stage::{OPERATOR_NAMESPACE, Operator, Stage};
use slotmesh_e2e::wait;

use crate::calm::Calm;
use crate::{DEADLINE, Scene};

const MEMBERS: i32 = 4;

/// What is killed, and whether it is held down until somebody else leads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Act {
    Leader,
    LeaderHeld,
    Both,
}

pub async fn play(stage: &mut Stage) -> Result<()> {
    let scene = Scene::set(stage, "boss", 4).await?;
    let mut guests = Vec::new();
    for (act, members) in [Act::Leader, Act::LeaderHeld, Act::Both]
        .into_iter()
        .zip(MEMBERS..)
    {
        stage.wait_ready(scene.name, members).await?;
        guests.push(act.play(stage, &scene, members).await?);
    }
    scene.strike(stage).await?;
    for guest in guests {
        guest.remove().await;
    }
    Ok(())
}

impl Act {
    fn name(self) -> &'static str {
        match self {
            Self::Leader => "the leader, started again",
            Self::LeaderHeld => "the leader, held down",
            Self::Both => "both operators",
        }
    }

    /// Kills operators and adds a node, whose agent joins when somebody leads again.
    async fn play(self, stage: &mut Stage, scene: &Scene, members: i32) -> Result<Nodes> {
        let what = self.name();
        let victims = match self {
            Self::Leader | Self::LeaderHeld => vec![stage.leader().await?.name],
            Self::Both => stage.operator_pods().await?,
        };
        let before = Calm::look(stage, scene).await?;
        let look_ups = LookUps::start(&scene.agents);
        let at = Instant::now();
        for pod in &victims {
            stage.operators.change(OPERATOR_NAMESPACE, pod, |verbs| {
                verbs.held = self == Self::LeaderHeld;
                verbs.kills += 1;
            })?;
        }
        let nodes = stage.add_nodes(&format!("guest{members}"), 1).await?;
        let leader = wait::until("an operator to lead again", DEADLINE, async || {
            new_leader(stage, &victims, at).await
        })
        .await?;
        let leads_after = at.elapsed();
        let new = wait::until("the new node's agent to join", DEADLINE, async || {
            let agents = stage.agents(scene.name).await?.into_iter();
            let mut new = agents.filter(|agent| nodes.names().contains(&agent.node));
            let Some(new) = new.next() else {
                return Ok(None);
            };
            let joined = new.metric("slotmesh_agent_joined").await? > 0.0;
            Ok(joined.then_some(new))
        })
        .await?;
        let joined_after = at.elapsed();
        stage.wait_ready(scene.name, members + 1).await?;
        let tally = look_ups.stop().await?;
        let after = Calm::look(stage, scene).await?;
        let again = if victims.contains(&leader.name) {
            "again"
        } else {
            "in its place"
        };
        println!(
            "  {what}: {} leads {again} after {:.2} s, a new node's agent is admitted after {:.2} s",
            leader.name,
            leads_after.as_secs_f64(),
            joined_after.as_secs_f64()
        );
        println!("  {what}: {tally}");
        tally.ensure_served()?;
        after.ensure_one_join_since(&before, &new)?;
        println!("  {what}: one epoch, the join; no agent restarted or joined anew, 0 verdicts");
        for pod in &victims {
            stage
                .operators
                .change(OPERATOR_NAMESPACE, pod, |verbs| verbs.held = false)?;
        }
        Ok(nodes)
    }
}

/// Whoever leads, unless it is a process that has yet to notice that it was killed.
async fn new_leader(stage: &Stage, victims: &[String], at: Instant) -> Result<Option<Operator>> {
    let leader = stage.leader().await?;
    let starts = stage.operators.starts(OPERATOR_NAMESPACE, &leader.name)?;
    let is_new = !victims.contains(&leader.name) || starts.last > Some(at);
    Ok(is_new.then_some(leader))
}
