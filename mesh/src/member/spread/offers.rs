//! Statements that are told by name and asked for: what is offered while more than one member seems dead, and what a
//! summary shows to be missing.
//!
//! ```text
//!   holder ── Offer (news, by signer and sequence) ──▶ peer      holder ── Summary (all that it holds) ──▶ peer
//!          ◀── Wants (what it lacks) ──────────────                     ◀── Evidence (what is not in it) ──
//!          ── Evidence ────────────────────────────▶                    ◀── Wants (what the peer lacks) ───
//!                                                                       ── Evidence ──────────────────────▶
//! ```

use std::collections::BTreeSet;

use super::super::Mesh;
use super::super::peers::Kind;
use crate::evidence::{Evidence, SignerTag, SummaryEntry};
use crate::identity::Uid;
use crate::limits;
use crate::machine::ConnectionId;
use crate::time::Instant;
use crate::wire::Frame;

impl Mesh {
    pub(super) fn send_evidence(&mut self, to: ConnectionId, mut evidence: Vec<Evidence>) {
        while !evidence.is_empty() {
            let more = evidence.split_off(evidence.len().min(limits::EVIDENCE_PER_FRAME_MAX));
            self.send(to, &Frame::Evidence(evidence));
            evidence = more;
        }
    }

    pub(super) fn send_offer(&mut self, to: ConnectionId, entries: &[SummaryEntry]) {
        for part in entries.chunks(limits::SUMMARY_ENTRIES_MAX) {
            self.send(to, &Frame::Offer(part.to_vec()));
        }
    }

    fn send_wants(&mut self, to: ConnectionId, signers: &[SignerTag]) {
        for part in signers.chunks(limits::EVIDENCE_PER_FRAME_MAX) {
            let signers = part.to_vec();
            let reply = false;
            self.send(to, &Frame::Wants { reply, signers });
        }
    }

    /// Says whether one was due.
    pub(super) fn send_summary(&mut self, now: Instant, to: ConnectionId) -> bool {
        let peer = self.peers.get_mut(to);
        if !peer.is_some_and(|peer| peer.allowance.summarize(now)) {
            return false;
        }
        self.counters.summaries_sent += 1;
        let entries = self.evidence.summary();
        self.send(to, &Frame::Summary(entries));
        true
    }

    pub(super) fn on_summary(
        &mut self,
        now: Instant,
        from: ConnectionId,
        entries: &[SummaryEntry],
    ) {
        let missing = self.evidence.missing_from(entries);
        self.serve(now, from, missing);
        // Whoever asks in order to catch up waits for an answer.
        let mut signers = self.want(now, from, entries);
        let more = signers.split_off(signers.len().min(limits::EVIDENCE_PER_FRAME_MAX));
        let reply = true;
        self.send(from, &Frame::Wants { reply, signers });
        self.send_wants(from, &more);
    }

    pub(super) fn on_offer(&mut self, now: Instant, from: ConnectionId, entries: &[SummaryEntry]) {
        let wanted = self.want(now, from, entries);
        self.send_wants(from, &wanted);
    }

    fn want(
        &mut self,
        now: Instant,
        from: ConnectionId,
        entries: &[SummaryEntry],
    ) -> Vec<SignerTag> {
        let evidence = &self.evidence;
        let news = entries.iter().filter(|entry| evidence.lacks(entry));
        self.wanted.offer(now, from, news.copied())
    }

    pub(super) fn on_wants(&mut self, now: Instant, from: ConnectionId, signers: Vec<SignerTag>) {
        let signers: BTreeSet<SignerTag> = signers.into_iter().collect();
        let held = signers
            .iter()
            .filter_map(|tag| self.evidence.of_signer(*tag));
        let held: Vec<Evidence> = held.cloned().collect();
        self.serve(now, from, held);
    }

    /// Sends what was asked for, as far as that peer may ask.
    fn serve(&mut self, now: Instant, to: ConnectionId, mut asked: Vec<Evidence>) {
        let Some(peer) = self.peers.get_mut(to) else {
            return;
        };
        let taken = peer.allowance.serve(now, asked.len());
        if taken < asked.len() {
            self.counters.refuse("StatementsAskedTooOften");
        }
        asked.truncate(taken);
        self.send_evidence(to, asked);
    }

    /// A neighbour that was asked for all it holds has answered.
    pub(super) fn note_caught_up(&mut self, uid: Uid) {
        if self.catch_up.asked.remove(&uid) {
            self.catch_up.answered += 1;
        }
    }

    /// Asks others for what did not come.
    pub(super) fn ask_for_wanted(&mut self, now: Instant) {
        let peers = &self.peers;
        let is_member = |peer| matches!(peers.get(peer).map(|it| it.kind), Some(Kind::Member(_)));
        for (peer, signers) in self.wanted.ask_again(now, is_member) {
            self.send_wants(peer, &signers);
        }
    }
}

#[cfg(test)]
mod tests;
