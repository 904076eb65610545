//! A small HTTP client for look-ups and metrics.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::net::TcpStream;

const TIMEOUT: Duration = Duration::from_secs(2);

/// GET; status and body.
///
/// # Errors
/// When nobody answers in time.
pub async fn get(url: &str) -> Result<(u16, String)> {
    let answer = Asker::default().get(url).await?;
    Ok((answer.status, answer.body))
}

/// A client that keeps its connections, as applications do.
#[derive(Clone, Debug)]
pub struct Asker {
    client: Client<HttpConnector, Empty<Bytes>>,
}

impl Default for Asker {
    fn default() -> Self {
        Self {
            client: Client::builder(TokioExecutor::new()).build_http(),
        }
    }
}

struct Answer {
    status: u16,
    location: Option<String>,
    body: String,
}

impl Asker {
    async fn get(&self, url: &str) -> Result<Answer> {
        let answer = async {
            let asked = self.client.get(url.parse()?);
            let response = asked.await.with_context(|| format!("GET {url}"))?;
            let location = response.headers().get(hyper::header::LOCATION);
            let location = location.and_then(|url| Some(url.to_str().ok()?.to_owned()));
            let status = response.status().as_u16();
            let body = response.into_body().collect().await?.to_bytes();
            let body = String::from_utf8_lossy(&body).into_owned();
            Ok(Answer {
                status,
                location,
                body,
            })
        };
        tokio::time::timeout(TIMEOUT, answer)
            .await
            .with_context(|| format!("GET {url}: no answer"))?
    }

    /// GET of JSON that must be there, or one hop away.
    ///
    /// # Errors
    /// When there is another answer.
    pub async fn json(&self, url: &str) -> Result<Value> {
        Ok(self.json_and_hop(url).await?.0)
    }

    /// The same, and where the hop went if one was needed.
    ///
    /// # Errors
    /// When there is another answer.
    pub async fn json_and_hop(&self, url: &str) -> Result<(Value, Option<String>)> {
        let first = self.get(url).await?;
        let (hop, answer) = match (first.status, &first.location) {
            (307, Some(location)) => (Some(location.clone()), self.get(location).await?),
            _ => (None, first),
        };
        match answer.status {
            200 => Ok((serde_json::from_str(&answer.body)?, hop)),
            status => {
                let url = hop.as_deref().unwrap_or(url);
                bail!("GET {url}: {status} {}", answer.body)
            }
        }
    }
}

/// GET over a connection that is there; status and body.
///
/// # Errors
/// When nobody answers in time.
pub async fn get_over(stream: TcpStream, path: &str) -> Result<(u16, String)> {
    let host = stream.peer_addr()?.to_string();
    let answer = async {
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let request = hyper::Request::get(path)
            .header("host", &host)
            .body(Empty::<Bytes>::new())?;
        let exchange = async {
            let response = sender.send_request(request).await?;
            let status = response.status().as_u16();
            let body = response.into_body().collect().await?.to_bytes();
            Ok((status, String::from_utf8_lossy(&body).into_owned()))
        };
        tokio::pin!(connection, exchange);
        tokio::select! {
            done = &mut exchange => done,
            // It may end with the last byte of the answer.
            ended = &mut connection => match ended {
                Ok(()) => exchange.await,
                Err(error) => Err(error.into()),
            },
        }
    };
    tokio::time::timeout(TIMEOUT, answer)
        .await
        .with_context(|| format!("GET http://{host}{path}: no answer"))?
}

/// GET of JSON that must be there, or one hop away.
///
/// # Errors
/// When there is another answer.
pub async fn json(url: &str) -> Result<Value> {
    Asker::default().json(url).await
}

/// GET of metrics: name (with labels) -> value.
///
/// # Errors
/// When there is another answer.
pub async fn metrics(url: &str) -> Result<BTreeMap<String, f64>> {
    let (status, body) = get(url).await?;
    if status != 200 {
        bail!("GET {url}: {status}");
    }
    Ok(parse_metrics(&body))
}

/// Name (with labels) -> value.
#[must_use]
pub fn parse_metrics(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        })
        .collect()
}
