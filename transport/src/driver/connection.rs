//! The tasks of one connection: a reader and a writer, each with a bounded queue to the driver.

use std::sync::Arc;

use bytes::Bytes;
use quinn::{Connection, ConnectionError, ReadToEndError, RecvStream};
use slotmesh_mesh::identity::Uid;
use slotmesh_mesh::limits;
use slotmesh_mesh::machine::{ConnectionId, Disconnect, PeerIdentity, Unread};
use tokio::sync::{Semaphore, mpsc};

use crate::refusal::{Refusal, Refusals};
use crate::settings;

/// What happens on the network.
pub(super) enum Happening {
    Up {
        connection: Connection,
        peer: PeerIdentity,
        dialed: bool,
    },
    DialFailed {
        uid: Uid,
    },
    Refused {
        uid: Uid,
    },
    Down {
        id: ConnectionId,
        reason: Disconnect,
    },
    Datagram {
        id: ConnectionId,
        bytes: Bytes,
    },
    Frame {
        id: ConnectionId,
        bytes: Vec<u8>,
    },
    Unread {
        id: ConnectionId,
        why: Unread,
    },
}

/// Messages that wait to be sent to one peer.
pub(super) struct Frames {
    queue: mpsc::Sender<Vec<u8>>,
}

impl Frames {
    /// Whether the message found room.
    pub(super) fn push(&self, bytes: Vec<u8>) -> bool {
        self.queue.try_send(bytes).is_ok()
    }
}

/// Starts the tasks of a connection. They end with it.
pub(super) fn start(
    id: ConnectionId,
    connection: Connection,
    happenings: mpsc::Sender<Happening>,
    refusals: Arc<Refusals>,
) -> Frames {
    let (queue, waiting) = mpsc::channel(limits::FRAMES_QUEUED_MAX);
    tokio::spawn(write(connection.clone(), waiting));
    tokio::spawn(async move {
        let Some(error) = read(id, &connection, &happenings).await else {
            return;
        };
        if let Some(refusal) = Refusal::after_handshake(&error) {
            refusals.count(refusal, connection.remote_address(), &error.to_string());
        }
        let reason = super::disconnect(&error);
        // With the driver gone, nobody is left to tell.
        let _ = happenings.send(Happening::Down { id, reason }).await;
    });
    Frames { queue }
}

/// Messages go out side by side, so that a long one does not hold up those behind it: as many as the peer reads at once.
async fn write(connection: Connection, mut waiting: mpsc::Receiver<Vec<u8>>) {
    let writers = Arc::new(Semaphore::new(limits::STREAMS as usize));
    while let Some(bytes) = waiting.recv().await {
        let Ok(permit) = writers.clone().acquire_owned().await else {
            return;
        };
        let Ok(mut stream) = connection.open_uni().await else {
            return;
        };
        tokio::spawn(async move {
            if stream.write_all(&bytes).await.is_err() || stream.finish().is_err() {
                // The peer stopped the stream, or the connection is gone: the reader says which.
                tracing::trace!("a message was not taken");
            }
            drop(permit);
        });
    }
}

/// Reads until the connection ends, and says why; nothing when the driver has ended before.
async fn read(
    id: ConnectionId,
    connection: &Connection,
    happenings: &mpsc::Sender<Happening>,
) -> Option<ConnectionError> {
    // QUIC lets a peer open no more streams.
    let readers = Arc::new(Semaphore::new(limits::STREAMS as usize));
    loop {
        tokio::select! {
            datagram = connection.read_datagram() => match datagram {
                Ok(bytes) => happenings.send(Happening::Datagram { id, bytes }).await.ok()?,
                Err(error) => return Some(error),
            },
            stream = connection.accept_uni() => match stream {
                Ok(stream) => {
                    let permit = readers.clone().acquire_owned().await.ok()?;
                    let happenings = happenings.clone();
                    tokio::spawn(async move {
                        read_frame(id, stream, &happenings).await;
                        drop(permit);
                    });
                }
                Err(error) => return Some(error),
            },
        }
    }
}

async fn read_frame(
    id: ConnectionId,
    mut stream: RecvStream,
    happenings: &mpsc::Sender<Happening>,
) {
    let whole = stream.read_to_end(limits::FRAME_BYTES_MAX);
    let why = match tokio::time::timeout(settings::FRAME_TIMEOUT, whole).await {
        Ok(Ok(bytes)) => {
            let _ = happenings.send(Happening::Frame { id, bytes }).await;
            return;
        }
        Ok(Err(ReadToEndError::TooLong)) => Unread::TooLong,
        // The peer gave it up, or the connection is gone, which the reader of datagrams tells.
        Ok(Err(ReadToEndError::Read(error))) => {
            return tracing::debug!(%error, "a message was not read");
        }
        Err(_) => Unread::TooSlow,
    };
    let _ = happenings.send(Happening::Unread { id, why }).await;
}
