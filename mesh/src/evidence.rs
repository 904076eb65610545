//! Evidence: signed statements of one member about another, and the store of those in force.
//!
//! A statement is first-hand, about one edge of the monitoring graph, and the newest of an edge wins.
//! Cluster and cell are part of what is signed and not sent: both sides know them.

mod budget;

use std::collections::BTreeMap;
use std::hash::Hasher;

use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;
use thiserror::Error;

use crate::graph::Graph;
use crate::identity::{Epoch, Keypair, MemberId, PublicKey, Signature, Uid};
use crate::intern::Interner;
use crate::limits;
use crate::map::Map;

pub use budget::Budget;

const DOMAIN: &str = "slotmesh evidence v1";

/// What is stated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Claim {
    /// The subject's beats stopped and it answers no probe.
    Suspect,
    /// The subject's beats arrive again.
    Clear,
    /// The signer leaves by itself; signer and subject are the same.
    Leave,
}

/// A signed statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Who states it; [`MemberId::OPERATOR`] where the operator observes.
    pub signer: MemberId,
    /// Whom it is about.
    pub subject: MemberId,
    /// What is stated.
    pub claim: Claim,
    /// Epoch at which the signer stated it.
    pub epoch: Epoch,
    /// Grows with each statement of the signer.
    pub sequence: u64,
    /// Over all of it, cluster and cell.
    pub signature: Signature,
}

/// Why evidence is refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum EvidenceError {
    /// The map does not list the signer.
    #[error("the signer is not a member")]
    UnknownSigner,
    /// The map does not list the subject.
    #[error("the subject is not a member")]
    UnknownSubject,
    /// The signer does not observe the subject.
    #[error("the signer does not observe the subject")]
    NoSuchEdge,
    /// The signature does not hold.
    #[error("the signature does not hold")]
    BadSignature,
    /// The signer states more than an honest one could.
    #[error("more statements than the signer's budget")]
    Budget,
    /// The store is full.
    #[error("too much evidence")]
    Full,
}

impl EvidenceError {
    /// Stable category: metric label.
    #[must_use]
    pub fn category(self) -> &'static str {
        match self {
            Self::UnknownSigner => "EvidenceUnknownSigner",
            Self::UnknownSubject => "EvidenceUnknownSubject",
            Self::NoSuchEdge => "EvidenceNoSuchEdge",
            Self::BadSignature => "EvidenceBadSignature",
            Self::Budget => "EvidenceBudget",
            Self::Full => "EvidenceFull",
        }
    }
}

/// What a statement is checked against.
#[derive(Clone, Copy, Debug)]
pub struct Grounds<'a> {
    /// The map in force.
    pub map: &'a Map,
    /// Its graph.
    pub graph: &'a Graph,
    /// Keys of the operator.
    pub operator: &'a [PublicKey],
    /// What other machines of this process have verified, where there are any.
    pub interner: Option<&'a Interner>,
}

impl Grounds<'_> {
    fn verify(self, key: &PublicKey, parts: &[&[u8]], signature: &Signature) -> bool {
        let verify = || key.verify(DOMAIN, parts, signature);
        match self.interner {
            Some(interner) => interner.verified(key, parts, signature, verify),
            None => verify(),
        }
    }
}

impl Evidence {
    /// Signs a statement.
    #[must_use]
    pub fn sign(
        map: &Map,
        signer: MemberId,
        subject: MemberId,
        claim: Claim,
        sequence: u64,
        key: &Keypair,
    ) -> Self {
        let mut evidence = Self {
            signer,
            subject,
            claim,
            epoch: map.epoch,
            sequence,
            signature: Signature::from_bytes([0; 64]),
        };
        evidence.signature = key.sign(DOMAIN, &evidence.parts(map, &evidence.body()));
        evidence
    }

