//! The map: who the members of a cell are and which slots each owner holds, at one epoch.

mod cells;

use std::collections::BTreeSet;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::bounded;
use crate::identity::{Epoch, MemberId, PublicKey, Uid};
use crate::limits;
use crate::slot::{SLOT_COUNT, Slot, SlotSet};

use cells::Cells;
pub use cells::{Delegation, DirectoryEntry};

/// How ownership is decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// The applied map alone decides: best effort.
    #[default]
    Affinity,
    /// At most one acting owner, by leases.
    Exclusive,
}

/// What all members of a cell agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Protocol {
    /// Version of the wire format that all members speak.
    pub wire_version: u16,
    /// How ownership is decided.
    pub mode: Mode,
    /// Time between two beats.
    pub heartbeat_interval_ms: u32,
    /// Observers of each member (all others in a smaller cell).
    pub observers: u8,
    /// Share of a member's observers that must report it at the end of the peeling.
    pub verdict_percent: u8,
}

impl Default for Protocol {
    fn default() -> Self {
        Self {
            wire_version: 1,
            mode: Mode::Affinity,
            heartbeat_interval_ms: 200,
            observers: 10,
            verdict_percent: 70,
        }
    }
}

/// What a slot belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Name: that of a pod.
    pub name: String,
    /// UID of the pod.
    pub uid: Uid,
    /// Where clients are sent to.
    pub address: SocketAddr,
    /// Weight; 100 is usual, 0 drains.
    pub capacity: u16,
    /// Its slots.
    pub slots: SlotSet,
}

/// An agent that was admitted to the cell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Name of the agent's pod.
    pub name: String,
    /// UID of the agent's pod.
    pub uid: Uid,
    /// Epoch that admitted this process.
    pub incarnation: Epoch,
    /// Key of this process.
    pub key: PublicKey,
    /// Node it runs on.
    pub node: String,
    /// Zone of the node; empty when unknown.
    pub zone: String,
    /// Where its mesh port was last known to be: a hint, not an identity.
    pub address: SocketAddr,
    /// Listed although failed: out of rings, voters and every majority.
    pub failed: bool,
    /// Owners that live on it.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::OWNERS_PER_MEMBER_MAX }>")]
    pub owners: Vec<Owner>,
}

impl Member {
    /// Who it is.
    #[must_use]
    pub fn id(&self) -> MemberId {
        MemberId {
            uid: self.uid,
            incarnation: self.incarnation,
        }
    }

    /// Slots of all its owners.
    #[must_use]
    pub fn slots(&self) -> SlotSet {
        self.owners
            .iter()
            .fold(SlotSet::empty(), |slots, owner| slots.union(&owner.slots))
    }
}

/// The map of one cell at one epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Map {
    /// UID of the cluster.
    pub cluster: Uid,
    /// Name of the cell.
    pub cell: String,
    /// Counts restorations of the record; compared before the epoch.
    pub era: u32,
    /// Number of this map.
    pub epoch: Epoch,
    /// Slots of this cell.
    pub slots: SlotSet,
    /// What all members agree on.
    pub protocol: Protocol,
    /// Members, sorted by name.
    pub members: Vec<Member>,
    /// Where the slots go when this cell has been split: its last word.
    #[serde(skip)]
    pub delegation: Vec<Delegation>,
    /// The other cells of the cluster, sorted by name.
    #[serde(skip)]
    pub directory: Vec<DirectoryEntry>,
}

/// Why bytes, or a map, are refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum MapError {
    /// The bytes are no map.
    #[error("not a map: {0}")]
    Malformed(&'static str),
    /// Something exceeds its limit.
    #[error("{what} exceeds its limit of {limit}")]
    Limit {
        /// What exceeds it.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// The map contradicts itself.
    #[error("inconsistent map: {0}")]
    Inconsistent(String),
    /// Signed for another cluster.
    #[error("the map belongs to another cluster")]
    WrongCluster,
    /// No known key made the signature.
    #[error("the map's signature was made by none of the known keys")]
    BadSignature,
    /// A difference that does not start at the map at hand.
    #[error("the difference starts at another map")]
    WrongBase,
    /// A difference that leads to no newer map than the one at hand.
    #[error("the difference leads to no newer map")]
    NotNewer,
}

impl MapError {
    /// Stable category: event reason and metric label.
    #[must_use]
    pub fn category(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "MalformedMap",
            Self::Limit { .. } => "MapLimit",
            Self::Inconsistent(_) => "InconsistentMap",
            Self::WrongCluster => "WrongCluster",
            Self::BadSignature => "BadMapSignature",
            Self::WrongBase => "WrongBase",
            Self::NotNewer => "NotNewer",
        }
    }
}

