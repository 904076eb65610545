//! Places for those who watch the map or wait for a newer one, and why each was left.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::connection::Connection;
use super::ended::Ended;
use super::problem::{Problem, Refusal};
use crate::metrics::Metrics;

/// Places for those who watch or wait.
#[derive(Clone, Debug)]
pub(super) struct Places {
    free: Arc<Semaphore>,
    count: usize,
    metrics: Metrics,
}

/// The place of one watcher; whoever drops it says why it ended.
#[derive(Debug)]
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
    metrics: Metrics,
    connection: Option<Connection>,
    pub(super) ended: Ended,
}

impl Places {
    pub(super) fn new(count: usize, metrics: Metrics) -> Self {
        Self {
            free: Arc::new(Semaphore::new(count)),
            count,
            metrics,
        }
    }

    pub(super) fn take(&self, connection: Option<Connection>) -> Result<Place, Refusal> {
        let Ok(permit) = self.free.clone().try_acquire_owned() else {
            self.metrics.watchers_refused.inc();
            return Err(Problem::TooManyWatchers.because(format!(
                "{} clients watch the map at this agent already: share one watch among the threads of a process, or ask without watch=true",
                self.count
            )));
        };
        self.metrics.watchers.inc();
        if let Some(connection) = &connection {
            connection.set_watching(true);
        }
        Ok(Place {
            _permit: permit,
            metrics: self.metrics.clone(),
            connection,
            ended: Ended::ByClient,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.metrics.watchers.dec();
        let mut ended = self.ended;
        if let Some(connection) = &self.connection {
            connection.set_watching(false);
            if connection.has_stalled() {
                ended = Ended::Stalled;
            }
            if matches!(ended, Ended::SlowReader | Ended::Stalled) {
                let (remote, cause) = (connection.remote(), ended.cause());
                tracing::warn!(%remote, cause, "a watcher of the map was dropped: it reads too slowly");
            }
        }
        self.metrics.watch_ended(ended);
    }
}
