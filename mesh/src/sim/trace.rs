//! A digest of every input that a machine was given and of every event that one told its shell, so that
//! two runs can be compared bit by bit. What machines send is not hashed itself: it is in as what it
//! became, the inputs of those whom it reached.

use std::hash::{Hash, Hasher};

use siphasher::sip::SipHasher13;

use super::NodeId;
use crate::machine::{ConnectionId, Disconnect, Event, Input, PeerIdentity};
use crate::time::Instant;

/// The digest so far.
#[derive(Debug)]
pub(super) struct Trace {
    hasher: SipHasher13,
    inputs: u64,
}

impl Trace {
    pub(super) fn new() -> Self {
        Self {
            hasher: SipHasher13::new_with_keys(0x7472_6163, 0x6521),
            inputs: 0,
        }
    }

    pub(super) fn digest(&self) -> u64 {
        self.hasher.finish()
    }

    /// Inputs that machines were given.
    pub(super) fn inputs(&self) -> u64 {
        self.inputs
    }

    pub(super) fn input(&mut self, now: Instant, node: NodeId, input: &Input) {
        self.inputs += 1;
        self.hasher.write_u64(now.as_micros());
        self.hasher.write_u16(node.0);
        match input {
            Input::Connected {
                connection, peer, ..
            } => {
                self.about(1, *connection, &[]);
                match peer {
                    PeerIdentity::Operator => self.hasher.write_u8(0),
                    PeerIdentity::Agent { uid, key } => {
                        self.hasher.write(uid.as_bytes());
                        self.hasher.write(key.as_bytes());
                    }
                }
            }
            Input::DialFailed { uid } => {
                self.hasher.write_u8(2);
                self.hasher.write(uid.as_bytes());
            }
            Input::Disconnected { connection, reason } => {
                let reason = match reason {
                    Disconnect::ClosedByPeer => 0,
                    Disconnect::Reset => 1,
                    Disconnect::TimedOut => 2,
                    Disconnect::Local => 3,
                    Disconnect::GoneAway => 4,
                };
                self.about(3, *connection, &[reason]);
            }
            Input::Datagram { connection, bytes } => self.about(4, *connection, bytes),
            Input::Frame { connection, bytes } => self.about(5, *connection, bytes),
            Input::SendDropped { connection } => self.about(6, *connection, &[]),
            Input::Unread { connection, why } => {
                self.about(10, *connection, why.category().as_bytes());
            }
            Input::Timer => self.hasher.write_u8(7),
            Input::Leave => self.hasher.write_u8(8),
            Input::Refused { uid } => {
                self.hasher.write_u8(9);
                self.hasher.write(uid.as_bytes());
            }
        }
    }

    pub(super) fn event(&mut self, now: Instant, node: NodeId, event: &Event) {
        self.hasher.write_u64(now.as_micros());
        self.hasher.write_u16(node.0);
        event.hash(&mut self.hasher);
    }

    fn about(&mut self, kind: u8, connection: ConnectionId, bytes: &[u8]) {
        self.hasher.write_u8(kind);
        self.hasher.write_u64(connection.0);
        self.hasher.write(bytes);
    }
}
