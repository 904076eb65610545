//! UDP bytes over all connections, those that ended included.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use quinn::{Connection, VarInt};
use slotmesh_mesh::machine::ConnectionId;

/// UDP bytes, headers of QUIC included, those of IP and UDP not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bytes {
    /// Sent.
    pub sent: u64,
    /// Received.
    pub received: u64,
}

#[derive(Debug, Default)]
struct Books {
    live: BTreeMap<ConnectionId, Connection>,
    ended: Bytes,
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

    pub(super) fn bytes(&self) -> Bytes {
        let books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        books.live.values().fold(books.ended, add)
    }
}

fn add(bytes: Bytes, connection: &Connection) -> Bytes {
    let stats = connection.stats();
    Bytes {
        sent: bytes.sent + stats.udp_tx.bytes,
        received: bytes.received + stats.udp_rx.bytes,
    }
}
