//! The operator: reconciles GossipClusters, admits agents, decides who owns which slot, records each
//! map by compare-and-swap and only then signs and publishes it into the mesh.
//!
//! [`seam`] divides it: one half speaks with Kubernetes ([`leader`], [`reconcile`], [`children`],
//! [`kubernetes`]), the other decides ([`life`], [`plan`]) and speaks with agents ([`cells`],
//! [`join`]).

mod apply;
pub mod ca;
mod cell;
pub mod cells;
pub mod check;
pub mod children;
mod cluster_key;
pub mod command_line;
pub mod config;
mod context;
mod drift;
pub mod http;
pub mod inventory;
pub mod join;
pub mod keys;
pub mod kubernetes;
pub mod leader;
pub mod lease;
pub mod life;
pub mod metrics;
mod notes;
pub mod plan;
pub mod queue;
pub mod reconcile;
pub mod record;
pub mod scope;
pub mod seam;
pub mod split;
pub mod status;
pub mod sweep;
mod versions;
mod views;
