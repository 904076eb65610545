//! Knocks: where a process ended and its address did not, the port refuses. Elsewhere nothing comes back.

use super::{Happening, NodeId, Simulation};
use crate::identity::Uid;

impl Simulation {
    /// From now on the address of that node outlives its process, as that of a pod does.
    pub fn let_address_outlive(&mut self, node: NodeId) {
        self.refusing.insert(node);
    }

    pub(super) fn knock(&mut self, from: NodeId, at: Uid) {
        let Some(to) = self.node_of(at).filter(|to| self.refusing.contains(to)) else {
            return;
        };
        let there = self.network.passes(from, to) && !self.is_running(to);
        if there && self.network.passes(to, from) {
            let when = self.now + self.network.latency() + self.network.latency();
            let process = self.process_of(from);
            self.schedule
                .push(when, Happening::Refused { process, uid: at });
        }
    }
}
