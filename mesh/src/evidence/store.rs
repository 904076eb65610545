//! The evidence in force: the newest statement of each signer, and what it comes to under the map in force.

use std::collections::BTreeMap;
use std::hash::Hasher;

use serde::{Deserialize, Serialize};

use super::{Edge, Evidence, EvidenceError, SignerTag, Tally, hasher, write_id};
use crate::graph::Graph;
use crate::identity::MemberId;
use crate::limits;
use crate::machine::Event;
use crate::map::Map;

/// One line of a summary or an offer: which statement of a signer a store holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SummaryEntry {
    /// Who stated it.
    pub signer: SignerTag,
    /// Its sequence.
    pub sequence: u64,
}

impl SummaryEntry {
    /// The line of that statement.
    #[must_use]
    pub fn of(evidence: &Evidence) -> Self {
        Self {
            signer: SignerTag::of(evidence.signer),
            sequence: evidence.sequence,
        }
    }
}

/// What a newer statement of a signer changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Whom it reports, and did not before.
    pub reported: Vec<MemberId>,
    /// Whom it reported before, and no longer does.
    pub cleared: Vec<MemberId>,
    /// Whether it says now that it leaves.
    pub leaves: bool,
}

impl Change {
    /// What there is to tell of it.
    pub fn events(&self, observer: MemberId) -> impl Iterator<Item = Event> + '_ {
        let suspected = move |subject: &MemberId| Event::Suspected {
            observer,
            subject: *subject,
        };
        let cleared = move |subject: &MemberId| Event::Cleared {
            observer,
            subject: *subject,
        };
        let leaving = self.leaves.then_some(Event::Leaving { member: observer });
        let suspected = self.reported.iter().map(suspected);
        suspected
            .chain(self.cleared.iter().map(cleared))
            .chain(leaving)
    }
}

#[derive(Clone, Debug)]
struct Held {
    statement: Evidence,
    fingerprint: u64,
    /// [`Evidence::reports`] under the map in force.
    reports: Vec<MemberId>,
}

/// The evidence in force: the newest statement of each signer.
#[derive(Clone, Debug, Default)]
pub struct EvidenceStore {
    newest: BTreeMap<MemberId, Held>,
    /// Signers by their tag, and the sequence of each one's newest statement.
    signers: BTreeMap<SignerTag, (MemberId, u64)>,
    tally: Tally,
    digest: u64,
    /// Grows with every change.
    revision: u64,
}

impl EvidenceStore {
    /// Whether a statement is newer than what the store holds of its signer. An honest signer states one
    /// thing at one sequence; of two, the same one wins everywhere, so that stores agree whatever came first.
    #[must_use]
    pub fn is_news(&self, evidence: &Evidence) -> bool {
        self.newest
            .get(&evidence.signer)
            .is_none_or(|held| rank(&held.statement) < rank(evidence))
    }

    /// Takes in a checked statement; says what it changed, if it is news.
    ///
    /// # Errors
    /// When the store is full.
    pub fn insert(
        &mut self,
        evidence: Evidence,
        graph: &Graph,
    ) -> Result<Option<Change>, EvidenceError> {
        if !self.is_news(&evidence) {
            return Ok(None);
        }
        let signer = evidence.signer;
        if self.newest.len() >= limits::EVIDENCE_MAX && !self.newest.contains_key(&signer) {
            return Err(EvidenceError::Full);
        }
        self.revision += 1;
        self.signers
            .insert(SignerTag::of(signer), (signer, evidence.sequence));
        let leaves = evidence.leaves;
        let reports = take(&mut self.tally, graph, &evidence);
        let held = Held {
            fingerprint: fingerprint(&evidence),
            reports: reports.clone(),
            statement: evidence,
        };
        self.digest ^= held.fingerprint;
        let (said, had_left) = match self.newest.insert(signer, held) {
            Some(older) => {
                self.digest ^= older.fingerprint;
                (older.reports, older.statement.leaves)
            }
            None => (Vec::new(), false),
        };
        let not_in = |all: &[MemberId], others: &[MemberId]| {
            let all = all.iter().filter(|id| !others.contains(id));
            all.copied().collect::<Vec<MemberId>>()
        };
        let change = Change {
            reported: not_in(&reports, &said),
            cleared: not_in(&said, &reports),
            leaves: leaves && !had_left,
        };
        Ok(Some(change))
    }

