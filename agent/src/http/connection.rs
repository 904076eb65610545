//! What is known of one connection: whether its client reads, and whether it watches.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::Sleep;

/// Shared by the socket, the server and the handler of the request under way.
#[derive(Clone, Debug)]
pub(crate) struct Connection(Arc<State>);

#[derive(Debug)]
struct State {
    remote: SocketAddr,
    stalled: AtomicBool,
    watching: watch::Sender<bool>,
}

impl Connection {
    pub(super) fn new(remote: SocketAddr) -> Self {
        Self(Arc::new(State {
            remote,
            stalled: AtomicBool::new(false),
            watching: watch::Sender::new(false),
        }))
    }

    pub(super) fn remote(&self) -> SocketAddr {
        self.0.remote
    }

    /// Whether the client took no byte for longer than it may.
    pub(super) fn has_stalled(&self) -> bool {
        self.0.stalled.load(Ordering::Relaxed)
    }

    /// A watch ends by itself, so the age of its connection does not end it.
    pub(super) fn set_watching(&self, watching: bool) {
        self.0.watching.send_replace(watching);
    }

    /// Returns once the time for a last answer is over; that of a watch begins with its end.
    pub(super) async fn last_answer_is_due(&self, limit: Duration) {
        // The sender is in `self`, so it is there.
        let _ = self
            .0
            .watching
            .subscribe()
            .wait_for(|watching| !watching)
            .await;
        tokio::time::sleep(limit).await;
    }
}

/// A stream that fails when what is written makes no progress for too long.
#[derive(Debug)]
pub(super) struct Patient<S> {
    stream: S,
    connection: Connection,
    limit: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<S: Unpin> Patient<S> {
    pub(super) fn new(stream: S, connection: Connection, limit: Duration) -> Self {
        Self {
            stream,
            connection,
            limit,
            waiting: None,
        }
    }

    /// What a write came to, unless it has waited for too long.
    fn judge<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let limit = self.limit;
        let waiting = self
            .waiting
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        ready!(waiting.as_mut().poll(context));
        self.connection.0.stalled.store(true, Ordering::Relaxed);
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the client does not read",
        )))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.judge(context, written)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(context, parts);
        this.judge(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
