//! The SlotMesh protocol without I/O.
//!
//! Everything here is a function of its input: time is a parameter ([`time::Instant`]), randomness is
//! a seed, and what is decided comes out as data ([`machine::Output`]) for a shell to carry out. An
//! agent runs a [`member::Mesh`], the operator a [`watch::Watch`] per cell; `sim` runs many of them
//! under virtual time.

// Data is a crate of its own; whoever speaks the protocol finds it here too.
pub use slotmesh_map::{identity, join, join_address, map, seal, signed, slot};

pub mod batch;
mod bucket;
pub mod convergence;
pub mod counters;
mod dials;
pub mod edge;
mod edges;
pub mod evidence;
pub mod graph;
pub mod intern;
pub mod limits;
pub mod machine;
pub mod member;
#[cfg(feature = "sim")]
pub mod sim;
pub mod time;
mod told;
pub mod verdict;
pub mod watch;
pub mod wire;
