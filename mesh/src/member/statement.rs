//! What a member says of its subjects: one statement, signed anew when what it would say has changed.
//!
//! ```text
//!              an edge failed, or is clear               what is to be said differs,
//!   ┌──────┐   a new map, a beat                ┌───────┐ nobody else is in question  ┌────────┐
//!   │ said │ ─────────────────────────────────▶ │ stale │ ──────────────────────────▶ │ signed │
//!   └──────┘ ◀───────────────────────────────── └───────┘   or it has waited a beat   └────────┘
//!       ▲             it says the same                                                    │
//!       └─────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! A death of one is reported at once. Only while many members are reported does it wait for its other subjects that
//! are in question: those who die together fall silent within a beat of each other.
//!
//! What was said of a subject stands until its edge knows better: an edge that is new, since the map has brought the
//! subject back, says nothing yet.

use crate::edge::State;
use crate::evidence::Evidence;
use crate::identity::MemberId;
use crate::limits;
use crate::map::Member;
use crate::time::Instant;

use super::Mesh;

/// Where a member stands with its own statement.
#[derive(Debug, Default)]
pub(super) struct Statement {
    /// Of the last one that was signed.
    sequence: u64,
    /// Whether what it would say may differ from what it said.
    stale: bool,
    /// Since when it does.
    since: Option<Instant>,
    /// When it has waited long enough, while it waits.
    until: Option<Instant>,
}

impl Statement {
    /// Something happened that may change what is to be said.
    pub(super) fn compare(&mut self) {
        self.stale = true;
    }
}

impl Mesh {
    /// Once a beat: an edge of which something was said may have opened.
    pub(super) fn recall_statement(&mut self) {
        self.statement.stale |= !self.evidence.reported_by(self.me).is_empty();
    }

    /// Signs a statement, if there is something to say, and tells the others.
    pub(super) fn tend_statement(&mut self, now: Instant) {
        if !self.statement.stale {
            return;
        }
        let reported = self.to_report();
        let said = self.evidence.reported_by(self.me);
        let said_to_leave = self.evidence.get(self.me).is_some_and(|held| held.leaves);
        if self.deposed || (reported == said && self.leaving == said_to_leave) {
            self.statement = Statement {
                sequence: self.statement.sequence,
                ..Statement::default()
            };
            return;
        }
        let since = *self.statement.since.get_or_insert(now);
        let until = since + self.interval() * limits::STATEMENT_PATIENCE_BEATS;
        if now < until && self.others_are_in_question(now) {
            self.statement.until = Some(until);
            return;
        }
        self.statement = Statement {
            sequence: self.statement.sequence + 1,
            ..Statement::default()
        };
        self.state(now, &reported);
    }

    /// When [`Mesh::tend_statement`] has something to do.
    pub(super) fn statement_deadline(&self) -> Option<Instant> {
        self.statement.until
    }

    /// In the order of its subjects.
    fn to_report(&self) -> Vec<MemberId> {
        let said = self.evidence.reported_by(self.me);
        let reported = self.edges.to_report(said);
        reported
            .filter_map(|uid| self.listed(uid).map(Member::id))
            .collect()
    }

    /// While many members are reported: whether some subject is silent of which its edge does not know yet.
    fn others_are_in_question(&self, now: Instant) -> bool {
        let mut edges = self.edges.values();
        self.evidence.reported() > limits::NEWS_AT_ONCE
            && edges.any(|edge| match edge.state() {
                State::Probing { .. } => true,
                State::Armed => !edge.is_heard(now),
                State::Opening { .. } | State::Failed => false,
            })
    }

    fn state(&mut self, now: Instant, reported: &[MemberId]) {
        let evidence = Evidence::sign(
            self.signed.map(),
            self.me,
            reported,
            self.leaving,
            self.statement.sequence,
            &self.config.keypair,
        );
        self.counters.evidence_signed += 1;
        match self.evidence.insert(evidence.clone(), &self.graph) {
            Ok(Some(change)) => {
                self.announce(self.me, &change);
                self.spread_evidence(now, &[evidence], None);
            }
            // Somebody else has this member's key, and said more.
            Ok(None) => self.refuse("EvidenceNotNews"),
            Err(error) => self.refuse(error.category()),
        }
    }
}

#[cfg(test)]
mod tests;
