//! UDP traffic over all connections, those that ended included.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use quinn::{Connection, VarInt};
use slotmesh_mesh::machine::ConnectionId;

/// Bytes, headers of QUIC included, those of IP and UDP not, and the datagrams that carried them, for
/// whoever wants to add those.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Datagrams sent.
    pub sent_datagrams: u64,
    /// Datagrams received.
    pub received_datagrams: u64,
}

#[derive(Debug, Default)]
struct Books {
    live: BTreeMap<ConnectionId, Connection>,
    ended: Sums,
}

/// The books of one driver.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    books: Mutex<Books>,
}

impl Traffic {
    pub(super) fn began(&self, id: ConnectionId, connection: Connection) {
        self.books
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .live
            .insert(id, connection);
    }

    pub(super) fn ended(&self, id: ConnectionId) {
        let mut books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(connection) = books.live.remove(&id) {
            books.ended = add(books.ended, &connection);
        }
    }

    /// Closes every live connection.
    pub(super) fn close_all(&self, code: VarInt) {
        let books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        books
            .live
            .values()
            .for_each(|connection| connection.close(code, b""));
    }

    pub(super) fn sums(&self) -> Sums {
        let books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        books.live.values().fold(books.ended, add)
    }
}

fn add(sums: Sums, connection: &Connection) -> Sums {
    let stats = connection.stats();
    Sums {
        sent_bytes: sums.sent_bytes + stats.udp_tx.bytes,
        received_bytes: sums.received_bytes + stats.udp_rx.bytes,
        sent_datagrams: sums.sent_datagrams + stats.udp_tx.datagrams,
        received_datagrams: sums.received_datagrams + stats.udp_rx.datagrams,
    }
}