    /// Checks signer, subject, edge and signature against a map.
    ///
    /// # Errors
    /// Names the first check that fails.
    pub fn check(&self, grounds: Grounds<'_>) -> Result<(), EvidenceError> {
        let Grounds {
            map,
            graph,
            operator,
            ..
        } = grounds;
        if !graph.lists(map, self.subject) {
            return Err(EvidenceError::UnknownSubject);
        }
        let body = self.body();
        let parts = self.parts(map, &body);
        if self.signer == MemberId::OPERATOR {
            if !graph.operator_observes(self.subject.uid) || self.claim == Claim::Leave {
                return Err(EvidenceError::NoSuchEdge);
            }
            let signed = operator
                .iter()
                .any(|key| grounds.verify(key, &parts, &self.signature));
            return if signed {
                Ok(())
            } else {
                Err(EvidenceError::BadSignature)
            };
        }
        let signer = graph
            .member(map, self.signer.uid)
            .filter(|member| member.id() == self.signer);
        let signer = signer.ok_or(EvidenceError::UnknownSigner)?;
        let edge_exists = match self.claim {
            Claim::Leave => self.signer == self.subject,
            Claim::Suspect | Claim::Clear => graph.observes(self.signer.uid, self.subject.uid),
        };
        if !edge_exists {
            return Err(EvidenceError::NoSuchEdge);
        }
        if grounds.verify(&signer.key, &parts, &self.signature) {
            Ok(())
        } else {
            Err(EvidenceError::BadSignature)
        }
    }

    /// The edge that it speaks of.
    #[must_use]
    pub fn edge(&self) -> Edge {
        (self.signer, self.subject)
    }

    fn body(&self) -> Vec<u8> {
        postcard::to_stdvec(&(
            self.signer,
            self.subject,
            self.claim,
            self.epoch,
            self.sequence,
        ))
        .unwrap_or_default()
    }

    fn parts<'a>(&self, map: &'a Map, body: &'a [u8]) -> [&'a [u8]; 3] {
        [map.cluster.as_bytes(), map.cell.as_bytes(), body]
    }
}

/// An edge of the monitoring graph: (observer, subject).
pub type Edge = (MemberId, MemberId);

/// One line of a summary: which statement of an edge a store holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SummaryEntry {
    /// Who stated it.
    pub signer: MemberId,
    /// Whom it is about.
    pub subject: MemberId,
    /// Its sequence.
    pub sequence: u64,
}

/// The evidence in force: the newest statement of each edge.
#[derive(Clone, Debug, Default)]
pub struct EvidenceStore {
    newest: BTreeMap<Edge, Evidence>,
    /// Subjects, and how many report them.
    reported: BTreeMap<Uid, usize>,
    digest: u64,
    /// Grows with every change.
    revision: u64,
}

impl EvidenceStore {
    /// Whether a statement is newer than what the store holds of its edge. An honest signer states one
    /// thing at one sequence; of two, the later in the order of [`Claim`] wins everywhere, so that
    /// stores agree whatever came first.
    #[must_use]
    pub fn is_news(&self, evidence: &Evidence) -> bool {
        let rank = |evidence: &Evidence| (evidence.sequence, evidence.claim, evidence.epoch);
        self.newest
            .get(&evidence.edge())
            .is_none_or(|held| rank(held) < rank(evidence))
    }

    /// Takes in a checked statement, if it is news.
    ///
    /// # Errors
    /// When the store is full.
    pub fn insert(&mut self, evidence: Evidence) -> Result<bool, EvidenceError> {
        if !self.is_news(&evidence) {
            return Ok(false);
        }
        let edge = evidence.edge();
        if self.newest.len() >= limits::EVIDENCE_MAX && !self.newest.contains_key(&edge) {
            return Err(EvidenceError::Full);
        }
        self.revision += 1;
        self.digest ^= fingerprint(&evidence);
        if evidence.claim == Claim::Suspect {
            *self.reported.entry(edge.1.uid).or_default() += 1;
        }
        if let Some(older) = self.newest.insert(edge, evidence) {
            self.digest ^= fingerprint(&older);
            self.forget_report(&older);
        }
        Ok(true)
    }

