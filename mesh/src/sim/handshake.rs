//! Handshakes: tried again until they time out; whoever answers must hold the key that was asked for.

use std::net::SocketAddr;
use std::time::Duration;

use super::connection::{Arrival, Connection, End, EndId, State};
use super::{Happening, NodeId, OPERATOR, ProcessId, Simulation};
use crate::identity::{PublicKey, Uid};
use crate::limits;
use crate::machine::{Disconnect, PeerIdentity};
use crate::time::Instant;

/// The first packet of a handshake is sent again after that time; the pause doubles.
pub(super) const HANDSHAKE_PAUSE: Duration = Duration::from_millis(90);

/// A handshake under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dial {
    from: ProcessId,
    uid: Uid,
    key: PublicKey,
    address: SocketAddr,
    since: Instant,
    pause: Duration,
}

impl Simulation {
    pub(super) fn dial(&mut self, node: NodeId, uid: Uid, key: PublicKey, address: SocketAddr) {
        self.try_handshake(Dial {
            from: self.process_of(node),
            uid,
            key,
            address,
            since: self.now,
            pause: HANDSHAKE_PAUSE,
        });
    }

    pub(super) fn try_handshake(&mut self, mut dial: Dial) {
        if !self.is_current(dial.from) {
            return;
        }
        let (from, to) = (dial.from.node, self.node_of(dial.uid));
        let answered = to.filter(|to| {
            self.accepts(*to)
                && self.address_at(*to) == dial.address
                && !self.is_frozen(from)
                && self.network.passes(from, *to)
                && self.network.passes(*to, from)
        });
        if let Some(to) = answered {
            return self.establish(&dial, to);
        }
        let next = self.now + dial.pause;
        let end = dial.since + limits::HANDSHAKE_TIMEOUT;
        dial.pause *= 2;
        if next < end {
            return self
                .schedule
                .push(next, Happening::Handshake(Box::new(dial)));
        }
        let failed = Happening::DialFailed {
            process: dial.from,
            uid: dial.uid,
        };
        self.schedule.push(end, failed);
    }

    fn establish(&mut self, dial: &Dial, to: NodeId) {
        let dialed_up = self.now + self.network.latency() + self.network.latency();
        let accepted_up = dialed_up + self.network.latency();
        let fits = self.key_of(to) == Some(dial.key);
        let dialer = if dial.from.node == OPERATOR {
            Some(PeerIdentity::Operator)
        } else {
            let uid = self.node(dial.from.node).map(|node| node.uid);
            uid.zip(self.key_of(dial.from.node))
                .map(|(uid, key)| PeerIdentity::Agent { uid, key })
        };
        let Some(dialer) = dialer else { return };
        let answerer = PeerIdentity::Agent {
            uid: dial.uid,
            key: dial.key,
        };
        let dialed_state = if fits {
            State::Opening(dialed_up)
        } else {
            State::Gone
        };
        let acceptor = self.process_of(to);
        let connection = self.connections.insert(Connection {
            dialed: End::new(dial.from, answerer, dialed_state, accepted_up),
            accepted: End::new(acceptor, dialer, State::Opening(accepted_up), accepted_up),
        });
        let at = |accepted| EndId {
            connection,
            accepted,
        };
        if fits {
            self.arrive_at(dialed_up, at(false), Arrival::Up);
        } else {
            // Another process answered: the dialer closes, and has dialed in vain.
            let failed = Happening::DialFailed {
                process: dial.from,
                uid: dial.uid,
            };
            self.schedule.push(dialed_up, failed);
        }
        self.arrive_at(accepted_up, at(true), Arrival::Up);
        if !fits {
            self.arrive_at(
                accepted_up,
                at(true),
                Arrival::Down(Disconnect::ClosedByPeer),
            );
        }
    }
}
