//! Maps for tests, here and in the crates that use this one (feature `fixtures`).

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod realistic;

use std::net::{Ipv4Addr, SocketAddr};

use crate::identity::{Keypair, Uid};
use crate::map::{Map, Member, Owner, Protocol};
use crate::slot::SlotSet;

pub use realistic::{after_a_death, as_json, realistic};

/// Key pair of the n-th member of a fixture.
#[must_use]
pub fn keypair(n: u16) -> Keypair {
    let mut seed = [1; 32];
    seed[..2].copy_from_slice(&n.to_be_bytes());
    Keypair::from_seed(seed)
}

/// UID of the n-th member of a fixture.
#[must_use]
pub fn uid(n: u16) -> Uid {
    let mut bytes = [9; 16];
    bytes[..2].copy_from_slice(&n.to_be_bytes());
    Uid::from_bytes(bytes)
}

/// The n-th member, admitted at epoch 100, owning `slots`.
/// # Panics
/// When `slots` is no set of slots.
#[must_use]
pub fn member(n: u16, slots: &str) -> Member {
    let [high, low] = n.to_be_bytes();
    let address = |port| SocketAddr::new(Ipv4Addr::new(127, 9, high, low).into(), port);
    Member {
        name: format!("agent-{n:04}"),
        uid: uid(n),
        incarnation: 100,
        key: keypair(n).public(),
        node: format!("node-{n:04}"),
        zone: String::new(),
        address: address(7400),
        failed: false,
        owners: vec![Owner {
            name: format!("agent-{n:04}"),
            uid: uid(n),
            address: address(7402),
            capacity: 100,
            slots: slots.parse().unwrap(),
        }],
    }
}

/// A map of `count` members at epoch 100, slots dealt out in equal runs.
#[must_use]
pub fn map(count: u16) -> Map {
    let mut left = SlotSet::full();
    let members = (0..count)
        .map(|n| {
            let mut member = member(n, "");
            let share = left.len() / (count - n);
            member.owners[0].slots = left.take_lowest(share);
            member
        })
        .collect();
    Map {
        cluster: uid(u16::MAX),
        cell: "sessions-bcdfg".into(),
        era: 0,
        epoch: 100,
        slots: SlotSet::full(),
        protocol: Protocol::default(),
        members,
        delegation: Vec::new(),
        directory: Vec::new(),
    }
}
