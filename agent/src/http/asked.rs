//! The query of `/v1/map`, checked.

use std::time::Duration;

use slotmesh_mesh::identity::Epoch;

use super::problem::{Problem, Refusal};
use super::query;

/// Longest watch, and longest wait for a newer map. A client then asks again.
const SECONDS_MAX: u64 = 3600;

/// What is asked of `/v1/map`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) watch: bool,
    /// Only what is newer: (era, epoch). An era that is not named is the first, so that after the
    /// restoration of a record the map comes once too often and not never.
    pub(super) newer_than: (u32, Epoch),
    pub(super) timeout: Duration,
}

impl Asked {
    pub(super) fn read(query: &str) -> Result<Self, Refusal> {
        let wrong = |message: String| Problem::BadParameter.because(message);
        let watch = query::flag(query, "watch").map_err(wrong)?;
        let era = query::number(query, "era", u32::MAX.into()).map_err(wrong)?;
        let epoch = query::number(query, "epoch", u64::MAX).map_err(wrong)?;
        let seconds = query::number(query, "timeoutSeconds", SECONDS_MAX).map_err(wrong)?;
        let usual = if watch { SECONDS_MAX } else { 0 };
        let era = u32::try_from(era.unwrap_or(0)).unwrap_or(u32::MAX);
        Ok(Self {
            watch,
            newer_than: (era, epoch.unwrap_or(0)),
            timeout: Duration::from_secs(seconds.unwrap_or(usual)),
        })
    }
}
