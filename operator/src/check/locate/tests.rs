#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use tokio::net::TcpListener;

use super::{answer, ask, ask_any};

const BODY: &str = r#"{"key":"k","slot":7,"owner":{"name":"a","uid":"u","address":"10.0.0.1:7402","node":"n"},"cell":"c","era":0,"epoch":9,"mode":"Affinity","guarantee":"BestEffort","stale":false}"#;

async fn agent(status: StatusCode, body: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/v1/locate", get(move || async move { (status, body) }));
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

#[tokio::test]
async fn an_agents_answer_is_read() {
    let address = agent(StatusCode::OK, BODY).await;
    let answer = answer("a-1", &ask(address, "user:42").await.unwrap()).unwrap();
    assert_eq!(
        (
            answer.agent.as_str(),
            answer.owner.as_str(),
            answer.slot,
            answer.epoch
        ),
        ("a-1", "a", 7, 9)
    );
}

#[tokio::test]
async fn a_refusal_is_no_answer() {
    let address = agent(StatusCode::SERVICE_UNAVAILABLE, "no map yet").await;
    let error = ask(address, "user:42").await.unwrap_err().to_string();
    assert!(
        error.contains("503") && error.contains("no map yet"),
        "{error}"
    );
}

#[test]
fn something_else_is_no_answer() {
    assert!(answer("a-1", b"{}").is_err());
}

#[tokio::test]
async fn pods_without_an_address_are_passed_over() {
    let without = Pod {
        status: Some(PodStatus::default()),
        ..Pod::default()
    };
    let complaint = ask_any(&[without], "user:42").await.unwrap_err();
    assert_eq!(complaint, "no agent has an address yet");
}