impl Map {
    /// The one byte form of a map: what is signed, sealed and hashed.
    #[must_use]
    pub fn canonical(&self) -> Vec<u8> {
        // Writing plain structures into a vector has no way to fail.
        let mut bytes = postcard::to_stdvec(self).unwrap_or_default();
        let cells = self.cells();
        if cells != Cells::default() {
            bytes.extend(postcard::to_stdvec(&cells).unwrap_or_default());
        }
        bytes
    }

    fn cells(&self) -> Cells {
        Cells {
            delegation: self.delegation.clone(),
            directory: self.directory.clone(),
        }
    }

    /// Reads the canonical form without checking what it says.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, MapError> {
        let malformed = |_| MapError::Malformed("the bytes do not decode");
        let (mut map, mut rest) = postcard::take_from_bytes::<Self>(bytes).map_err(malformed)?;
        if !rest.is_empty() {
            let (cells, after) = postcard::take_from_bytes::<Cells>(rest).map_err(malformed)?;
            map.delegation = cells.delegation;
            map.directory = cells.directory;
            rest = after;
        }
        if rest.is_empty() {
            Ok(map)
        } else {
            Err(MapError::Malformed("bytes follow the map"))
        }
    }

    /// Reads the canonical form and checks it.
    ///
    /// # Errors
    /// When the bytes are no map, one that [`Map::validate`] refuses, or another spelling of a map
    /// than [`Map::canonical`] writes (numbers of variable length have several).
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, MapError> {
        limit("a map", bytes.len(), limits::MAP_BYTES_MAX)?;
        let map = Self::decode(bytes)?;
        map.validate()?;
        if map.canonical() != bytes {
            return Err(MapError::Malformed("the bytes are not the canonical form"));
        }
        Ok(map)
    }

    /// SHA-256 of the canonical form.
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        Sha256::digest(self.canonical()).into()
    }

    /// (era, epoch): the larger wins.
    #[must_use]
    pub fn version(&self) -> (u32, Epoch) {
        (self.era, self.epoch)
    }

    /// The member of that pod.
    #[must_use]
    pub fn member(&self, uid: Uid) -> Option<&Member> {
        self.members.iter().find(|member| member.uid == uid)
    }

    /// Whether exactly this process is listed.
    #[must_use]
    pub fn lists(&self, id: MemberId) -> bool {
        self.member(id.uid)
            .is_some_and(|member| member.incarnation == id.incarnation)
    }

    /// Members that take part: listed and not failed.
    pub fn active(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| !member.failed)
    }

    /// Owner of a slot, with the member that it lives on.
    #[must_use]
    pub fn owner_of(&self, slot: Slot) -> Option<(&Member, &Owner)> {
        self.owners().find(|(_, owner)| owner.slots.contains(slot))
    }

    /// Every owner with its member.
    pub fn owners(&self) -> impl Iterator<Item = (&Member, &Owner)> {
        self.members
            .iter()
            .flat_map(|member| member.owners.iter().map(move |owner| (member, owner)))
    }

    /// How many slots have an owner that is not listed as failed.
    #[must_use]
    pub fn served_slots(&self) -> u16 {
        let owners = self.active().flat_map(|member| &member.owners);
        owners.map(|owner| owner.slots.len()).sum()
    }

    /// Checks limits, order and that no slot has two owners.
    ///
    /// # Errors
    /// Names the first rule that the map breaks.
    pub fn validate(&self) -> Result<(), MapError> {
        limit("members", self.members.len(), limits::MEMBERS_MAX)?;
        text("a cell name", &self.cell)?;
        if self.epoch > limits::EPOCH_MAX {
            return Err(MapError::Inconsistent(
                "the epoch does not fit into a beat".into(),
            ));
        }
        self.validate_protocol()?;
        let mut names = BTreeSet::new();
        let (mut uids, mut keys, mut owners) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for member in &self.members {
            self.validate_member(member)?;
            if names
                .last()
                .is_some_and(|last| *last >= member.name.as_str())
            {
                return Err(inconsistent(
                    "members are not sorted by unique names",
                    &member.name,
                ));
            }
            names.insert(member.name.as_str());
            if !uids.insert(member.uid) || !keys.insert(member.key) {
                return Err(inconsistent(
                    "two members share a UID or a key",
                    &member.name,
                ));
            }
            for owner in &member.owners {
                if !owners.insert(owner.uid) {
                    return Err(inconsistent("an owner is listed twice", &owner.name));
                }
            }
        }
        self.validate_slots()?;
        cells::validate(self)
    }

    /// No slot has two owners or belongs to another cell.
    fn validate_slots(&self) -> Result<(), MapError> {
        let mut taken = vec![false; SLOT_COUNT.into()];
        for (_, owner) in self.owners() {
            for slot in owner.slots.iter() {
                let taken = taken.get_mut(usize::from(slot.number()));
                if taken.is_none_or(|taken| std::mem::replace(taken, true)) {
                    return Err(inconsistent("a slot has two owners", &owner.name));
                }
            }
        }
        for slot in self.slots.iter() {
            if let Some(taken) = taken.get_mut(usize::from(slot.number())) {
                *taken = false;
            }
        }
        if taken.contains(&true) {
            return Err(MapError::Inconsistent(
                "an owner holds a slot of another cell".into(),
            ));
        }
        Ok(())
    }

    fn validate_protocol(&self) -> Result<(), MapError> {
        let protocol = &self.protocol;
        let interval = limits::HEARTBEAT_INTERVAL_MS_MIN..=limits::HEARTBEAT_INTERVAL_MS_MAX;
        if !interval.contains(&protocol.heartbeat_interval_ms)
            || !(1..=limits::OBSERVERS_MAX).contains(&protocol.observers)
            || !(1..=100).contains(&protocol.verdict_percent)
            || protocol.wire_version == 0
        {
            return Err(MapError::Inconsistent(
                "a protocol parameter is out of range".into(),
            ));
        }
        Ok(())
    }

    fn validate_member(&self, member: &Member) -> Result<(), MapError> {
        text("a member's name", &member.name)?;
        limit("a node's name", member.node.len(), limits::NAME_BYTES_MAX)?;
        limit("a zone", member.zone.len(), limits::NAME_BYTES_MAX)?;
        limit(
            "owners of a member",
            member.owners.len(),
            limits::OWNERS_PER_MEMBER_MAX,
        )?;
        if member.uid == Uid::NIL {
            return Err(inconsistent("a member has no UID", &member.name));
        }
        if member.incarnation == 0 || member.incarnation > self.epoch {
            return Err(inconsistent(
                "an incarnation lies beyond the map's epoch",
                &member.name,
            ));
        }
        for owner in &member.owners {
            text("an owner's name", &owner.name)?;
            limit(
                "a capacity",
                owner.capacity.into(),
                limits::CAPACITY_MAX.into(),
            )?;
        }
        Ok(())
    }
}

fn limit(what: &'static str, found: usize, limit: usize) -> Result<(), MapError> {
    if found > limit {
        Err(MapError::Limit { what, limit })
    } else {
        Ok(())
    }
}

fn text(what: &'static str, text: &str) -> Result<(), MapError> {
    if text.is_empty() {
        return Err(MapError::Inconsistent(format!("{what} is empty")));
    }
    limit(what, text.len(), limits::NAME_BYTES_MAX)
}

fn inconsistent(what: &str, name: &str) -> MapError {
    MapError::Inconsistent(format!("{what} (`{name}`)"))
}

#[cfg(test)]
pub(crate) mod tests;
