//! Who holds how many connections: one client alone must not keep the probes of the kubelet out.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Connections of each address; not more addresses than there are connections.
#[derive(Clone, Debug, Default)]
pub(super) struct Clients(Arc<Mutex<BTreeMap<IpAddr, usize>>>);

/// One connection of a client, until it is dropped.
#[derive(Debug)]
pub(super) struct Held {
    clients: Clients,
    address: IpAddr,
}

impl Clients {
    /// None when this client holds as many as it may.
    pub(super) fn hold(&self, address: IpAddr, most: usize) -> Option<Held> {
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = clients.get(&address).copied().unwrap_or(0);
        if count >= most {
            return None;
        }
        clients.insert(address, count + 1);
        Some(Held {
            clients: self.clone(),
            address,
        })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let clients = &self.clients.0;
        let mut clients = clients.lock().unwrap_or_else(PoisonError::into_inner);
        match clients.get_mut(&self.address) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(clients.remove(&self.address)),
        }
    }
}
