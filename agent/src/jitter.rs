//! Pauses that differ from agent to agent.

use std::time::Duration;

/// Up to a quarter more, so that agents that start together do not knock together.
pub(crate) fn jittered(wait: Duration) -> Duration {
    let random = getrandom::u32().unwrap_or(0);
    wait + wait / 4 * (random % 256) / 256
}
