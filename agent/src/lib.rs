//! The agent: one on each node. It joins a cluster, runs a member of the mesh, and answers who owns a
//! key. It knows nothing of Kubernetes but its own pod's name and token.
//!
//! ```text
//!   trust ConfigMap, token ─▶ join ─▶ certificate, first map ─▶ member ─▶ snapshot ─▶ HTTP, metrics
//!                              ▲                                  │
//!                              └────── deposed, or alone ◀────────┘
//! ```

pub mod config;
mod door;
mod error;
mod http;
mod jitter;
mod join;
mod keep;
pub mod logging;
mod member;
mod metrics;
mod renewal;
mod run;
mod snapshot;
mod state_folder;
mod succession;
mod trust;
mod validity;

pub use config::Config;
pub use error::AgentError;
pub use run::run;

#[cfg(test)]
mod tests;
