//! The handle of a running cell, and how its end is noticed.

use std::sync::Arc;

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;

use super::{Command, Place};
use crate::metrics::Metrics;
use crate::seam::CellStatus;

/// A running cell. Dropping it stops it at once.
pub(crate) struct Running {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) status: watch::Receiver<CellStatus>,
    pub(crate) place: watch::Receiver<Place>,
    pub(super) task: JoinHandle<()>,
}

impl Running {
    /// Whether the cell ended by itself; it never should.
    pub(crate) fn has_ended(&self) -> bool {
        self.commands.is_closed()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Counts a running cell until it is dropped, however the task ends; then that is told.
pub(super) struct Count {
    pub(super) metrics: Metrics,
    pub(super) poke: Arc<Notify>,
}

impl Drop for Count {
    fn drop(&mut self) {
        self.metrics.cells.dec();
        self.poke.notify_one();
    }
}
