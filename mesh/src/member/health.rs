//! Beats, edges, doubt of oneself, and the verdict.

use std::collections::BTreeSet;
use std::time::Duration;

use rand::RngExt;

use crate::edge::{Action, Edge, State};
use crate::evidence::Change;
use crate::identity::{MemberId, Uid};
use crate::limits;
use crate::machine::{ConnectionId, Event, Output};
use crate::time::Instant;
use crate::wire::{Beat, Datagram, FLAG_DEAF, FLAG_DOUBT, FLAG_HEARS_OPERATOR, FLAG_LEAVING};

use super::Mesh;
use super::peers::Kind;

/// A beat leaves up to that part of the interval earlier or later, so that members do not fall into step: a tenth.
pub(super) const BEAT_JITTER_PART: u32 = 10;

impl Mesh {
    /// A late timer means that this process was away; silence meanwhile is its own. A short absence
    /// postpones everything, a long one starts afresh.
    pub(super) fn notice_lateness(&mut self, now: Instant, due: Instant) {
        let lag = now.saturating_since(due);
        self.timer_lag = self.timer_lag.max(lag);
        if lag > self.interval() / 2 {
            self.doubt_for_a_while(now);
        }
        if lag > self.interval() {
            self.counters.pauses += 1;
            self.edges.forget_silence(now);
            self.next_beat = now;
        } else if lag > limits::TIMER_LAG_MAX {
            self.edges.postpone(lag);
        }
    }

    pub(super) fn run_timers(&mut self, now: Instant) {
        if now >= self.next_beat {
            self.beat(now);
            self.tend_peers(now);
            self.recall_statement();
        }
        self.ask_observers(now);
        for subject in self.edges.due(now) {
            let action = self.edges.change(subject, |edge| edge.on_timer(now));
            self.act(now, subject, action.flatten());
        }
    }

    /// One ticker sends all beats: that costs a third less CPU than one for each edge.
    fn beat(&mut self, now: Instant) {
        let interval = self.interval();
        let tenth = interval.as_micros() / u128::from(BEAT_JITTER_PART);
        let tenth = u64::try_from(tenth).unwrap_or(0);
        let jitter = self.rng.random_range(0..=2 * tenth);
        self.next_beat =
            now + interval - Duration::from_micros(tenth) + Duration::from_micros(jitter);
        if self.deposed {
            return;
        }
        self.tend_hearing(now);
        self.tell_doubt(now);
        self.beat_sequence = self.beat_sequence.wrapping_add(1);
        let bytes = Datagram::Beat(self.current_beat(now)).encode();
        self.timer_lag = Duration::ZERO;
        self.doubt.begin_beat();
        let mut observers = self.graph.observers(self.me.uid).to_vec();
        let (old, until) = &self.old_observers;
        if *until > now {
            observers.extend(old);
        }
        observers.sort_unstable();
        observers.dedup();
        for observer in observers {
            if let Some(connection) = self.peers.of(observer) {
                self.counters.beats_sent += 1;
                self.outputs.push_back(Output::Datagram {
                    connection,
                    bytes: bytes.clone(),
                });
            }
        }
    }

    fn current_beat(&self, now: Instant) -> Beat {
        let flag = |on: bool, flag: u8| if on { flag } else { 0 };
        Beat {
            flags: flag(self.doubt.said, FLAG_DOUBT)
                | flag(self.is_deaf(), FLAG_DEAF)
                | flag(self.hears_operator(now), FLAG_HEARS_OPERATOR)
                | flag(self.leaving, FLAG_LEAVING),
            epoch: self.map().epoch,
            incarnation: self.me.incarnation,
            sequence: self.beat_sequence,
            digest: self.evidence.digest(),
            timer_lag_ms: u16::try_from(self.timer_lag.as_millis()).unwrap_or(u16::MAX),
            send_drops: u16::try_from(self.counters.send_drops).unwrap_or(u16::MAX),
        }
    }

