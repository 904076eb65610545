//! QUIC and mutual TLS under the mesh: the shell that agent and operator share.
//!
//! A [`driver::Driver`] carries out what a [`slotmesh_mesh::machine::Machine`] decides; identities are
//! SPIFFE URIs in certificates of the cluster's own CA ([`authority`], [`verifier`]); an agent is
//! admitted over [`join`].

pub mod authority;
pub mod clock;
pub mod driver;
pub mod endpoint;
pub mod identity;
pub mod join;
pub mod refusal;
pub mod reset;
pub mod settings;
mod signpost;
pub mod verifier;

#[cfg(test)]
mod testing;
