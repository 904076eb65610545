//! Where the operator answers joins: kept, and passed on once when it is news, and to whoever connects.
//! It is a help and no more, so nothing repairs it when a message is lost.

use crate::join_address::JoinAddress;
use crate::machine::{ConnectionId, Event};
use crate::time::Instant;
use crate::wire::Frame;

use super::Mesh;
use super::peers::Kind;

impl Mesh {
    pub(super) fn on_join_address(&mut self, now: Instant, from: ConnectionId, told: JoinAddress) {
        if !told.is_newer_than(self.join_address.as_ref()) {
            // An operator that says less than an earlier one did has to know.
            let kind = self.peers.get(from).map(|peer| peer.kind);
            if kind == Some(Kind::Operator) && self.join_address != Some(told) {
                self.tell_join_address(from);
            }
            return;
        }
        if !told.is_signed(self.config.cluster, &self.config.map_keys) {
            self.refuse("BadJoinAddress");
            self.distrust(now, from, 1);
            return;
        }
        self.join_address = Some(told);
        self.event(Event::JoinAddress {
            address: told.address(),
        });
        let mut targets = self.listeners(now).connections;
        targets.remove(&from);
        for connection in targets {
            self.send(connection, &Frame::JoinAddress(told));
        }
    }

    pub(super) fn tell_join_address(&mut self, to: ConnectionId) {
        if let Some(told) = self.join_address {
            self.send(to, &Frame::JoinAddress(told));
        }
    }
}

#[cfg(test)]
mod tests;