    /// Returns whether it was an ordinary beat: one that asks for nothing.
    pub(super) fn on_datagram(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        bytes: &[u8],
    ) -> bool {
        let Some(kind) = self.peers.get(connection).map(|peer| peer.kind) else {
            return true;
        };
        let datagram = match Datagram::decode(bytes) {
            Ok(datagram) => datagram,
            Err(error) => {
                self.refuse(error.category());
                return true;
            }
        };
        match (kind, datagram) {
            (Kind::Stranger, _) => self.counters.refuse("StrangersDatagram"),
            (Kind::Operator, Datagram::Probe { nonce }) => {
                self.heard_operator = Some(now);
                if self.graph.operator_may_observe() {
                    self.hear_somebody(now);
                }
                self.answer(connection, nonce);
            }
            (Kind::Operator, _) => self.refuse("OperatorsDatagram"),
            (Kind::Member(_), Datagram::Probe { nonce }) => {
                self.hear_somebody(now);
                self.answer(connection, nonce);
            }
            (Kind::Member(id), Datagram::Answer { nonce }) => {
                self.hear_somebody(now);
                self.note_answer(id.uid, nonce);
                self.edges.change(id.uid, |edge| edge.on_answer(now));
            }
            (Kind::Member(id), Datagram::Beat(beat)) => {
                return self.on_beat(now, connection, id, beat);
            }
        }
        false
    }

    fn on_beat(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        from: MemberId,
        beat: Beat,
    ) -> bool {
        // Members an epoch apart may know each other by different incarnations; the key is the same.
        self.counters.beats_received += 1;
        self.hear_somebody(now);
        let known = (self.map().epoch, self.evidence.digest());
        let mut is_ordinary = known == (beat.epoch, beat.digest);
        let (sequence, deaf) = (beat.sequence, beat.flags & FLAG_DEAF != 0);
        let action = self
            .edges
            .change(from.uid, |edge| edge.on_beat(now, sequence, deaf));
        if let Some(action) = action {
            is_ordinary &= action.is_none();
            if let Some(due) = self.edges.deadline() {
                self.quiet_until = self.quiet_until.min(due);
            }
            self.act(now, from.uid, action);
        }
        self.repair(now, connection, beat.epoch, beat.digest);
        is_ordinary
    }

    fn hear_somebody(&mut self, now: Instant) {
        self.heard_anybody = now;
        if std::mem::take(&mut self.doubt.alone) {
            self.tell_doubt(now);
        }
    }

    fn answer(&mut self, connection: ConnectionId, nonce: u32) {
        self.counters.probes_answered += 1;
        let bytes = Datagram::Answer { nonce }.encode();
        self.outputs
            .push_back(Output::Datagram { connection, bytes });
    }

    pub(super) fn act(&mut self, now: Instant, subject: Uid, action: Option<Action>) {
        match action {
            None => {}
            Some(Action::Probe) => {
                self.probe(subject);
                let heard = |edge: &Edge| edge.is_well(now) && edge.is_heard(now);
                if !self.edges.values().any(heard) {
                    self.probe_observers();
                }
            }
            Some(Action::Knock) => self.knock(subject),
            Some(Action::Conclude) => self.conclude(now, subject),
            Some(Action::Clear) => self.statement.compare(),
        }
    }

    pub(super) fn probe_opening_edge(&mut self, uid: Uid) {
        if self.edges.get(uid).is_some_and(is_opening) {
            self.probe(uid);
        }
    }

    /// Subjects that were never heard since their edge began: in that grace their silence counts for nothing.
    #[must_use]
    pub fn opening_edges(&self) -> usize {
        let edges = self.edges.values();
        edges.filter(|edge| is_opening(edge)).count()
    }

    pub(super) fn probe(&mut self, uid: Uid) {
        let Some(connection) = self.peers.of(uid) else {
            return;
        };
        self.nonce = self.nonce.wrapping_add(1);
        self.counters.probes_sent += 1;
        let bytes = Datagram::Probe { nonce: self.nonce }.encode();
        self.outputs
            .push_back(Output::Datagram { connection, bytes });
    }

    /// With every subject silent, an answer from an observer tells that it is not oneself.
    fn probe_observers(&mut self) {
        let mut observers = self.graph.observers(self.me.uid).to_vec();
        observers.retain(|uid| self.edges.get(*uid).is_none());
        for observer in observers {
            self.probe(observer);
        }
    }

    fn conclude(&mut self, now: Instant, subject: Uid) {
        if self.is_split() {
            // Whoever has gone over to another part is silent here, and well.
            self.edges.change(subject, |edge| edge.forget_silence(now));
            return;
        }
        let well = self.is_well(now);
        if self.edges.change(subject, |edge| edge.conclude(now, well)) == Some(true) {
            self.statement.compare();
        }
    }

