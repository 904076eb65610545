//! The HTTP server: what one client may cost is limited, because every pod of the namespace may be one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::error::AgentError;

/// Bytes of a request's head; a key of 4096 bytes is 12288 when every byte is escaped.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Headers of a request.
const HEADERS_MAX: usize = 64;
/// Pause after a failed accept: out of file descriptors, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What clients may take up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Connections at once; HTTP/1 has one request at a time on each. More wait to be accepted.
    pub(crate) connections: usize,
    /// Time for the head of a request, and between two requests of one connection.
    pub(crate) head_timeout: Duration,
    /// Time of one connection from beginning to end; after it, the answer under way is the last.
    pub(crate) connection_age: Duration,
    /// Time for that last answer: whoever does not read is cut off.
    pub(crate) last_answer: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 256,
            head_timeout: Duration::from_secs(15),
            connection_age: Duration::from_secs(300),
            last_answer: Duration::from_secs(10),
        }
    }
}

/// Serves a router until the process ends; returns where.
pub(crate) async fn serve(
    address: SocketAddr,
    router: Router,
    limits: Limits,
) -> Result<SocketAddr, AgentError> {
    let failed = |source| AgentError::Bind { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    tokio::spawn(accept(listener, router, limits));
    Ok(bound)
}

async fn accept(listener: TcpListener, router: Router, limits: Limits) {
    let connections = Arc::new(Semaphore::new(limits.connections));
    // The semaphore is never closed.
    while let Ok(permit) = connections.clone().acquire_owned().await {
        match listener.accept().await {
            Ok((stream, remote)) => {
                let router = router.clone();
                tokio::spawn(async move {
                    converse(stream, remote, router, limits).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// One connection, as long as it may last.
async fn converse(stream: TcpStream, remote: SocketAddr, router: Router, limits: Limits) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = tokio::time::sleep(limits.connection_age) => {
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(limits.last_answer, connection).await {
                Ok(ended) => ended,
                Err(_) => return tracing::debug!(%remote, "a client that does not read was cut off"),
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%remote, %error, "a connection ended early");
    }
}

#[cfg(test)]
mod tests;
