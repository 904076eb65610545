//! What SlotMesh agrees on, as data: identities and keys, slots, maps and their signatures, and what is
//! said when an agent joins. Nothing here knows of time, of peers or of I/O; the protocol that spreads
//! maps and guards members is the crate `mesh`.

mod bounded;
#[cfg(any(test, feature = "fixtures"))]
pub mod fixture;
pub mod identity;
pub mod join;
pub mod join_address;
pub mod limits;
pub mod map;
pub mod seal;
pub mod signed;
pub mod slot;
