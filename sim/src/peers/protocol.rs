//! What a protocol is to the world that runs it: inputs go in with the time, outputs come out as data.

use std::fmt::Debug;
use std::hash::Hash;

use slotmesh_mesh::sim::NodeId;
use slotmesh_mesh::time::Instant;

/// How a message travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// UDP: lost, or there.
    Datagram,
    /// On a stream that is opened for it: sent again until it is there.
    NewStream,
    /// The answer on a stream that the other side has opened.
    Stream,
}

/// What a member does.
#[derive(Clone, Debug)]
pub enum Output<M> {
    /// It sends something.
    Send {
        /// To whom.
        to: NodeId,
        /// How.
        way: Way,
        /// Size of the payload.
        bytes: usize,
        /// What.
        message: M,
    },
    /// It holds another one for dead now.
    Dead(NodeId),
    /// It holds one that it held for dead for alive again.
    Alive(NodeId),
}

/// One member.
pub trait Protocol: Debug {
    /// What it sends. Its hash is part of a run's digest.
    type Message: Clone + Debug + Hash;

    /// It starts.
    fn start(&mut self, now: Instant, out: &mut Vec<Output<Self::Message>>);

    /// Something arrives.
    fn on_message(
        &mut self,
        now: Instant,
        from: NodeId,
        message: Self::Message,
        out: &mut Vec<Output<Self::Message>>,
    );

    /// Its next deadline has come, perhaps some time ago.
    fn on_timer(&mut self, now: Instant, out: &mut Vec<Output<Self::Message>>);

    /// When it wants to be woken.
    fn next_deadline(&self) -> Option<Instant>;
}
