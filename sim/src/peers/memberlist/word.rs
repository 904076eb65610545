//! What members say, as plain data, and how large it is in msgpack: a type, and a map of named fields.

use slotmesh_mesh::sim::NodeId;

use super::config::UDP_BUFFER_SIZE;
use super::members::Life;

/// Bytes of each part of a packet beside its own.
pub const PART_OVERHEAD: usize = 2;
/// Bytes around all parts: type and count; a checksum, which the budget does not count.
const PACKET_OVERHEAD: usize = 2;
const CHECKSUM: usize = 5;
/// What parts of a packet may take together.
pub const BUDGET: usize = UDP_BUFFER_SIZE - PACKET_OVERHEAD;

/// A packet, or one message on a stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Packet(pub Vec<Word>);

/// One message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Word {
    Ping {
        sequence: u32,
    },
    /// Somebody is asked to ping another.
    PingRequest {
        sequence: u32,
        target: NodeId,
    },
    Ack {
        sequence: u32,
    },
    /// It was asked, it is well itself, but the other did not answer.
    Nack {
        sequence: u32,
    },
    StreamPing {
        sequence: u32,
    },
    StreamAck {
        sequence: u32,
    },
    Suspect {
        node: NodeId,
        incarnation: u32,
        from: NodeId,
    },
    Alive {
        node: NodeId,
        incarnation: u32,
    },
    Dead {
        node: NodeId,
        incarnation: u32,
        from: NodeId,
    },
    /// Push-pull: all that it holds of everybody.
    State {
        is_answer: bool,
        states: Vec<(NodeId, u32, Life)>,
    },
}

/// What a word of gossip is about; its own defence has a place beside what it says of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    Member(NodeId),
    Defence,
}

impl Word {
    /// Its size.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Ping { .. } | Self::StreamPing { .. } => 75,
            Self::PingRequest { .. } => 105,
            Self::Ack { .. } | Self::StreamAck { .. } => 22,
            Self::Nack { .. } => 13,
            Self::Suspect { .. } | Self::Dead { .. } => 47,
            Self::Alive { .. } => 66,
            Self::State { states, .. } => 40 + 72 * states.len(),
        }
    }
}

/// Size of a packet of these.
pub fn packet_bytes(words: &[Word]) -> usize {
    let parts: usize = words.iter().map(Word::bytes).sum();
    let around = if words.len() > 1 {
        PACKET_OVERHEAD + PART_OVERHEAD * words.len()
    } else {
        0
    };
    CHECKSUM + around + parts
}
