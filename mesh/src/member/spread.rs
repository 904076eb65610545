//! What travels on streams: evidence is pushed on arrival ([`outbox`]) to two ring neighbours and dropped when known;
//! while more than one member seems dead that of others is offered and asked for (`spread/offers.rs`), as maps always are
//! (`spread/maps.rs`). Both are repaired through what beats tell (digest and epoch), and only the difference is sent.
//!
//! Beats never wait for any of it: they are datagrams, of which the newest pushes out the oldest. Of frames at most
//! [`limits::FRAMES_QUEUED_MAX`] wait for one peer; when there are more the newest is dropped and counted,
//! and the next beats show the peer what it misses.

mod maps;
pub(super) mod neighbours;
mod offers;
pub(super) mod outbox;
pub(super) mod pull;
pub(super) mod reports;

use std::collections::BTreeSet;
use std::time::Duration;

use crate::edge::{Edge, State};
use crate::evidence::{Evidence, EvidenceError, Grounds, SummaryEntry};
use crate::identity::{Epoch, Uid};
use crate::limits;
use crate::machine::{CloseReason, ConnectionId, Output};
use crate::time::Instant;
use crate::wire::Frame;

use super::Mesh;
use super::peers::Kind;

/// Who is told news.
pub(super) struct Listeners {
    pub(super) connections: BTreeSet<ConnectionId>,
    /// Whether they are told the news of others too, or offered it.
    in_full: bool,
}

/// A peer whose evidence differed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Repair {
    peer: ConnectionId,
    /// Of what it holds, by its newest beat.
    digest: u64,
    since: Instant,
    /// When to compare again.
    due: Instant,
}

impl Mesh {
    /// The first words on a connection.
    pub(super) fn greet(&mut self, now: Instant, connection: ConnectionId) {
        self.say_hello(connection);
        match self.peers.get(connection).map(|peer| peer.kind) {
            Some(Kind::Member(id)) => {
                self.tell_join_address(connection);
                self.ask_to_catch_up(now, connection, id.uid);
            }
            Some(Kind::Operator) => {
                let all: Vec<Evidence> = self.evidence.iter().cloned().collect();
                self.send_evidence(connection, all);
            }
            _ => {}
        }
    }

    fn say_hello(&mut self, connection: ConnectionId) {
        let (era, epoch) = self.map().version();
        let mut sha256 = [0; 8];
        for (target, source) in sha256.iter_mut().zip(self.signed.sha256()) {
            *target = *source;
        }
        self.send(connection, &Frame::Hello { era, epoch, sha256 });
    }

    fn ask_to_catch_up(&mut self, now: Instant, connection: ConnectionId, uid: Uid) {
        if self.has_caught_up(now) || self.catch_up.asked.len() >= limits::CATCH_UP_NEIGHBOURS {
            return;
        }
        if self.catch_up.asked.insert(uid) {
            self.send_summary(now, connection);
        }
    }

    pub(super) fn has_caught_up(&self, now: Instant) -> bool {
        let others = self.graph.len().saturating_sub(1);
        self.catch_up.answered >= limits::CATCH_UP_NEIGHBOURS.min(others)
            || now >= self.catch_up.until
    }

    pub(super) fn on_frame(&mut self, now: Instant, connection: ConnectionId, bytes: &[u8]) {
        let Some(kind) = self.peers.get(connection).map(|peer| peer.kind) else {
            return;
        };
        let frame = match Frame::decode(bytes) {
            Ok(frame) => frame,
            Err(error) => return self.refuse(error.category()),
        };
        if is_to_verify(&frame) && self.peers.is_forger(now, connection) {
            return self.counters.refuse("ForgersFrame");
        }
        match (kind, frame) {
            (_, Frame::Hello { era, epoch, sha256 }) => {
                self.on_hello(now, connection, (era, epoch), sha256)
            }
            (_, Frame::Map { age_us, bytes }) => {
                self.on_whole_map(now, connection, age_us, &bytes);
            }
            (_, Frame::MapDifference { age_us, bytes }) => {
                self.on_difference(now, connection, age_us, &bytes);
            }
            (_, Frame::MapRequest) => self.send_whole_map(now, connection),
            (Kind::Stranger, _) => self.counters.refuse("StrangersFrame"),
            (_, Frame::JoinAddress(told)) => self.on_join_address(now, connection, told),
            (_, Frame::Evidence(evidence)) => self.on_evidence(now, connection, evidence),
            (Kind::Member(_), Frame::Applied { era, epoch, counts }) => {
                self.on_applied(now, (era, epoch), counts);
            }
            (Kind::Operator, Frame::Applied { .. }) => self.refuse("OperatorsApplied"),
            (Kind::Operator, Frame::Summary(_)) => self.refuse("OperatorsSummary"),
            (Kind::Operator, Frame::Offer(_)) => self.refuse("OperatorsOffer"),
            (Kind::Operator, Frame::Wants { .. }) => self.refuse("OperatorsWants"),
            (Kind::Member(_), Frame::Summary(entries)) => {
                self.on_summary(now, connection, &entries);
            }
            (Kind::Member(_), Frame::Offer(entries)) => self.on_offer(now, connection, &entries),
            (Kind::Member(id), Frame::Wants { reply, signers }) => {
                self.on_wants(now, connection, signers);
                if reply {
                    self.note_caught_up(id.uid);
                }
            }
        }
    }

