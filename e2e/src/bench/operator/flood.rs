//! A thousand requests to join from one address and two hundred with forged tokens, in ten seconds, while
//! three honest agents join.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use slotmesh_api::names;
use slotmesh_mesh::join::{JoinRequest, JoinResponse};
use tokio::task::JoinSet;

use crate::bench::figures::{count, largest};
use crate::bench::resources::Usage;
use crate::bench::scene::{CLUSTER, Scene, with_cluster};
use crate::control_plane::Options;
use crate::stage::{Agent, NAMESPACE};
use crate::strangers::{Cluster, HERE, request_token};
use crate::tokens::{TokenMint, claims_of};
use crate::wait;
use slotmesh_report::Report;

const NODES: u8 = 10;
const HONEST: usize = 3;
const LENGTH: Duration = Duration::from_secs(10);
const FROM_ONE_ADDRESS: u32 = 1000;
const FORGED: u32 = 200;
/// When the honest agents start, in the flood.
const HONEST_AFTER: Duration = Duration::from_secs(3);
const DEADLINE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(100);

/// What a request came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Refused,
    PutOff,
    Admitted,
    None,
}

#[derive(Default)]
struct Flood {
    answers: Vec<Answer>,
    seconds: f64,
}

struct Played {
    flood: Flood,
    /// From the start of each honest agent's process until it is a member, in seconds.
    joins: Vec<f64>,
    before_mib: f64,
    most_mib: f64,
    lost: usize,
}

pub(super) async fn measure(report: &mut Report) -> Result<()> {
    let played = with_cluster(NODES, Options::default(), play).await?;
    let Flood { answers, seconds } = &played.flood;
    let of = |kind: Answer| answers.iter().filter(|answer| **answer == kind).count();
    let made = format!(
        "{} requests in {seconds:.1} s: {} refused, {} put off, {} without an answer",
        answers.len(),
        of(Answer::Refused),
        of(Answer::PutOff),
        of(Answer::None)
    );
    report.at_most(
        "join flood: an honest agent's start -> member, slowest of 3",
        largest(&played.joins),
        "s",
        5.0,
    );
    report.note(made);
    report.at_most(
        "join flood: resident memory of the operator, the most",
        played.most_mib,
        "MiB",
        128.0,
    );
    report.note(format!("before the flood {:.3} MiB", played.before_mib));
    report.exactly(
        "join flood: strangers admitted",
        count(of(Answer::Admitted)),
        "",
        0.0,
    );
    report.exactly(
        "join flood: members lost meanwhile",
        count(played.lost),
        "",
        0.0,
    );
    Ok(())
}

