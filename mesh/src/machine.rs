//! The seam between the pure protocol and the shell that does the I/O.
//!
//! ```text
//!   shell ── Input, now ──▶ Machine ── Output ──▶ shell
//!     ▲                                             │
//!     └───────────── next_deadline() ◀──────────────┘
//! ```
//!
//! The agent's `member::Mesh` and the operator's `watch::Watch` are machines; one
//! driver carries both out.

use std::net::SocketAddr;

use crate::convergence::Convergence;
use crate::identity::{Epoch, MemberId, PublicKey, Uid};
use crate::time::Instant;

/// A connection, named by the shell; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// Who a peer is, proved by its certificate, which the cluster's CA signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerIdentity {
    /// The operator.
    Operator,
    /// An agent. Whether it is a member is for the map to say.
    Agent {
        /// UID of its pod.
        uid: Uid,
        /// Key of its process.
        key: PublicKey,
    },
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disconnect {
    /// The peer closed it.
    ClosedByPeer,
    /// The same, and its membership ended with it ([`CloseReason::GoingAway`]).
    GoneAway,
    /// The peer's process knows nothing of it (stateless reset).
    Reset,
    /// Nothing was heard for long.
    TimedOut,
    /// This side closed it, or the transport failed.
    Local,
}

/// Why a connection is closed; the code travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// This process ends.
    GoingAway,
    /// The peer is not in the map.
    NotInMap,
    /// A newer connection of the same peer took its place.
    Replaced,
    /// The peer broke the protocol.
    ProtocolError,
    /// The peer was found failed.
    Failed,
    /// Too many connections.
    Limit,
    /// The graph no longer has an edge between the two.
    NotNeeded,
}

impl CloseReason {
    /// QUIC application error code. None is 0: that is what quinn sends by itself when a connection is
    /// dropped, and it must not be taken for a word of the peer's.
    #[must_use]
    pub const fn code(self) -> u32 {
        match self {
            Self::GoingAway => 7,
            Self::NotInMap => 1,
            Self::Replaced => 2,
            Self::ProtocolError => 3,
            Self::Failed => 4,
            Self::Limit => 5,
            Self::NotNeeded => 6,
        }
    }
}

/// Why a message that began to arrive is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// It is longer than any message.
    TooLong,
    /// It takes longer than any message should.
    TooSlow,
}

impl Unread {
    /// Stable category: metric label.
    #[must_use]
    pub fn category(self) -> &'static str {
        match self {
            Self::TooLong => "FrameTooLong",
            Self::TooSlow => "FrameTooSlow",
        }
    }
}

