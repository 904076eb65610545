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
use tokio::sync::{Notify, Semaphore};
use tower::util::MapRequest;

use super::clients::Clients;
use super::connection::{Connection, Patient};
use super::problem::Problem;
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
    /// Connections at once; HTTP/1 has one request at a time on each. More wait to be accepted, and the
    /// idle ones are closed to make room.
    pub(crate) connections: usize,
    /// Of them, those of one client. More are refused.
    pub(crate) connections_per_client: usize,
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
            connections_per_client: 128,
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
    let (clients, crowded) = (Clients::default(), Arc::new(Notify::new()));
    loop {
        if connections.available_permits() == 0 {
            crowded.notify_waiters();
        }
        // The semaphore is never closed.
        let Ok(permit) = connections.clone().acquire_owned().await else {
            return;
        };
        let (stream, remote) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(held) = clients.hold(remote.ip(), limits.connections_per_client) else {
            tracing::debug!(%remote, "a client that has too many connections was refused");
            refuse(&stream, limits);
            continue;
        };
        let (router, crowded) = (router.clone(), crowded.clone());
        tokio::spawn(async move {
            converse(stream, remote, router, limits, &crowded).await;
            drop((permit, held));
        });
    }
}

/// Says why, if the client's kernel has room for a few bytes, as it always has at first.
fn refuse(stream: &TcpStream, limits: Limits) {
    let most = limits.connections_per_client;
    let refusal = Problem::TooManyConnections.because(format!(
        "this client holds {most} connections to this agent already: reuse them"
    ));
    // Plain structures have no way to fail.
    let body = serde_json::to_string(&refusal.body()).unwrap_or_default();
    let status = refusal.problem.status();
    let (length, kind) = (body.len(), "application/json");
    let text = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nretry-after: 1\r\nconnection: close\r\n\r\n{body}"
    );
    let _ = stream.try_write(text.as_bytes());
}

/// One connection, as long as it may last.
async fn converse(
    stream: TcpStream,
    remote: SocketAddr,
    router: Router,
    limits: Limits,
    crowded: &Notify,
) {
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
    let last = async {
        tokio::select! {
            () = tokio::time::sleep(limits.connection_age) => {}
            () = crowded.notified() => {}
        }
    };
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = last => {
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