    pub(super) fn announce(&mut self, observer: MemberId, change: &Change) {
        self.outputs
            .extend(change.events(observer).map(Output::Event));
    }

    /// Somebody else's report: look at the subject at once, if it is ours too.
    pub(super) fn look_at(&mut self, now: Instant, subject: Uid) {
        let action = self
            .edges
            .change(subject, |edge| edge.on_report_of_another(now));
        self.act(now, subject, action.flatten());
    }

    pub(super) fn leave(&mut self) {
        if self.leaving || self.deposed {
            return;
        }
        self.leaving = true;
        self.statement.compare();
    }

    pub(super) fn hears_operator(&self, now: Instant) -> bool {
        let recent =
            (self.interval() * limits::OPERATOR_HEARD_BEATS).max(limits::OPERATOR_HEARD_MIN);
        self.heard_operator
            .is_some_and(|heard| now.saturating_since(heard) <= recent)
    }

    /// Whether this member may say of these that they failed, as far as it can tell itself.
    ///
    /// Those who fall silent together are reported one after the other, within a beat or two. Judged in
    /// between, those not reported yet would count as living, and a minority that is cut off would find
    /// failed what is really a majority. So of those not found failed a member counts as living only
    /// as large a share as it hears of its own subjects, itself included.
    fn may_speak(&self, now: Instant, failed: &BTreeSet<MemberId>) -> bool {
        let is_heard = |edge: &Edge| match edge.state() {
            State::Armed | State::Probing { .. } => edge.is_heard(now),
            State::Opening { .. } => true,
            State::Failed => false,
        };
        let is_found = |uid| {
            let member = self.listed(uid);
            member.is_some_and(|member| failed.contains(&member.id()))
        };
        let others: Vec<&Edge> = self
            .edges
            .iter()
            .filter(|(uid, _)| !is_found(*uid))
            .map(|(_, edge)| edge)
            .collect();
        let all = others.len() + 1;
        let heard = others.iter().filter(|edge| is_heard(edge)).count() + 1;
        // Those that leave are counted on neither side, as in the verdict.
        let leaving = self.evidence.tally().leaving();
        let members = self.graph.len().saturating_sub(leaving);
        let rest = members.saturating_sub(failed.len());
        // Where everybody else is heard the verdict's own rule decides, at exactly half too.
        heard == all || rest * heard * 2 > members * all
    }

    /// Comes to the verdict and announces it when it changed.
    pub(super) fn judge(&mut self, now: Instant) {
        let rests = self.judged.rests(now);
        if self.deposed || !self.has_caught_up(now) {
            return;
        }
        let operator = self.graph.operator_may_observe() && self.hears_operator(now);
        let map = self.signed.map();
        let is_calm = self.verdict.failed.is_empty()
            && self.verdict.unclaimed.is_empty()
            && self.announced.is_empty();
        if is_calm && !self.judged.is_outdated(map, &self.evidence, operator) {
            return;
        }
        if rests {
            return;
        }
        let is_new = self
            .judged
            .on(now, map, &self.graph, &self.evidence, operator);
        let judged = self.judged.verdict();
        let is_withheld = self.caution.withholds(now, map, judged);
        let nobody = BTreeSet::new();
        let claimed = if is_withheld { &nobody } else { &judged.failed };
        let may_speak = self.may_speak(now, claimed);
        // While many have failed an input rarely changes any of it, and to compare them all would cost more than the rest.
        let was = self.judged_last.replace((is_withheld, may_speak));
        if !is_new && was == self.judged_last {
            return;
        }
        self.verdict.clone_from(judged);
        if is_withheld {
            self.verdict.restrain();
        }
        self.counters.steps.add(self.verdict.steps);
        if !may_speak {
            self.verdict.withhold();
        }
        // What the others found of this member is theirs to act upon: their map tells it.
        if self.verdict.failed.contains(&self.me) {
            return;
        }
        let epoch = self.map().epoch;
        if let Some(event) = self.announced.update(epoch, &self.verdict.failed) {
            self.counters.verdicts += u64::from(matches!(event, Event::Verdict { .. }));
            self.event(event);
        }
    }
}

fn is_opening(edge: &Edge) -> bool {
    matches!(edge.state(), State::Opening { .. })
}

#[cfg(test)]
mod tests;
