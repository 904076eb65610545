//! Fast hints that a subject's process is gone: each is this edge's own report, at once, without probes.
//!
//! ```text
//!   port refused, after a knock at a late beat ──┬─▶ Suspect of this one edge ── 10 beats ──▶ Clear
//!   connection closed with "going away" ─────────┤
//!   stateless reset: another process there ──────┘   (this one when the silence has lasted three beats:
//!                                                     who restarts faster keeps its place and its slots)
//! ```
//!
//! Never more than one edge's worth, and never a verdict alone: the refusal can be forged or filtered, and
//! a peer may have forgotten a connection and live. Whoever is in doubt of itself does not use them.

use crate::edge::Gone;
use crate::identity::Uid;
use crate::machine::{ConnectionId, Disconnect, Output};
use crate::time::Instant;

use super::Mesh;
use super::peers::Kind;

impl Mesh {
    pub(super) fn knock(&mut self, uid: Uid) {
        if let Some(address) = self.listed(uid).map(|member| member.address) {
            self.outputs.push_back(Output::Knock { uid, address });
        }
    }

    pub(super) fn on_refused(&mut self, now: Instant, uid: Uid) {
        self.on_gone(now, uid, Gone::Refused);
    }

    /// A connection ended. Only the end of the one in use says something; nothing is told on it any more.
    pub(super) fn on_end(&mut self, now: Instant, connection: ConnectionId, how: Disconnect) {
        let kind = self.peers.get(connection).map(|peer| peer.kind);
        let in_use = |uid: &Uid| self.peers.of(*uid) == Some(connection);
        let subject = match kind {
            Some(Kind::Member(id)) => Some(id.uid).filter(in_use),
            _ => None,
        };
        self.on_disconnected(now, connection);
        match (subject, how) {
            (Some(uid), Disconnect::GoneAway) => self.on_gone(now, uid, Gone::Closed),
            (Some(uid), Disconnect::Reset) => self.on_gone(now, uid, Gone::Restarted),
            _ => {}
        }
    }

    fn on_gone(&mut self, now: Instant, uid: Uid, hint: Gone) {
        let action = self.edges.change(uid, |edge| edge.on_gone(hint)).flatten();
        if action.is_some() {
            self.counters.hints += 1;
        }
        self.act(now, uid, action);
    }
}

#[cfg(test)]
mod tests;
