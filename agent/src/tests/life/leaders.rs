//! Operators take turns, are away, or lost their keys; certificates are renewed, or not.

use std::sync::Arc;
use std::time::SystemTime;

use slotmesh_transport::join::{Certificates, Listener};

use super::*;

const EXPIRES: &str = "slotmesh_agent_certificate_expires_timestamp_seconds";
const RENEWED: &str = "slotmesh_agent_certificate_renewals_total{outcome=\"renewed\"}";
const POINTED: &str = "slotmesh_agent_join_attempts_total{outcome=\"not_leader\"}";

fn now_seconds() -> f64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.unwrap().as_secs_f64()
}

#[tokio::test]
async fn an_agent_follows_whoever_points_to_the_leader() {
    let operator = Operator::start();
    let certificates = Arc::new(Certificates::default());
    let any = "127.0.0.1:0".parse().unwrap();
    let follower = Listener::bind(any, certificates.clone()).unwrap();
    certificates.point_to(Some(operator.address())).unwrap();
    operator.write_join_address(&follower.address().to_string());

    let agent = Agent::start(&operator, 1);
    until_ready(&[&agent]).await;
    assert_eq!(agent.metrics().await[POINTED], 1.0);

    // One that was asked while it stopped leading says the same inside of the conversation.
    let leader = Some(operator.address());
    operator.answer_first(JoinResponse::NotLeader { leader });
    let second = Agent::start(&operator, 2);
    until_ready(&[&second]).await;
    assert_eq!(second.metrics().await[POINTED], 2.0);
}

#[tokio::test]
async fn a_member_finds_the_leader_that_the_mesh_named() {
    let operator = Operator::start();
    let agents = [1, 2, 3].map(|n| Agent::start(&operator, n));
    let all: Vec<&Agent> = agents.iter().collect();
    until_ready(&all).await;
    until_members(&all, 3).await;
    // Its ConfigMap is of another time: nobody answers there.
    operator.write_join_address("127.0.0.1:9");
    let old_key = operator.key_of(all[0].uid);
    operator.remove(all[0].uid).await;
    until("another membership", async || {
        operator
            .find_key(all[0].uid)
            .is_some_and(|key| key != old_key)
    })
    .await;
    until_members(&all, 3).await;
}

#[tokio::test]
async fn certificates_are_renewed_and_nothing_else_changes() {
    let operator = Operator::start();
    operator.certify_for(Duration::from_secs(4));
    let agents = [1, 2].map(|n| Agent::start(&operator, n));
    let all: Vec<&Agent> = agents.iter().collect();
    until_ready(&all).await;
    until_members(&all, 2).await;
    let (epoch, before) = (operator.epoch(), all[0].metrics().await);
    for agent in &all {
        until("two renewals", async || {
            agent.metrics().await[RENEWED] >= 2.0
        })
        .await;
    }
    let after = all[0].metrics().await;
    assert!(after[EXPIRES] > before[EXPIRES]);
    assert_eq!(operator.epoch(), epoch);
    assert_eq!(after["slotmesh_agent_verdicts_total"], 0.0);
    assert_eq!(after["slotmesh_agent_connections"], 1.0);
    until_members(&all, 2).await;
}

#[tokio::test]
async fn members_whose_certificates_expired_find_each_other_again() {
    let operator = Operator::start();
    operator.certify_for(Duration::from_secs(2));
    let agents = [1, 2].map(|n| Agent::start(&operator, n));
    let all: Vec<&Agent> = agents.iter().collect();
    until_ready(&all).await;
    until_members(&all, 2).await;
    operator.go_away().await;
    for agent in &all {
        until("an expired certificate", async || {
            agent.metrics().await[EXPIRES] < now_seconds()
        })
        .await;
    }
    // The connection ends while one of them sleeps: afterwards they shake hands anew.
    let asleep = all[1].freeze();
    until("no connection", async || {
        all[0].metrics().await["slotmesh_agent_connections"] == 0.0
    })
    .await;
    drop(asleep);
    until("a connection", async || {
        all[0].metrics().await["slotmesh_agent_connections"] == 1.0
    })
    .await;
    until_members(&all, 2).await;
    for agent in &all {
        assert!(agent.metrics().await[EXPIRES] < now_seconds());
    }
}

#[tokio::test]
async fn agents_become_members_of_the_new_keys() {
    let operator = Operator::start();
    let agents = [1, 2, 3].map(|n| Agent::start(&operator, n));
    let all: Vec<&Agent> = agents.iter().collect();
    until_ready(&all).await;
    until_members(&all, 3).await;
    let keys = [1, 2, 3].map(|n| operator.key_of(all[n - 1].uid));
    operator.replace_keys().await;
    for (agent, key) in all.iter().zip(keys) {
        until("a new membership", async || {
            operator.key_of(agent.uid) != key
        })
        .await;
    }
    until_members(&all, 3).await;
    until_ready(&all).await;
}