/// What happens to a machine.
#[derive(Clone, Debug)]
pub enum Input {
    /// A connection is up in both directions.
    Connected {
        /// Its name.
        connection: ConnectionId,
        /// Who the peer is.
        peer: PeerIdentity,
        /// Where the peer is.
        remote: SocketAddr,
        /// Whether this side dialed.
        dialed: bool,
    },
    /// A dial that [`Output::Dial`] asked for came to nothing.
    DialFailed {
        /// Who was dialed.
        uid: Uid,
    },
    /// A connection ended.
    Disconnected {
        /// Its name.
        connection: ConnectionId,
        /// How.
        reason: Disconnect,
    },
    /// A datagram arrived.
    Datagram {
        /// On which connection.
        connection: ConnectionId,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// A whole message arrived on a stream.
    Frame {
        /// On which connection.
        connection: ConnectionId,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// A message began to arrive on a stream and was given up.
    Unread {
        /// On which connection.
        connection: ConnectionId,
        /// Why.
        why: Unread,
    },
    /// After [`Output::Knock`]: the port is nobody's.
    Refused {
        /// Whose it was.
        uid: Uid,
    },
    /// Something could not be sent: a queue is full.
    SendDropped {
        /// On which connection.
        connection: ConnectionId,
    },
    /// Time has passed: [`Machine::next_deadline`] has come.
    Timer,
    /// This process is to end: tell the others.
    Leave,
}

/// What a machine wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Connect to that peer; it must show exactly this UID and key.
    Dial {
        /// UID of its pod.
        uid: Uid,
        /// Where it was last known to be.
        address: SocketAddr,
        /// Key of its process.
        key: PublicKey,
    },
    /// Close a connection.
    Close {
        /// Which.
        connection: ConnectionId,
        /// Why.
        reason: CloseReason,
    },
    /// Send a datagram; a newer one may replace it while it waits.
    Datagram {
        /// On which connection.
        connection: ConnectionId,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// Send one byte from a socket of its own, and tell when the port is refused
    /// ([`Input::Refused`]). That is a hint and no more: it can be forged, or filtered.
    Knock {
        /// UID of the pod.
        uid: Uid,
        /// Where it was last known to be.
        address: SocketAddr,
    },
    /// Send a message on a stream of its own.
    Frame {
        /// On which connection.
        connection: ConnectionId,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// Something that the shell may want to know, log or act upon.
    Event(Event),
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// A newer map is in force.
    MapApplied {
        /// Its epoch.
        epoch: Epoch,
    },
    /// The evidence in force makes a verdict.
    Verdict {
        /// Epoch of the map at hand.
        epoch: Epoch,
        /// Everybody whom the evidence finds failed, sorted.
        failed: Vec<MemberId>,
    },
    /// The evidence no longer finds anybody failed.
    VerdictWithdrawn {
        /// Epoch of the map at hand.
        epoch: Epoch,
    },
    /// Reports of more deaths are coming than the verdict names: it is to grow, and who acts on it had better wait.
    VerdictAwaited {
        /// Epoch of the map at hand.
        epoch: Epoch,
    },
    /// An observer reports a subject.
    Suspected {
        /// Who.
        observer: MemberId,
        /// Whom.
        subject: MemberId,
    },
    /// An observer hears a subject again.
    Cleared {
        /// Who.
        observer: MemberId,
        /// Whom.
        subject: MemberId,
    },
    /// A member says that it leaves.
    Leaving {
        /// Who.
        member: MemberId,
    },
    /// The map in force does not list this process: it must join again, with a new key.
    Deposed {
        /// Epoch of that map.
        epoch: Epoch,
    },
    /// The cell was split: this process belongs to a part of it now.
    Separated {
        /// Name of the cell that was split.
        from: String,
        /// Name of the part.
        to: String,
    },
    /// A peer holds a newer map than the operator recorded.
    NewerMapSeen {
        /// Its era and epoch.
        version: (u32, Epoch),
    },
    /// Two different maps of one epoch: an alarm. No map is taken in any more.
    MapConflict {
        /// The epoch.
        epoch: Epoch,
    },
    /// What came of a map that the operator published: everybody applied it, or it is the newest and not
    /// worth waiting for any longer.
    Converged(Convergence),
    /// The operator told where it answers joins.
    JoinAddress {
        /// Where.
        address: SocketAddr,
    },
    /// This process doubts itself (it hears nobody, is late, or its packets are dropped) and therefore accuses nobody; or no longer.
    SelfDoubt {
        /// Whether it doubts itself.
        on: bool,
    },
    /// Something from a peer was dropped.
    Refused {
        /// Why: a stable category.
        cause: &'static str,
    },
}

/// A state machine that the shell drives.
pub trait Machine {
    /// Takes something in.
    fn handle(&mut self, now: Instant, input: Input);

    /// What is to be done next; to be asked until there is nothing.
    fn poll_output(&mut self) -> Option<Output>;

    /// When [`Input::Timer`] is due.
    fn next_deadline(&self) -> Option<Instant>;

    /// A moment before which it certainly is not: the same, or earlier, for those who ask after every input and can
    /// look again then.
    fn not_before(&self) -> Option<Instant> {
        self.next_deadline()
    }
}
