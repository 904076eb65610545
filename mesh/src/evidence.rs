//! Evidence: what each member says about its subjects, signed, and the store of what is in force.
//!
//! ```text
//!   a signer's statements:   7 {b}  ──▶  8 {b, c}  ──▶  9 {c}  ──▶  10 {}
//!                              b reported   c too       b cleared   c cleared
//! ```
//!
//! A statement names all subjects that its signer reports now, and the newest of a signer wins. So half of a cell can
//! die and nobody says more than a statement or two; most of one is its signature. It is first-hand: of those named
//! only the signer's subjects, by the graph of the map in force, count. What a statement comes to is a
//! function of the map and of itself alone, so that all who hold the same see the same. Cluster and cell are part of what
//! is signed and not sent: both sides know them.

mod budget;
mod store;
mod tally;
mod wanted;

use std::hash::Hasher;

use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;
use thiserror::Error;

use crate::graph::Graph;
use crate::identity::{Epoch, Keypair, MemberId, PublicKey, Signature};
use crate::intern::Interner;
use crate::limits;
use crate::map::Map;

pub use budget::Budget;
pub use store::{Change, EvidenceStore, SummaryEntry};
pub use tally::{Said, Tally};
pub(crate) use tally::{bit, ones};
pub use wanted::Wanted;

const DOMAIN: &str = "slotmesh evidence v2";

/// An edge of the monitoring graph: (observer, subject).
pub type Edge = (MemberId, MemberId);

/// A subject in a statement: a hash of its UID and incarnation, which tells it from the signer's other subjects. Of
/// sixteen, two have the same in one map of 36 million; then both are named, by one observer of ten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Tag([u8; 4]);

impl Tag {
    /// The tag of a member.
    #[must_use]
    pub fn of(id: MemberId) -> Self {
        let [a, b, c, d, ..] = hash(id);
        Self([a, b, c, d])
    }

    /// What travels.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A signer where statements are listed: a longer hash of the same. Of a thousand members two have the same in one map of
/// 560 million.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SignerTag([u8; 6]);

impl SignerTag {
    /// The tag of a signer.
    #[must_use]
    pub fn of(id: MemberId) -> Self {
        let [a, b, c, d, e, f, ..] = hash(id);
        Self([a, b, c, d, e, f])
    }
}

/// What a member, or the operator, says of its subjects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Who states it; [`MemberId::OPERATOR`] where the operator observes.
    pub signer: MemberId,
    /// Epoch at which the signer stated it.
    pub epoch: Epoch,
    /// Grows with each statement of the signer.
    pub sequence: u64,
    /// Whether the signer leaves, by its own will.
    pub leaves: bool,
    /// Subjects whose beats stopped and that answer no probe; [`limits::TAGS_MAX`] at most.
    pub reported: Vec<Tag>,
    /// Over all of it, cluster and cell.
    pub signature: Signature,
}

/// Why evidence is refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum EvidenceError {
    /// The map does not list the signer.
    #[error("the signer is not a member")]
    UnknownSigner,
    /// The operator speaks where it may not: it observes in small cells only, and leaves none.
    #[error("the operator does not observe members here")]
    NotAnObserver,
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
            Self::NotAnObserver => "EvidenceNotAnObserver",
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
    /// Signs a statement. Of more subjects than it can name, it names the first.
    #[must_use]
    pub fn sign(
        map: &Map,
        signer: MemberId,
        reported: &[MemberId],
        leaves: bool,
        sequence: u64,
        key: &Keypair,
    ) -> Self {
        let mut reported: Vec<Tag> = reported.iter().map(|id| Tag::of(*id)).collect();
        reported.sort_unstable();
        reported.dedup();
        reported.truncate(limits::TAGS_MAX);
        let mut evidence = Self {
            signer,
            epoch: map.epoch,
            sequence,
            leaves,
            reported,
            signature: Signature::from_bytes([0; 64]),
        };
        evidence.signature = key.sign(DOMAIN, &evidence.parts(map, &evidence.body()));
        evidence
    }

    /// Checks signer and signature against a map.
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
        let body = self.body();
        let parts = self.parts(map, &body);
        let holds = |key: &PublicKey| grounds.verify(key, &parts, &self.signature);
        let signed = if self.signer == MemberId::OPERATOR {
            if !graph.operator_may_observe() || self.leaves {
                return Err(EvidenceError::NotAnObserver);
            }
            operator.iter().any(holds)
        } else {
            let signer = graph.member(map, self.signer.uid);
            let signer = signer.filter(|member| member.id() == self.signer);
            holds(&signer.ok_or(EvidenceError::UnknownSigner)?.key)
        };
        if signed {
            Ok(())
        } else {
            Err(EvidenceError::BadSignature)
        }
    }

    /// Places of those whom it reports, under that graph: those named that the signer observes.
    #[must_use]
    pub fn reports(&self, graph: &Graph) -> Vec<usize> {
        if self.reported.is_empty() {
            return Vec::new();
        }
        let is_named = |place: &usize| {
            let tag = graph.tag_at(*place);
            tag.is_some_and(|tag| self.reported.contains(&tag))
        };
        if self.signer == MemberId::OPERATOR {
            let observed = (0..graph.places()).filter(|place| graph.operator_observes_at(*place));
            return observed.filter(is_named).collect();
        }
        let Some(signer) = graph.place(self.signer.uid) else {
            return Vec::new();
        };
        let subjects = graph.links_at(signer).iter().map(|(place, _)| *place);
        subjects.filter(is_named).collect()
    }

    fn body(&self) -> Vec<u8> {
        postcard::to_stdvec(&(
            self.signer,
            self.epoch,
            self.sequence,
            self.leaves,
            &self.reported,
        ))
        .unwrap_or_default()
    }

    fn parts<'a>(&self, map: &'a Map, body: &'a [u8]) -> [&'a [u8]; 3] {
        [map.cluster.as_bytes(), map.cell.as_bytes(), body]
    }
}

fn hasher() -> SipHasher13 {
    SipHasher13::new_with_keys(0x736c_6f74, 0x6d65_7368)
}

fn hash(id: MemberId) -> [u8; 8] {
    let mut hasher = hasher();
    write_id(&mut hasher, id);
    hasher.finish().to_be_bytes()
}

fn write_id(hasher: &mut SipHasher13, id: MemberId) {
    hasher.write(id.uid.as_bytes());
    hasher.write(&id.incarnation.to_be_bytes());
}

#[cfg(test)]
mod tests;