    fn on_evidence(&mut self, now: Instant, from: ConnectionId, evidence: Vec<Evidence>) {
        let (mut news, mut changes) = (Vec::new(), Vec::new());
        self.counters.evidence_copies += evidence.len() as u64;
        for item in evidence {
            let signer = item.signer;
            let map = self.signed.map();
            let grounds = Grounds {
                map,
                graph: &self.graph,
                operator: &self.config.map_keys,
                interner: self.config.interner.as_ref(),
            };
            let vetted = self.budget.vet(now, &item, &self.evidence, grounds);
            let taken = match vetted {
                Ok(true) => self.evidence.insert(item.clone(), &self.graph),
                Ok(false) => Ok(None),
                Err(error) => Err(error),
            };
            match taken {
                Ok(Some(change)) => {
                    changes.push((item.signer, change));
                    news.push(item);
                }
                Ok(None) => {}
                // Between two epochs most are usual; the digest brings it back.
                Err(error) => {
                    self.counters.refuse(error.category());
                    if error == EvidenceError::BadSignature && self.distrust(now, from, 1) {
                        // What it sent before counts.
                        break;
                    }
                }
            }
            if let Some(held) = self.evidence.get(signer) {
                self.wanted.settle(SummaryEntry::of(held));
            }
        }
        for (signer, change) in changes {
            self.counters.evidence_received += 1;
            self.announce(signer, &change);
            for subject in change.reported {
                self.look_at(now, subject.uid);
            }
            if change.leaves {
                self.edges.retain(|uid| uid != signer.uid);
                self.statement.compare();
            }
        }
        self.spread_evidence(now, &news, Some(from));
    }

    /// Something from that peer does not hold, and counts so much; says whether the peer is hung up on. Honest peers pass on
    /// what they have verified.
    pub(super) fn distrust(&mut self, now: Instant, from: ConnectionId, weight: u32) -> bool {
        let Some(peer) = self.peers.get_mut(from) else {
            return false;
        };
        if peer.kind == Kind::Operator {
            return false;
        }
        let kind = peer.kind;
        peer.allowance.forge(now, weight);
        let is_forger = peer.allowance.is_forger(now);
        if is_forger {
            self.close(from, CloseReason::ProtocolError);
            if let Kind::Member(id) = kind {
                self.peers.dials.rest(now, id.uid);
            }
        }
        is_forger
    }

    /// Whom to tell news: on each of a few rings the next member that is well, and whoever comes before
    /// it. So each ring stays a cycle through the living however many died at once, and a member that
    /// is reported by mistake is not left in the dark.
    ///
    /// Whom this member itself reports is told nothing: what is sent to the dead only waits, and there may be many of them.
    /// Others tell it, and when it is heard again its beats show what it misses.
    ///
    /// Two rings bring each rumour to a member twice at most. Where more than one member seems dead there are
    /// more of them, because then those that are told are not sure to tell others; and what is not one's own is offered, so
    /// that it comes no oftener.
    pub(super) fn listeners(&self, now: Instant) -> Listeners {
        let is_reported = |uid: &Uid| self.reporters_of(*uid) > 0;
        let is_silent = |(uid, edge): &(Uid, &Edge)| !edge.is_well(now) && !is_reported(uid);
        let silent = self.edges.iter().filter(is_silent);
        let silent: BTreeSet<Uid> = silent.map(|(uid, _)| uid).collect();
        let is_unwell = |uid: &Uid| is_reported(uid) || silent.contains(uid);
        let unwell = self.evidence.reported() + silent.len();
        let in_full = unwell <= 1;
        let rings = if in_full {
            limits::FANOUT
        } else {
            limits::FANOUT_MANY_DEAD
        };
        let (mut connections, mut well) = (BTreeSet::new(), BTreeSet::new());
        for ring in 0..rings {
            for uid in self.graph.after(self.me.uid, ring) {
                let Some(connection) = self.peers.of(uid).filter(|_| !self.is_lost(uid)) else {
                    continue;
                };
                connections.insert(connection);
                if !is_unwell(&uid) && well.insert(uid) {
                    break;
                }
            }
        }
        Listeners {
            connections,
            in_full,
        }
    }

