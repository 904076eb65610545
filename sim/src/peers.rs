//! Other protocols under the same network: what SlotMesh is measured beside.
//!
//! ```text
//!   Agenda ── what is due ──▶ World ── message, timer ──▶ Protocol (foca, memberlist's model)
//!      ▲                        │  ▲                          │
//!      └── delay, loss, cuts ───┘  └──── Output, as data ─────┘
//! ```
//!
//! The network is the simulator's own ([`slotmesh_mesh::sim::parts`]); only members differ.

pub mod crash;
pub mod foca;
pub mod memberlist;
pub mod protocol;
pub mod ticker;
pub mod world;
