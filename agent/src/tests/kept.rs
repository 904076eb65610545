//! An agent whose container restarts answers from the map that it kept, marked as stale, until it has
//! joined again.

use tempfile::TempDir;

use super::life::agent::Agent;
use super::life::operator::Operator;
use super::life::{until, until_members, until_ready};

async fn until_kept(folder: &TempDir) {
    until("a map on disk", async || folder.path().join("map").exists()).await;
}

#[tokio::test]
async fn a_restarted_container_answers_before_it_has_joined() {
    let operator = Operator::start();
    let folder = TempDir::new().unwrap();
    let agent = Agent::start_with_state(&operator, 1, folder.path());
    until_ready(&[&agent]).await;
    let (_, before) = agent.get("/v1/locate?key=a").await;
    until_kept(&folder).await;
    agent.shut_down().await.unwrap();

    operator.close_door().await;
    let agent = Agent::start_with_state(&operator, 1, folder.path());
    until("an answer from disk", async || {
        agent.get("/v1/locate?key=a").await.0 == 200
    })
    .await;
    let (_, kept) = agent.get("/v1/locate?key=a").await;
    assert_eq!(
        (&kept["stale"], &kept["owner"]),
        (&true.into(), &before["owner"])
    );
    assert!(kept["staleSeconds"].is_u64());
    let (status, why) = agent.get("/readyz").await;
    assert_eq!((status, &why["error"]), (503, &"NotAMember".into()));
    let (_, members) = agent.get("/v1/members").await;
    assert_eq!(members["members"][0]["state"], "Unknown");

    operator.open_door();
    until_ready(&[&agent]).await;
    until_members(&[&agent], 1).await;
    let (_, fresh) = agent.get("/v1/locate?key=a").await;
    assert_eq!(fresh["stale"], false);
    assert!(fresh["epoch"].as_u64() > kept["epoch"].as_u64());
    let (_, members) = agent.get("/v1/members").await;
    assert_eq!(
        members["departed"],
        serde_json::json!([]),
        "nobody's end is made up"
    );
}

#[tokio::test]
async fn a_spoiled_file_or_folder_keeps_nobody_from_joining() {
    let operator = Operator::start();
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("map"), "spoiled").unwrap();
    let agent = Agent::start_with_state(&operator, 1, folder.path());
    let elsewhere = Agent::start_with_state(&operator, 2, &folder.path().join("missing"));
    until_ready(&[&agent, &elsewhere]).await;
    until("the spoiled file is replaced", async || {
        std::fs::read(folder.path().join("map")).unwrap() != b"spoiled"
    })
    .await;
    until("the failure is counted", async || {
        elsewhere.metrics().await["slotmesh_agent_map_keeping_failures_total"] > 0.0
    })
    .await;
}
