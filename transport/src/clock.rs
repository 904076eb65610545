//! The clock under the mesh: CLOCK_BOOTTIME, which goes on while the machine sleeps, so that a
//! machine that was suspended notices it.

use nix::time::{ClockId, clock_gettime};
use slotmesh_mesh::time::Instant;

/// Time since boot.
#[must_use]
pub fn now() -> Instant {
    // The clock exists since Linux 2.6.39; where it does not, the monotonic one stands in.
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME)
        .or_else(|_| clock_gettime(ClockId::CLOCK_MONOTONIC))
        .unwrap_or_else(|_| nix::sys::time::TimeSpec::new(0, 0));
    let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec()).unwrap_or(0);
    Instant::from_micros(seconds * 1_000_000 + nanos / 1000)
}
