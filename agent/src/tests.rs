#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

mod bytes;
mod config;
mod dependencies;
mod docs;
pub(crate) mod fixture;
mod http;
mod kept;
pub(crate) mod life;
mod metrics;
mod watch;