    /// Another map is in force: drops what was said by those that it does not list, and sees anew what the rest
    /// comes to.
    pub fn adapt_to(&mut self, map: &Map, graph: &Graph) {
        self.newest.retain(|signer, _| match *signer {
            MemberId::OPERATOR => graph.operator_may_observe(),
            signer => graph.lists(map, signer),
        });
        let newest = &self.newest;
        self.signers
            .retain(|_, (signer, _)| newest.contains_key(signer));
        self.revision += 1;
        (self.digest, self.tally) = (0, Tally::of(graph));
        for held in self.newest.values_mut() {
            held.reports = take(&mut self.tally, graph, &held.statement);
            self.digest ^= held.fingerprint;
        }
    }

    /// Equal stores have equal digests, in whatever order they were filled.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// A number that is another one after every change.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Edges that are reported.
    pub fn reports(&self) -> impl Iterator<Item = Edge> + '_ {
        self.newest.iter().flat_map(|(signer, held)| {
            let subjects = held.reports.iter();
            subjects.map(|subject| (*signer, *subject))
        })
    }

    /// The same by places: what a verdict is made of.
    #[must_use]
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// How many members are reported.
    #[must_use]
    pub fn reported(&self) -> usize {
        self.tally.reported()
    }

    /// Members that said they leave.
    pub fn leaving(&self) -> impl Iterator<Item = MemberId> + '_ {
        let leaving = self.newest.values().filter(|held| held.statement.leaves);
        leaving.map(|held| held.statement.signer)
    }

    /// Whom the newest statement of a signer reports.
    #[must_use]
    pub fn reported_by(&self, signer: MemberId) -> &[MemberId] {
        self.newest
            .get(&signer)
            .map_or(&[], |held| held.reports.as_slice())
    }

    /// The newest statement of a signer.
    #[must_use]
    pub fn get(&self, signer: MemberId) -> Option<&Evidence> {
        self.newest.get(&signer).map(|held| &held.statement)
    }

    /// Every statement in force.
    pub fn iter(&self) -> impl Iterator<Item = &Evidence> {
        self.newest.values().map(|held| &held.statement)
    }

    /// How many statements are in force.
    #[must_use]
    pub fn len(&self) -> usize {
        self.newest.len()
    }

    /// Whether nothing is stated.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.newest.is_empty()
    }

    /// What the store holds, in brief.
    #[must_use]
    pub fn summary(&self) -> Vec<SummaryEntry> {
        self.iter()
            .take(limits::SUMMARY_ENTRIES_MAX)
            .map(SummaryEntry::of)
            .collect()
    }

    /// Whether that is newer than what the store holds of its signer.
    #[must_use]
    pub fn lacks(&self, entry: &SummaryEntry) -> bool {
        let held = self.signers.get(&entry.signer);
        held.is_none_or(|(_, sequence)| *sequence < entry.sequence)
    }

    /// The newest statement of the signer with that tag.
    #[must_use]
    pub fn of_signer(&self, tag: SignerTag) -> Option<&Evidence> {
        let (signer, _) = self.signers.get(&tag)?;
        self.get(*signer)
    }

    /// What the holder of that summary lacks; in parts, if that is more than one frame takes.
    #[must_use]
    pub fn missing_from(&self, summary: &[SummaryEntry]) -> Vec<Evidence> {
        let theirs: BTreeMap<SignerTag, u64> = summary
            .iter()
            .map(|entry| (entry.signer, entry.sequence))
            .collect();
        let lacks = |held: &&Evidence| {
            let sequence = theirs.get(&SignerTag::of(held.signer));
            sequence.is_none_or(|sequence| *sequence < held.sequence)
        };
        let missing = self.iter().filter(lacks).cloned();
        missing.take(limits::EVIDENCE_PER_FRAME_MAX).collect()
    }
}

/// Whom a statement reports, as the tally counts it from now on.
fn take(tally: &mut Tally, graph: &Graph, statement: &Evidence) -> Vec<MemberId> {
    let places = statement.reports(graph);
    tally.set(graph, statement.signer, &places, statement.leaves);
    places.into_iter().filter_map(|at| graph.at(at)).collect()
}

fn rank(evidence: &Evidence) -> impl Ord + '_ {
    (
        evidence.sequence,
        evidence.leaves,
        &evidence.reported,
        evidence.epoch,
    )
}

fn fingerprint(evidence: &Evidence) -> u64 {
    let mut hasher = hasher();
    write_id(&mut hasher, evidence.signer);
    hasher.write(&evidence.sequence.to_be_bytes());
    hasher.finish()
}

#[cfg(test)]
mod tests;
