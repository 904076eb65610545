//! How connections end: by a word that travels and may be lost, and what is kept of them afterwards.

use super::{Arrival, EndId, FROZEN_PAUSE, State};
use crate::limits;
use crate::machine::{ConnectionId, Disconnect, Input};
use crate::sim::{Happening, ProcessId, Simulation};

impl Simulation {
    pub(in crate::sim) fn check_idle(&mut self, id: EndId) {
        let Some(end) = self.end(id).filter(|end| end.state == State::Up) else {
            return;
        };
        let (process, due) = (end.process, end.last_heard + limits::IDLE_TIMEOUT);
        if !self.is_current(process) {
            return;
        }
        if self.is_frozen(process.node) {
            // On waking it reads its socket before it looks at its timers.
            let at = self.now + FROZEN_PAUSE;
            return self.schedule.push(at, Happening::Idle(id));
        }
        if due > self.now {
            return self.schedule.push(due, Happening::Idle(id));
        }
        self.set_state(id, State::Gone);
        self.give(
            process.node,
            Input::Disconnected {
                connection: id.name(),
                reason: Disconnect::TimedOut,
            },
        );
    }

    pub(in crate::sim) fn close(&mut self, name: ConnectionId) {
        let end = EndId::of(name);
        let Some((here, there)) = self.nodes_of(end) else {
            return;
        };
        if self.end(end).is_none_or(|end| end.state == State::Gone) {
            return;
        }
        self.set_state(end, State::Gone);
        // When the word is lost, the next packet of the other side meets a reset.
        if self.network.passes(here, there) {
            let at = self.now + self.network.latency();
            self.arrive(at, end.other(), Arrival::Down(Disconnect::ClosedByPeer));
        }
    }

    /// Every connection of a process, by its own word.
    pub(in crate::sim) fn close_all(&mut self, process: ProcessId) {
        let mine: Vec<ConnectionId> = self
            .connections
            .ids()
            .flat_map(|connection| {
                [false, true].map(|accepted| EndId {
                    connection,
                    accepted,
                })
            })
            .filter(|end| self.end(*end).is_some_and(|end| end.process == process))
            .map(EndId::name)
            .collect();
        mine.into_iter().for_each(|name| self.close(name));
    }

    pub(in crate::sim) fn set_state(&mut self, id: EndId, state: State) {
        if let Some(end) = self.end_mut(id) {
            end.state = state;
            if state == State::Gone {
                end.rest.waiting.clear();
                self.connections.stale = true;
            }
        }
    }

    /// Connections of which neither end is left.
    pub(in crate::sim) fn forget_connections(&mut self) {
        let mut connections = std::mem::take(&mut self.connections);
        connections.retain(|connection| {
            [&connection.dialed, &connection.accepted]
                .iter()
                .any(|end| end.state != State::Gone && self.is_current(end.process))
        });
        self.connections = connections;
    }
}