    fn forget_report(&mut self, older: &Evidence) {
        let subject = older.subject.uid;
        if older.claim == Claim::Suspect
            && let Some(reports) = self.reported.get_mut(&subject)
        {
            *reports -= 1;
            if *reports == 0 {
                self.reported.remove(&subject);
            }
        }
    }

    /// Drops what no longer speaks of an edge between listed members.
    pub fn retain_for(&mut self, map: &Map, graph: &Graph) {
        self.newest.retain(|(signer, subject), evidence| {
            let edge_exists = if *signer == MemberId::OPERATOR {
                graph.operator_observes(subject.uid)
            } else {
                graph.lists(map, *signer)
                    && (evidence.claim == Claim::Leave || graph.observes(signer.uid, subject.uid))
            };
            edge_exists && graph.lists(map, *subject)
        });
        self.revision += 1;
        self.digest = self
            .newest
            .values()
            .fold(0, |digest, evidence| digest ^ fingerprint(evidence));
        let mut reported = BTreeMap::new();
        for (_, subject) in self.reports() {
            *reported.entry(subject.uid).or_default() += 1;
        }
        self.reported = reported;
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

    /// Edges whose newest statement is a report.
    pub fn reports(&self) -> impl Iterator<Item = Edge> + '_ {
        self.with(Claim::Suspect)
    }

    /// Whether anybody reports that member.
    #[must_use]
    pub fn is_reported(&self, uid: Uid) -> bool {
        self.reported.contains_key(&uid)
    }

    /// How many members are reported.
    #[must_use]
    pub fn reported(&self) -> usize {
        self.reported.len()
    }

    /// Members that said they leave.
    pub fn leaving(&self) -> impl Iterator<Item = MemberId> + '_ {
        self.with(Claim::Leave).map(|(signer, _)| signer)
    }

    fn with(&self, claim: Claim) -> impl Iterator<Item = Edge> + '_ {
        self.newest
            .values()
            .filter(move |held| held.claim == claim)
            .map(Evidence::edge)
    }

    /// The newest statement of an edge.
    #[must_use]
    pub fn get(&self, edge: Edge) -> Option<&Evidence> {
        self.newest.get(&edge)
    }

    /// Every statement in force.
    pub fn iter(&self) -> impl Iterator<Item = &Evidence> {
        self.newest.values()
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
        self.newest
            .values()
            .take(limits::SUMMARY_ENTRIES_MAX)
            .map(|held| SummaryEntry {
                signer: held.signer,
                subject: held.subject,
                sequence: held.sequence,
            })
            .collect()
    }

    /// What the holder of that summary lacks; in parts, if that is more than one frame takes.
    #[must_use]
    pub fn missing_from(&self, summary: &[SummaryEntry]) -> Vec<Evidence> {
        let theirs: BTreeMap<Edge, u64> = summary
            .iter()
            .map(|entry| ((entry.signer, entry.subject), entry.sequence))
            .collect();
        self.newest
            .iter()
            .filter(|(edge, held)| {
                theirs
                    .get(edge)
                    .is_none_or(|sequence| *sequence < held.sequence)
            })
            .map(|(_, held)| *held)
            .take(limits::EVIDENCE_PER_FRAME_MAX)
            .collect()
    }

    /// Whether the summary names something that this store lacks.
    #[must_use]
    pub fn lacks_something_of(&self, summary: &[SummaryEntry]) -> bool {
        summary.iter().any(|entry| {
            self.newest
                .get(&(entry.signer, entry.subject))
                .is_none_or(|held| held.sequence < entry.sequence)
        })
    }
}

fn fingerprint(evidence: &Evidence) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(0x736c_6f74, 0x6d65_7368);
    for id in [evidence.signer, evidence.subject] {
        hasher.write(id.uid.as_bytes());
        hasher.write(&id.incarnation.to_be_bytes());
    }
    hasher.write(&evidence.sequence.to_be_bytes());
    hasher.finish()
}

#[cfg(test)]
mod tests;
