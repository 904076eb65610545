//! Agents fail one after another, killed and held down or frozen, and come back: how long until every
//! survivor knew, how long until the new map was everywhere, and how many slots moved.

use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::duration;
use super::figures::{count, median, sorted};
use super::scene::{CLUSTER, Scene, with_cluster};
use crate::control_plane::Options;
use crate::measure::{self, Failure, Spread};
use crate::record::Moves;
use crate::stage::Agent;
use slotmesh_report::Report;

const NODES: u8 = 8;
/// A few have the operator's map before their own evidence is complete: see [`crate::measure`].
const FROM_MAP_MAX_PERCENT: f64 = 5.0;

/// One failure and its return.
#[derive(Clone, Debug)]
pub(super) struct Round {
    kind: Failure,
    spread: Spread,
    survivors: usize,
    /// Members that were removed though they are well.
    wronged: usize,
    pub(super) death: Moves,
    pub(super) back: Moves,
}

pub(super) async fn measure(report: &mut Report, kills: u32, whole: u32) -> Result<()> {
    let mut rounds = Vec::new();
    let played = with_cluster(NODES, Options::default(), async |scene| {
        let begun = Instant::now();
        for number in 0..kills {
            let (victim, kind) = choose(&scene.agents, number)?;
            let round = fail_and_return(scene, &victim, kind)
                .await
                .with_context(|| {
                    format!(
                        "failure {} of {kills}, {kind:?} of {}",
                        number + 1,
                        victim.name
                    )
                })?;
            rounds.push(round);
            progress(&rounds, kills, &victim, begun);
        }
        Ok(())
    })
    .await;
    // What was measured counts, also when it came to an end too early.
    add_rows(report, &rounds);
    match &played {
        Err(_) => report.shorten(&format!(
            "ended by an error after {} of {kills} failures",
            rounds.len()
        )),
        Ok(()) if kills < whole => report.shorten(&format!("{kills} failures instead of {whole}")),
        Ok(()) => {}
    }
    played
}

/// Victims in turn; kills and freezes in turn too, in the opposite order each time round, so that every
/// agent fails in both ways.
pub(super) fn choose(agents: &[Agent], number: u32) -> Result<(Agent, Failure)> {
    let number = usize::try_from(number)?;
    let count = agents.len().max(1);
    let victim = agents.get(number % count).context("there are no agents")?;
    let kind = if (number + number / count).is_multiple_of(2) {
        Failure::Kill
    } else {
        Failure::Freeze
    };
    Ok((victim.clone(), kind))
}

/// One agent fails and returns; done when the cluster is whole again.
pub(super) async fn fail_and_return(
    scene: &Scene<'_>,
    victim: &Agent,
    kind: Failure,
) -> Result<Round> {
    let before = scene.settled().await?;
    let survivors: Vec<&Agent> = scene
        .agents
        .iter()
        .filter(|agent| *agent != victim)
        .collect();
    let victims = std::slice::from_ref(victim);
    let spread = measure::spread(&scene.nodes, &survivors, victims, kind).await?;
    let without = scene.record().await?;
    ensure!(
        !without.lists(&victim.uid),
        "the survivors' map is not the recorded one: the record of epoch {} lists {}",
        without.epoch,
        victim.name
    );
    let removed = without.removed_since(&before);
    let wronged = removed.iter().filter(|uid| **uid != victim.uid);
    let round = Round {
        kind,
        spread,
        survivors: survivors.len(),
        wronged: wronged.count(),
        death: without.since(&before),
        back: Moves::default(),
    };
    measure::back(scene.stage, &scene.nodes, CLUSTER, victim).await?;
    let whole = scene.settled().await?;
    Ok(Round {
        back: whole.since(&without),
        ..round
    })
}

fn progress(rounds: &[Round], kills: u32, victim: &Agent, begun: Instant) {
    let Some(round) = rounds.last() else { return };
    let verdicts = sorted(rounds.iter().map(|round| round.spread.verdict));
    let done = u32::try_from(rounds.len()).unwrap_or(u32::MAX);
    let left = kills.saturating_sub(done);
    let seconds = begun.elapsed().as_secs_f64() / f64::from(done) * f64::from(left);
    let what = match round.kind {
        Failure::Kill => "kill",
        Failure::Freeze => "freeze",
        Failure::Silence => "silence",
        Failure::PowerOff => "power-off",
    };
    println!(
        "  failure {done} of {kills} ({what} of {}): known after {:.2} s, new map {:.2} s later; so far median {:.2} s, slowest {:.2} s; about {} left",
        victim.node,
        round.spread.verdict,
        round.spread.epoch_after,
        median(&verdicts),
        verdicts.last().copied().unwrap_or_default(),
        duration(seconds)
    );
}

