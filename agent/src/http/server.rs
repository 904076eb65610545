//! The HTTP server: what one client may cost is limited, because every pod of the namespace may be one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tower::util::MapRequest;

use super::connection::{Connection, Patient};
use super::watch::Pace;

/// Bytes of a request's head; a key of 4096 bytes is 12288 when every byte is escaped.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Headers of a request.
const HEADERS_MAX: usize = 64;
/// Bytes that wait in the kernel for a client to read them: enough for the map of a usual cell, and a
/// bound on what all the clients that do not read take up.
const SEND_BUFFER_BYTES: u32 = 128 * 1024;
/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;
/// Pause after a failed accept: out of file descriptors, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What clients may take up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Connections at once; HTTP/1 has one request at a time on each. More wait to be accepted.
    pub(crate) connections: usize,
    /// Of them, those that watch the map or wait for a newer one. More are refused.
    pub(crate) watchers: usize,
    /// What a watch waits for.
    pub(crate) pace: Pace,
    /// Time for the head of a request, and between two requests of one connection.
    pub(crate) head_timeout: Duration,
    /// Time in which a client must take at least a byte of what is written.
    pub(crate) write_stall: Duration,
    /// Time of one connection from beginning to end; after it, the answer under way is the last. A
    /// watch ends by a time of its own.
    pub(crate) connection_age: Duration,
    /// Time for that last answer: whoever does not read is cut off.
    pub(crate) last_answer: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 256,
            watchers: 64,
            pace: Pace::default(),
            head_timeout: Duration::from_secs(15),
            write_stall: Duration::from_secs(10),
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
) -> std::io::Result<SocketAddr> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    // Accepted connections inherit it.
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.bind(address)?;
    let listener = socket.listen(BACKLOG)?;
    let bound = listener.local_addr()?;
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
    let known = Connection::new(remote);
    let stream = Patient::new(stream, known.clone(), limits.write_stall);
    let told = known.clone();
    let service = MapRequest::new(router, move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(told.clone());
        request
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = tokio::time::sleep(limits.connection_age) => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = connection => ended,
                () = known.last_answer_is_due(limits.last_answer) => {
                    return tracing::debug!(%remote, "a client that does not read was cut off");
                }
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%remote, %error, "a connection ended early");
    }
}

#[cfg(test)]
mod tests;