    /// Whether it is a subject that failed here, or several others report it.
    fn is_lost(&self, uid: Uid) -> bool {
        let state = self.edges.get(uid).map(Edge::state);
        state == Some(State::Failed) || self.reporters_of(uid) >= limits::REPORTERS_OF_LOST
    }

    fn reporters_of(&self, uid: Uid) -> usize {
        self.evidence.tally().reporters_of(&self.graph, uid)
    }

    /// Tells a few neighbours, and every operator.
    pub(super) fn spread_evidence(
        &mut self,
        now: Instant,
        news: &[Evidence],
        from: Option<ConnectionId>,
    ) {
        self.outbox.hold(now, news, from);
        self.send_news(now);
    }

    /// While more than one member seems dead, members are told only one's own statements unasked: nobody has
    /// those. Operators are told all: they have no beats that would show them what they miss.
    fn send_news(&mut self, now: Instant) {
        let news = self.outbox.take_due(now, self.evidence.reported());
        if news.is_empty() {
            return;
        }
        let mut listeners = self.listeners(now);
        let operators = self.peers.operators();
        listeners.connections.extend(&operators);
        for connection in listeners.connections {
            // Whoever said it knows it.
            let knows = |item: &Evidence, from: Option<ConnectionId>| {
                from == Some(connection) || self.peers.of(item.signer.uid) == Some(connection)
            };
            let in_full = listeners.in_full || operators.contains(&connection);
            let (mut told, mut offered) = (Vec::new(), Vec::new());
            for (item, from) in &news {
                match from {
                    from if knows(item, *from) => {}
                    Some(_) if !in_full => offered.push(SummaryEntry::of(item)),
                    _ => told.push(item.clone()),
                }
            }
            self.send_evidence(connection, told);
            self.send_offer(connection, &offered);
        }
    }

    /// A beat told the peer's epoch and digest: mend what differs.
    pub(super) fn repair(&mut self, now: Instant, peer: ConnectionId, epoch: Epoch, digest: u64) {
        self.repair_map(now, peer, epoch);
        let differs = epoch == self.map().epoch && digest != self.evidence.digest();
        match &mut self.repair {
            Some(repair) if repair.peer == peer && differs => repair.digest = digest,
            Some(repair) if repair.peer == peer => self.repair = None,
            None if differs => {
                self.repair = Some(Repair {
                    peer,
                    digest,
                    since: now,
                    due: now + self.rumour_time(),
                });
            }
            Some(_) | None => {}
        }
    }

    /// Time for a rumour to reach all.
    fn rumour_time(&self) -> Duration {
        limits::RUMOUR_TIME + outbox::pause(self.evidence.reported()) * limits::RUMOUR_HOPS
    }

    /// While rumours are under way evidence differs everywhere, and a summary of all of it is large. Only what differs
    /// when nothing new has come for a moment was missed; or what has differed for long.
    fn repair_evidence(&mut self, now: Instant) {
        let Some(repair) = self.repair.filter(|repair| repair.due <= now) else {
            return;
        };
        self.repair = None;
        if repair.digest == self.evidence.digest() {
            return;
        }
        let settled = self.outbox.last_news() + self.rumour_time();
        let latest = repair.since + limits::REPAIR_PATIENCE;
        if now < settled && now < latest {
            let due = settled.min(latest);
            self.repair = Some(Repair { due, ..repair });
        } else {
            let sent = self.send_summary(now, repair.peer);
            self.counters.repairs += u64::from(sent);
        }
    }

    /// What waited for its time.
    pub(super) fn run_spread_timers(&mut self, now: Instant) {
        self.ask_for_map(now);
        self.send_news(now);
        self.ask_for_wanted(now);
        self.repair_evidence(now);
        self.tell_reports(now);
    }

    /// When [`Mesh::run_spread_timers`] has something to do.
    pub(super) fn spread_deadline(&self) -> Option<Instant> {
        let repair = self.repair.map(|repair| repair.due);
        let deadlines = [
            self.pull.deadline(),
            self.reports.deadline(),
            self.outbox.deadline(),
            self.wanted.deadline(),
            repair,
        ];
        deadlines.into_iter().flatten().min()
    }

    pub(super) fn send(&mut self, connection: ConnectionId, frame: &Frame) {
        self.outputs.push_back(Output::Frame {
            connection,
            bytes: frame.encode(),
        });
    }
}

/// Whether a frame carries signatures.
fn is_to_verify(frame: &Frame) -> bool {
    matches!(
        frame,
        Frame::Map { .. }
            | Frame::MapDifference { .. }
            | Frame::Evidence(_)
            | Frame::JoinAddress(_)
    )
}

#[cfg(test)]
mod tests;
