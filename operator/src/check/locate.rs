//! Asks an agent who owns a key, as an application would.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde::Deserialize;
use slotmesh_api::names::PORT_HTTP;
use tokio::net::TcpStream;

const TIMEOUT: Duration = Duration::from_secs(3);
/// Longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Who owns the key.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) agent: String,
    pub(super) owner: String,
    pub(super) slot: u64,
    pub(super) epoch: u64,
}

#[derive(Deserialize)]
struct Body {
    slot: u64,
    epoch: u64,
    owner: Owner,
}

#[derive(Deserialize)]
struct Owner {
    name: String,
}

/// The answer of the first agent that has one, or the last complaint.
pub(super) async fn ask_any(agents: &[Pod], key: &str) -> Result<Answer, String> {
    let mut complaint = "no agent has an address yet".to_owned();
    for pod in agents {
        let ip = pod
            .status
            .as_ref()
            .and_then(|status| status.pod_ip.as_deref());
        let Some(ip) = ip.and_then(|ip| ip.parse::<IpAddr>().ok()) else {
            continue;
        };
        let name = pod.name_any();
        match ask(SocketAddr::new(ip, PORT_HTTP), key).await {
            Ok(body) => match answer(&name, &body) {
                Ok(answer) => return Ok(answer),
                Err(why) => complaint = format!("{name}: {why}"),
            },
            Err(why) => complaint = format!("{name} at {ip}: {why}"),
        }
    }
    Err(complaint)
}

async fn ask(address: SocketAddr, key: &str) -> Result<Bytes, Box<dyn std::error::Error>> {
    let exchange = async {
        let stream = TcpStream::connect(address).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let driver = tokio::spawn(connection);
        let request = hyper::Request::get(format!("/v1/locate?key={key}"))
            .header("host", address.to_string())
            .body(Empty::<Bytes>::new())?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
        let body = body.collect().await.map(|body| body.to_bytes());
        driver.abort();
        let body = body.map_err(|error| error.to_string())?;
        if !status.is_success() {
            return Err(format!("{status} {}", String::from_utf8_lossy(&body)).into());
        }
        Ok(body)
    };
    match tokio::time::timeout(TIMEOUT, exchange).await {
        Ok(answer) => answer,
        Err(_) => Err("no answer in time".into()),
    }
}

fn answer(agent: &str, body: &[u8]) -> Result<Answer, String> {
    let body: Body = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    Ok(Answer {
        agent: agent.to_owned(),
        owner: body.owner.name,
        slot: body.slot,
        epoch: body.epoch,
    })
}

#[cfg(test)]
mod tests;