async fn play(scene: &mut Scene<'_>) -> Result<Played> {
    let (honest, others) = scene
        .agents
        .split_at_checked(HONEST)
        .context("too few agents")?;
    for agent in honest {
        scene.nodes.hold(NAMESPACE, &agent.name)?;
    }
    wait::until(
        "the map without those that will join",
        DEADLINE,
        async || {
            let record = scene.record().await?;
            let listed = |agent: &Agent| record.lists(&agent.uid);
            Ok((!honest.iter().any(listed)).then_some(()))
        },
    )
    .await?;
    let leader = scene.stage.pid_of(&scene.stage.leader().await?.name)?;
    let before = Usage::of(leader)?;
    let cluster = Arc::new(Cluster::load(scene.stage, CLUSTER).await?);
    let borrowed = others.first().context("too few agents")?;
    let requests = requests(scene, &cluster, borrowed).await?;
    let flood = tokio::spawn(pour(cluster, requests));
    let begun = Instant::now();
    let mut most_mib = before.resident_mib;
    let mut joins = vec![None; HONEST];
    let mut started = false;
    while !flood.is_finished() || joins.contains(&None) {
        ensure!(begun.elapsed() < DEADLINE, "an honest agent never joins");
        most_mib = most_mib.max(Usage::of(leader)?.resident_mib);
        if !started && begun.elapsed() >= HONEST_AFTER {
            started = true;
            for agent in honest {
                scene.nodes.return_pod(NAMESPACE, &agent.name)?;
            }
        }
        if started {
            for (agent, joined) in honest.iter().zip(&mut joins) {
                if joined.is_none() {
                    *joined = joined_after(scene, agent).await?;
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    let flood = flood.await?;
    let joins: Vec<f64> = joins.into_iter().flatten().collect();
    println!(
        "  honest agents joined within {joins:.2?} s; the operator used up to {most_mib:.1} MiB"
    );
    let record = scene.settled().await?;
    let lost = others.iter().filter(|agent| !record.lists(&agent.uid));
    let lost = lost.count();
    Ok(Played {
        flood,
        joins,
        before_mib: before.resident_mib,
        most_mib,
        lost,
    })
}

/// Seconds from the start of its newest process, once that is a member.
async fn joined_after(scene: &Scene<'_>, agent: &Agent) -> Result<Option<f64>> {
    let starts = scene.nodes.starts(NAMESPACE, &agent.name)?;
    let joined = agent.metric("slotmesh_agent_joined").await;
    let is_member = starts.count > 1 && joined.is_ok_and(|joined| joined > 0.0);
    let seconds = starts.last.map(|last| last.elapsed().as_secs_f64());
    Ok(seconds.filter(|_| is_member))
}

/// All of the flood, in the order in which it comes: where from, and what.
async fn requests(
    scene: &Scene<'_>,
    cluster: &Cluster,
    agent: &Agent,
) -> Result<Vec<(IpAddr, JoinRequest)>> {
    let pod = Some((agent.name.as_str(), agent.uid.as_str()));
    let account = names::agent(&cluster.name);
    // A stolen one, good in itself: what it costs the operator to find out is the most.
    let stolen = request_token(scene.stage, &account, &cluster.uid.to_string(), pod).await?;
    let forger = TokenMint::stranger()?;
    let claims = claims_of(&stolen)?;
    let mut all = Vec::new();
    let every = FROM_ONE_ADDRESS / FORGED;
    for number in 0..FROM_ONE_ADDRESS {
        all.push((HERE, cluster.request(&agent.uid, stolen.clone())?));
        if number % every == 0 {
            let last = u8::try_from(number / every).unwrap_or(u8::MAX);
            let from = IpAddr::V4(Ipv4Addr::new(127, 251, 0, last.max(1)));
            all.push((from, cluster.request(&agent.uid, forger.sign(&claims)?)?));
        }
    }
    Ok(all)
}

/// Sends all of them, spread evenly over the time; what they came to.
async fn pour(cluster: Arc<Cluster>, requests: Vec<(IpAddr, JoinRequest)>) -> Flood {
    let begun = tokio::time::Instant::now();
    let pause = LENGTH / u32::try_from(requests.len()).unwrap_or(u32::MAX).max(1);
    let mut under_way = JoinSet::new();
    for (number, (from, request)) in (0_u32..).zip(requests) {
        tokio::time::sleep_until(begun + pause * number).await;
        let cluster = cluster.clone();
        under_way.spawn(async move { cluster.ask(from, &request).await });
    }
    let mut answers = Vec::new();
    while let Some(answer) = under_way.join_next().await {
        answers.push(match answer {
            Ok(Ok(JoinResponse::Refused { .. })) => Answer::Refused,
            Ok(Ok(JoinResponse::Retry { .. } | JoinResponse::NotLeader { .. })) => Answer::PutOff,
            Ok(Ok(JoinResponse::Certificate { .. } | JoinResponse::Map(_))) => Answer::Admitted,
            Ok(Err(_)) | Err(_) => Answer::None,
        });
    }
    Flood {
        answers,
        seconds: begun.elapsed().as_secs_f64(),
    }
}
