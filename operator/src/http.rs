//! `/metrics`, `/livez` and `/readyz` of the operator.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus::{Encoder, TextEncoder};
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::metrics::Metrics;

/// A step of the reconcile loop that takes longer hangs: each call to the API server in it gives up
/// after 10 s.
const STUCK_AFTER: Duration = Duration::from_secs(60);

/// How this operator is; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Health {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    ready: AtomicBool,
    /// Since when the reconcile loop has been at its current step; nothing while it waits for work.
    step: Mutex<Option<Instant>>,
}

impl Health {
    /// The API server has answered.
    pub fn set_ready(&self) {
        self.shared.ready.store(true, Ordering::Release);
    }

    /// The reconcile loop begins a step.
    pub fn step(&self) {
        self.set_step(Some(Instant::now()));
    }

    /// The reconcile loop has nothing to do, or there is none.
    pub fn rest(&self) {
        self.set_step(None);
    }

    fn set_step(&self, at: Option<Instant>) {
        let step = self.shared.step.lock();
        *step.unwrap_or_else(PoisonError::into_inner) = at;
    }

    fn is_ready(&self) -> bool {
        self.shared.ready.load(Ordering::Acquire)
    }

    fn is_stuck(&self) -> bool {
        let step = self.shared.step.lock();
        let step = step.unwrap_or_else(PoisonError::into_inner);
        step.is_some_and(|since| since.elapsed() > STUCK_AFTER)
    }
}

/// Serves until the process ends.
///
/// # Errors
/// When the address cannot be bound.
pub async fn serve(address: SocketAddr, metrics: Metrics, health: Health) -> std::io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    let router = router(metrics, health);
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "the HTTP server ended");
        }
    });
    Ok(())
}

fn router(metrics: Metrics, health: Health) -> Router {
    let alive = health.clone();
    Router::new()
        .route(
            "/livez",
            get(async move || {
                verdict(
                    !alive.is_stuck(),
                    "the reconcile loop has been at one step for more than 60 s\n",
                )
            }),
        )
        .route(
            "/readyz",
            get(async move || {
                verdict(
                    health.is_ready(),
                    "the API server has not answered yet; look at the operator's log\n",
                )
            }),
        )
        .route("/metrics", get(async move || exposition(&metrics)))
}

fn verdict(holds: bool, problem: &'static str) -> (StatusCode, &'static str) {
    if holds {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, problem)
    }
}

fn exposition(metrics: &Metrics) -> axum::response::Response {
    let mut text = Vec::new();
    match TextEncoder::new().encode(&metrics.registry().gather(), &mut text) {
        Ok(()) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_step_that_hangs_is_noticed_and_idleness_is_not() {
        let health = Health::default();
        assert!(!health.is_ready());
        health.set_ready();
        assert!(health.is_ready());
        tokio::time::advance(STUCK_AFTER * 2).await;
        assert!(!health.is_stuck(), "there is nothing to do");
        health.step();
        tokio::time::advance(STUCK_AFTER).await;
        assert!(!health.is_stuck());
        health.step();
        tokio::time::advance(STUCK_AFTER).await;
        assert!(!health.is_stuck(), "it went on meanwhile");
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(health.is_stuck());
        health.rest();
        assert!(!health.is_stuck());
    }
}
