//! Where the operator answers joins, as it tells every member that it is connected with ([`JoinAddress`]).
//!
//! The highest number wins, and numbers begin at the Unix time. An earlier operator's clock may have been ahead; then
//! members answer with what they hold, and the address is told again with a number above it.

use std::net::SocketAddr;

use crate::identity::Uid;
use crate::join_address::JoinAddress;
use crate::machine::ConnectionId;
use crate::time::Instant;
use crate::wire::Frame;

use super::Watch;

/// The address that is told, and the newest of another operator that members hold instead.
#[derive(Debug, Default)]
pub(super) struct Joins {
    told: Option<JoinAddress>,
    outbid_by: Option<JoinAddress>,
}

impl Watch {
    /// Tells members, as they connect, where this operator answers joins.
    pub fn answer_joins_at(&mut self, address: SocketAddr) {
        self.joins.told = Some(self.join_address(self.config.first_sequence, address));
    }

    fn join_address(&self, number: u64, address: SocketAddr) -> JoinAddress {
        JoinAddress::sign(self.map().cluster, number, address, &self.config.keypair)
    }

    pub(super) fn tell_join_address(&mut self, to: ConnectionId) {
        if let Some(told) = self.joins.told {
            self.send(to, &Frame::JoinAddress(told));
        }
    }

    /// A member holds what was told by another operator.
    pub(super) fn on_join_address(&mut self, now: Instant, from: Uid, other: JoinAddress) {
        let known = self.joins.outbid_by.as_ref().or(self.joins.told.as_ref());
        if known.is_none() || !other.is_newer_than(known) {
            return;
        }
        if !other.is_signed(self.map().cluster, &self.keys()) {
            self.refuse("BadJoinAddress");
            return self.count_forged(now, from, 1);
        }
        self.joins.outbid_by = Some(other);
    }

    /// At each tick and no faster: the other one may still live and do the same.
    pub(super) fn outbid_join_address(&mut self) {
        let Some((other, told)) = self.joins.outbid_by.take().zip(self.joins.told) else {
            return;
        };
        let told = self.join_address(other.number().saturating_add(1), told.address());
        self.joins.told = Some(told);
        let connections: Vec<ConnectionId> =
            self.peers.values().map(|peer| peer.connection).collect();
        for connection in connections {
            self.tell_join_address(connection);
        }
    }
}

#[cfg(test)]
mod tests;
