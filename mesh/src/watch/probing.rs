//! The operator as an observer: probes at the pace of beats. In cells of up to three members the answers
//! count as beats do; in larger ones they tell that a reporter is still there.

use crate::edge::{Action, Edge};
use crate::evidence::Evidence;
use crate::identity::{MemberId, Uid};
use crate::limits;
use crate::machine::{CloseReason, ConnectionId, Output};
use crate::map::Member;
use crate::time::Instant;
use crate::wire::{Datagram, Frame};

use super::Watch;

impl Watch {
    pub(super) fn rebuild_edges(&mut self, now: Instant) {
        let interval = self.interval();
        let observes = self.graph.operator_may_observe();
        let subjects = self.graph.members().filter(|_| observes);
        self.edges.lead_to(now, interval, subjects);
        self.next_tick = self.next_tick.min(now + interval);
    }

    /// As in a member: what this process slept through is nobody's silence.
    pub(super) fn notice_lateness(&mut self, now: Instant) {
        let due = self.edges.deadline();
        let due = due.map_or(self.next_tick, |edge| edge.min(self.next_tick));
        let lag = now.saturating_since(due);
        if lag > self.interval() {
            self.counters.pauses += 1;
            self.edges.forget_silence(now);
            self.second_look.forget_silence(now);
            self.peers.values_mut().for_each(|peer| peer.heard = now);
        } else if lag > limits::TIMER_LAG_MAX {
            self.edges.postpone(lag);
        }
    }

    pub(super) fn run_timers(&mut self, now: Instant) {
        let ticks = now >= self.next_tick;
        if ticks {
            self.next_tick = now + self.interval();
            self.tick = self.tick.wrapping_add(1);
            self.give_up_silent_reporters(now);
            self.ask_for_proofs(now);
            self.outbid_join_address();
            for uid in self.peers.keys().copied().collect::<Vec<_>>() {
                self.probe(uid);
            }
            self.dial(now);
            self.judge(now);
        }
        let due = self.edges.due(now);
        if self.judges_at().is_some_and(|due| due <= now) {
            self.judge(now);
        }
        for uid in due {
            let action = self.edges.change(uid, |edge| edge.on_timer(now));
            match action.flatten() {
                Some(Action::Probe) => self.probe(uid),
                Some(Action::Conclude) => self.conclude(now, uid),
                Some(Action::Clear | Action::Knock) | None => {}
            }
        }
        self.tend_statement(now, ticks);
    }

    /// Reporters may all die at once, and then nobody is left to report it: another one takes the place
    /// of each that answers no more. The connection itself would tell only after ten seconds or more.
    fn give_up_silent_reporters(&mut self, now: Instant) {
        if self.graph.operator_may_observe() {
            return;
        }
        let patience = self.interval() * limits::SILENCE_BEATS_MAX;
        let silent: Vec<(Uid, ConnectionId)> = self
            .peers
            .iter()
            .filter(|(_, peer)| now.saturating_since(peer.heard) > patience)
            .map(|(uid, peer)| (*uid, peer.connection))
            .collect();
        for (uid, connection) in silent {
            self.peers.remove(&uid);
            self.outputs.push_back(Output::Close {
                connection,
                reason: CloseReason::Failed,
            });
            self.wait_before_dial(now, uid);
        }
    }

    /// Whom a connection leads to, now that something came from there.
    pub(super) fn hear(&mut self, now: Instant, connection: ConnectionId) -> Option<Uid> {
        let uid = self.uid_of(connection)?;
        self.peers.get_mut(&uid)?.heard = now;
        self.second_look.hear(now, uid);
        Some(uid)
    }

    pub(super) fn on_datagram(&mut self, now: Instant, connection: ConnectionId, bytes: &[u8]) {
        let Some(uid) = self.hear(now, connection) else {
            return;
        };
        let nonce = match Datagram::decode(bytes) {
            Ok(Datagram::Answer { nonce }) => nonce,
            Ok(Datagram::Beat(_) | Datagram::Probe { .. }) => {
                return self.refuse("DatagramForTheOperator");
            }
            Err(error) => return self.refuse(error.category()),
        };
        // The probes of one tick have one number, so that answers count as beats do.
        let action = self.edges.change(uid, |edge| {
            edge.on_answer(now);
            edge.on_beat(now, nonce, false)
        });
        match action.flatten() {
            Some(Action::Conclude) => self.conclude(now, uid),
            // What is clear is told at the end of the turn.
            Some(Action::Clear | Action::Probe | Action::Knock) | None => {}
        }
    }

    pub(super) fn probe(&mut self, uid: Uid) {
        let Some(connection) = self.peers.get(&uid).map(|peer| peer.connection) else {
            return;
        };
        self.counters.probes_sent += 1;
        let bytes = Datagram::Probe { nonce: self.tick }.encode();
        self.outputs
            .push_back(Output::Datagram { connection, bytes });
    }

    fn conclude(&mut self, now: Instant, uid: Uid) {
        let hears_another = self
            .edges
            .iter()
            .any(|(other, edge)| other != uid && edge.is_well(now));
        let conclude = |edge: &mut Edge| edge.conclude(now, hears_another);
        self.edges.change(uid, conclude);
    }

    /// Signs anew what the operator observes, if that has changed.
    ///
    /// What was said of a member stands until its edge knows better, also where an earlier operator said it. The clock of
    /// that one may have been ahead: what it said has the larger sequence then, and is followed by a larger one. Not before the
    /// next tick, because it may still live, and two that answer each other would do so at the network's pace.
    fn tend_statement(&mut self, now: Instant, ticks: bool) {
        let said = self.evidence.reported_by(MemberId::OPERATOR);
        let reported = self.edges.to_report(said);
        let reported: Vec<MemberId> = reported
            .filter_map(|uid| self.listed(uid).map(Member::id))
            .collect();
        if reported == said {
            return;
        }
        let held = self.evidence.get(MemberId::OPERATOR);
        let held = held.map_or(0, |held| held.sequence);
        if held > self.sequence && !ticks {
            return;
        }
        self.sequence = self.sequence.max(held).saturating_add(1);
        let evidence = Evidence::sign(
            self.signed.map(),
            MemberId::OPERATOR,
            &reported,
            false,
            self.sequence,
            &self.config.keypair,
        );
        self.counters.evidence_signed += 1;
        if !self.take_in(now, evidence.clone()) {
            return;
        }
        let bytes = Frame::Evidence(vec![evidence]).encode();
        for peer in self.peers.values() {
            self.outputs.push_back(Output::Frame {
                connection: peer.connection,
                bytes: bytes.clone(),
            });
        }
        self.judge(now);
    }
}

#[cfg(test)]
mod tests;