fn add_rows(report: &mut Report, rounds: &[Round]) {
    if rounds.is_empty() {
        return;
    }
    let freezes = rounds.iter().filter(|round| round.kind == Failure::Freeze);
    let made = format!(
        "{} failures, {} of them freezes",
        rounds.len(),
        freezes.count()
    );
    let slowest = |figures: &[f64]| figures.last().copied().unwrap_or_default();
    let verdicts = sorted(rounds.iter().map(|round| round.spread.verdict));
    report.at_most(
        "kills, 8 nodes: verdict on the last survivor, median",
        median(&verdicts),
        "s",
        1.0,
    );
    report.note(made.as_str());
    report.at_most(
        "kills, 8 nodes: verdict on the last survivor, slowest",
        slowest(&verdicts),
        "s",
        1.5,
    );
    let epochs = sorted(rounds.iter().map(|round| round.spread.epoch_after));
    report.at_most(
        "kills, 8 nodes: new map on the last survivor after it, slowest",
        slowest(&epochs),
        "s",
        0.5,
    );
    report.note(format!("median {:.3} s", median(&epochs)));
    let all = sorted(
        rounds
            .iter()
            .map(|round| round.spread.verdict + round.spread.epoch_after),
    );
    report.plain(
        "kills, 8 nodes: from the failure to the new map, slowest",
        slowest(&all),
        "s",
    );
    report.note(format!("median {:.3} s", median(&all)));

    let from_map: usize = rounds.iter().map(|round| round.spread.from_map).sum();
    let survivors: usize = rounds.iter().map(|round| round.survivors).sum();
    // Else the times above would be the operator's and not the mesh's.
    report.at_most(
        "kills, 8 nodes: survivors that the map told first",
        count(from_map) / count(survivors) * 100.0,
        "%",
        FROM_MAP_MAX_PERCENT,
    );
    report.note(format!(
        "{from_map} of {survivors}; they count from the map"
    ));
    let wronged: usize = rounds.iter().map(|round| round.wronged).sum();
    report.exactly(
        "kills, 8 nodes: healthy members removed",
        count(wronged),
        "",
        0.0,
    );

    let changes = rounds.iter().flat_map(|round| [round.death, round.back]);
    // Each for itself: too few in one do not make up for too many in another.
    let beyond = changes.clone().map(|moves| moves.beyond().abs()).sum();
    let total = changes.fold(Moves::default(), |sum, moves| Moves {
        moved: sum.moved + moves.moved,
        minimum: sum.minimum + moves.minimum,
        epochs: sum.epochs + moves.epochs,
    });
    report.exactly(
        "kills, 8 nodes: slots moved beyond the minimum, deaths and returns",
        beyond,
        "slots",
        0.0,
    );
    report.note(format!("{} moved in {} epochs", total.moved, total.epochs));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use super::*;

    fn agents(count: u8) -> Vec<Agent> {
        let agent = |number: u8| Agent {
            name: format!("a-{number}"),
            uid: format!("u-{number}"),
            node: format!("n-{number}"),
            ip: [127, 0, 0, number].into(),
        };
        (0..count).map(agent).collect()
    }

    #[test]
    fn every_agent_fails_in_both_ways_and_half_of_the_failures_are_freezes() {
        let agents = agents(8);
        let chosen: Vec<_> = (0..60)
            .map(|number| choose(&agents, number).unwrap())
            .collect();
        let freezes = chosen.iter().filter(|(_, kind)| *kind == Failure::Freeze);
        assert_eq!(freezes.count(), 30);
        let ways = chosen
            .iter()
            .map(|(agent, kind)| (agent.name.clone(), *kind == Failure::Kill));
        assert_eq!(ways.collect::<BTreeSet<_>>().len(), 16);
    }
}
