//! Whole agents, each on a thread and a runtime of its own as in its process, over real QUIC and HTTP,
//! with an operator that admits whoever asks.

pub(crate) mod agent;
mod leaders;
pub(crate) mod operator;

use std::time::Duration;

use slotmesh_mesh::join::JoinResponse;

use agent::Agent;
use operator::Operator;

pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Waits until something holds, and says what it was when it does not come to hold.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let ended = tokio::time::timeout(DEADLINE, waiting).await;
    assert!(ended.is_ok(), "{what} did not come about");
}

pub(super) async fn until_ready(agents: &[&Agent]) {
    for agent in agents {
        until(&format!("{} ready", agent.name), async || {
            agent.get("/readyz").await.0 == 200
        })
        .await;
    }
}

/// Every agent has a map of that many members, all alive.
pub(crate) async fn until_members(agents: &[&Agent], count: usize) {
    for agent in agents {
        until(&format!("{count} members at {}", agent.name), async || {
            let (_, members) = agent.get("/v1/members").await;
            let members = members["members"].as_array().cloned().unwrap_or_default();
            members.len() == count && members.iter().all(|member| member["state"] == "Alive")
        })
        .await;
    }
}

#[tokio::test]
async fn agents_join_agree_and_leave() {
    let operator = Operator::start();
    let first = Agent::start(&operator, 1);
    let second = Agent::start(&operator, 2);
    let third = Agent::start(&operator, 3);
    until_ready(&[&first, &second, &third]).await;
    until_members(&[&first, &second, &third], 3).await;

    let (_, here) = first.get("/v1/locate?key=user:42").await;
    let (_, there) = third.get("/v1/locate?key=user:42").await;
    assert_eq!(here, there);
    assert_eq!(
        (&here["stale"], &here["slot"]),
        (&false.into(), &15880.into())
    );

    assert_eq!(third.shut_down().await, Ok(()));
    until_members(&[&first, &second], 2).await;
    let (_, members) = first.get("/v1/members").await;
    assert_eq!(members["departed"][0]["name"], "agent-3");
    assert_eq!(members["departed"][0]["reason"], "Left");
    let metrics = first.metrics().await;
    assert_eq!(metrics["slotmesh_agent_verdicts_total"], 0.0);
    let (bytes, datagrams) = (
        metrics["slotmesh_agent_udp_sent_bytes_total"],
        metrics["slotmesh_agent_udp_sent_datagrams_total"],
    );
    // No datagram is shorter than a byte, or longer than the path is wide.
    assert!(datagrams > 0.0 && bytes > datagrams && bytes < datagrams * 1500.0);
}

#[tokio::test]
async fn an_agent_that_is_put_off_comes_back() {
    let operator = Operator::start();
    operator.answer_first(JoinResponse::Retry {
        after_ms: 1,
        reason: "the pod has no address yet".into(),
    });
    let agent = Agent::start(&operator, 1);
    until_ready(&[&agent]).await;
    let metrics = agent.metrics().await;
    let attempts = |outcome: &str| {
        metrics[&format!("slotmesh_agent_join_attempts_total{{outcome=\"{outcome}\"}}")]
    };
    assert_eq!((attempts("retry"), attempts("admitted")), (1.0, 1.0));
    assert_eq!(attempts("refused"), 0.0, "outcomes count from the start");
}

#[tokio::test]
async fn a_map_for_somebody_else_is_not_believed() {
    let operator = Operator::start();
    operator.answer_first(JoinResponse::Map(vec![1, 2, 3]));
    let agent = Agent::start(&operator, 1);
    until_ready(&[&agent]).await;
    let metrics = agent.metrics().await;
    assert_eq!(
        metrics["slotmesh_agent_join_attempts_total{outcome=\"error\"}"],
        1.0
    );
}

#[tokio::test]
async fn a_sleeper_that_was_removed_joins_again_with_a_new_key() {
    let operator = Operator::start();
    // The sleeper has the largest UID: it dials nobody, and nobody dials whom the map does not list.
    let agents = [1, 2, 3, 4].map(|n| Agent::start(&operator, n));
    let all: Vec<&Agent> = agents.iter().collect();
    until_ready(&all).await;
    until_members(&all, 4).await;
    let (awake, sleeper) = (&all[..3], all[3]);
    let old_key = operator.key_of(sleeper.uid);

    let asleep = sleeper.freeze();
    operator.remove(sleeper.uid).await;
    until_members(awake, 3).await;
    drop(asleep);

    until_members(&all, 4).await;
    until_ready(&[sleeper]).await;
    assert_ne!(operator.key_of(sleeper.uid), old_key);
    let (_, located) = sleeper.get("/v1/locate?key=a").await;
    assert_eq!(located["stale"], false);
}

#[tokio::test]
async fn whoever_loses_its_place_answers_from_the_last_map() {
    let operator = Operator::start();
    let agents = [1, 2].map(|n| Agent::start(&operator, n));
    let all: Vec<&Agent> = agents.iter().collect();
    until_ready(&all).await;
    until_members(&all, 2).await;
    operator.close_door().await;
    operator.remove(all[1].uid).await;
    until("not ready without a place", async || {
        all[1].get("/readyz").await.0 == 503
    })
    .await;
    let (status, located) = all[1].get("/v1/locate?key=a").await;
    assert_eq!((status, &located["stale"]), (200, &true.into()));
    assert_eq!(all[1].get("/livez").await.0, 200);
    operator.open_door();
    until_members(&all, 2).await;
    until_ready(&all).await;
}

#[tokio::test]
async fn whoever_hears_nobody_while_the_operator_is_away_keeps_its_place() {
    let operator = Operator::start();
    let agents = [1, 2].map(|n| Agent::start(&operator, n));
    let all: Vec<&Agent> = agents.iter().collect();
    until_ready(&all).await;
    until_members(&all, 2).await;
    let keys = [operator.key_of(all[0].uid), operator.key_of(all[1].uid)];
    operator.go_away().await;

    let asleep = all[1].freeze();
    until("the other notices that it hears nobody", async || {
        let (_, located) = all[0].get("/v1/locate?key=a").await;
        located["stale"] == true
    })
    .await;
    assert_eq!(all[0].get("/readyz").await.0, 200);
    assert_eq!(all[0].metrics().await["slotmesh_agent_alone"], 1.0);
    assert_eq!(all[0].metrics().await["slotmesh_agent_joined"], 1.0);
    drop(asleep);

    for agent in &all {
        until("nothing is stale any more", async || {
            let (_, located) = agent.get("/v1/locate?key=a").await;
            located["stale"] == false
        })
        .await;
    }
    operator.open_door();
    until_members(&all, 2).await;
    assert_eq!(
        [operator.key_of(all[0].uid), operator.key_of(all[1].uid)],
        keys
    );
}
