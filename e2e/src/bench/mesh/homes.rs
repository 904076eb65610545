//! Where agents of a bench live: on loopback, or each in a network namespace of its own.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use anyhow::Result;

use super::agents::Agents;
use super::crowd::address;
use crate::network::{Fabric, Namespace};

/// Second byte of the network of what runs beside the harness.
const OPERATORS: u8 = 20;
/// The same of the members' networks.
const MEMBERS: u8 = 21;

/// One for each member, and one for the operator.
#[derive(Debug)]
pub(super) struct Homes {
    operator: Ipv4Addr,
    members: Vec<Home>,
}

#[derive(Debug)]
struct Home {
    address: Ipv4Addr,
    /// Kept open: a process enters it by our descriptor.
    namespace: Option<Namespace>,
}

impl Homes {
    /// Nothing can be lost between these.
    pub(super) fn on_loopback(count: usize) -> Self {
        let home = |index| Home {
            address: address::<Agents>(index),
            namespace: None,
        };
        Self {
            operator: Ipv4Addr::LOCALHOST,
            members: (0..count).map(home).collect(),
        }
    }

    /// A namespace for each member; the operator is with the harness.
    ///
    /// # Errors
    /// When one cannot be made.
    pub(super) fn apart(fabric: &Fabric, count: u8) -> Result<Self> {
        fabric.join_beside_harness(OPERATORS, 1)?;
        let home = |number: u8| {
            let namespace = fabric.join(&format!("member-{number}"), MEMBERS, number)?;
            Ok(Home {
                address: Ipv4Addr::new(10, MEMBERS, number, 1),
                namespace: Some(namespace),
            })
        };
        Ok(Self {
            operator: Ipv4Addr::new(10, OPERATORS, 1, 2),
            members: (1..=count).map(home).collect::<Result<_>>()?,
        })
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    /// Where the operator listens.
    pub(super) fn operator(&self) -> Ipv4Addr {
        self.operator
    }

    /// Where a member listens; nowhere for one that there is not.
    pub(super) fn address(&self, index: usize) -> Ipv4Addr {
        let home = self.members.get(index);
        home.map_or(Ipv4Addr::UNSPECIFIED, |home| home.address)
    }

    /// What its process enters, if it is to.
    pub(super) fn namespace(&self, index: usize) -> Option<PathBuf> {
        let home = self.members.get(index)?;
        home.namespace.as_ref().map(Namespace::path)
    }
}
