//! The SlotMesh protocol without I/O.
//!
//! Everything here is a function of its input: time is a parameter ([`time::Instant`]), randomness is
//! a seed, and what is decided comes out as data ([`machine::Output`]) for a shell to carry out. An
//! agent runs a [`member::Mesh`], the operator a [`watch::Watch`] per cell; `sim` runs many of them
//! under virtual time.

pub mod counters;
pub mod edge;
pub mod evidence;
pub mod graph;
pub mod identity;
pub mod join;
pub mod join_address;
pub mod limits;
pub mod machine;
pub mod map;
pub mod member;
pub mod seal;
pub mod signed;
#[cfg(feature = "sim")]
pub mod sim;
pub mod slot;
pub mod time;
pub mod verdict;
pub mod watch;
pub mod wire;
