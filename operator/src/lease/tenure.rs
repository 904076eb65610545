//! The right to write: held by every writer of the leader, and gone by itself when it ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use thiserror::Error;
use tokio::time::Instant;

/// The lease was lost (or could not be renewed in time): nothing may be written any more.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("this operator leads no longer")]
pub struct Deposed;

/// A leader's time in office. Clones share one end, which each renewal moves on. Checked before
/// every write, so that a process that was paused beyond its lease writes nothing when it wakes.
#[derive(Clone, Debug)]
pub struct Tenure {
    origin: Instant,
    ends_ms: Arc<AtomicU64>,
}

impl Tenure {
    /// Ended from the start.
    #[must_use]
    pub fn none() -> Self {
        Self {
            origin: Instant::now(),
            ends_ms: Arc::new(AtomicU64::new(0)),
        }
    }

    /// Err once it has ended.
    pub fn check(&self) -> Result<(), Deposed> {
        let elapsed = u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX);
        if elapsed < self.ends_ms.load(Ordering::Acquire) {
            Ok(())
        } else {
            Err(Deposed)
        }
    }

    pub(super) fn extend_to(&self, end: Instant) {
        let end = end.saturating_duration_since(self.origin).as_millis();
        self.ends_ms
            .store(u64::try_from(end).unwrap_or(u64::MAX), Ordering::Release);
    }

    pub(super) fn end(&self) {
        self.ends_ms.store(0, Ordering::Release);
    }
}
