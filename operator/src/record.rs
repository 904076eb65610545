//! The record of a map: `GossipCell` to [`Map`] and back, the same bytes each time.
//!
//! The seal is computed over the canonical map, so it is checked after the way back: whatever an
//! editor changes in the object changes the map or makes it invalid.

use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use slotmesh_api::{
    CellDelegation, CellDirectoryEntry, CellMember, CellMode, CellOwner, CellProtocol,
    ClusterReference, GossipCell, GossipCellSpec,
};
use slotmesh_mesh::identity::{PublicKey, Uid};
use slotmesh_mesh::map::{Delegation, DirectoryEntry, Map, Member, Mode, Owner, Protocol};
use slotmesh_mesh::seal::{SealKey, seal, seal_matches};
use slotmesh_mesh::slot::SlotSet;

use crate::children::labels;
use crate::seam::{ClusterKey, RecordFailure, RecordVersion, Recorded};

/// The object that records `map`.
///
/// # Errors
/// [`RecordFailure::Invalid`] when the map breaks a rule or the record has no field for something.
pub fn to_object(
    cluster: &ClusterKey,
    owner: OwnerReference,
    parent: Option<&RecordVersion>,
    map: &Map,
    key: &SealKey,
) -> Result<GossipCell, RecordFailure> {
    map.validate()
        .map_err(|error| RecordFailure::Invalid(error.to_string()))?;
    if map.cluster != cluster.uid {
        return Err(invalid("the map belongs to another cluster"));
    }
    let spec = GossipCellSpec {
        cluster_ref: ClusterReference {
            name: cluster.name.clone(),
            uid: cluster.uid.to_string(),
        },
        era: number(map.era, "era")?,
        epoch: number(map.epoch, "epoch")?,
        slots: map.slots.to_string(),
        protocol: protocol_out(&map.protocol)?,
        members: map
            .members
            .iter()
            .map(member_out)
            .collect::<Result<_, _>>()?,
        delegation: map
            .delegation
            .iter()
            .map(delegation_out)
            .collect::<Result<_, _>>()?,
        directory: map.directory.iter().map(directory_out).collect(),
        seal: STANDARD.encode(seal(map, key)),
    };
    Ok(GossipCell {
        metadata: ObjectMeta {
            name: Some(map.cell.clone()),
            namespace: Some(cluster.namespace.clone()),
            labels: Some(labels::of_child(
                &cluster.name,
                &cluster.uid.to_string(),
                "record",
            )),
            owner_references: Some(vec![owner]),
            resource_version: parent.map(|parent| parent.0.clone()),
            ..ObjectMeta::default()
        },
        spec,
    })
}

/// The map that an object records.
///
/// # Errors
/// [`RecordFailure::Tampered`] when the seal does not fit, whatever else is wrong with it.
pub fn from_object(
    cluster: &ClusterKey,
    object: &GossipCell,
    key: &SealKey,
) -> Result<Recorded, RecordFailure> {
    let name = object.metadata.name.clone().unwrap_or_default();
    // Nothing that this operator wrote fails to parse, so what does was written by somebody else.
    let tampered = |reason: String| RecordFailure::Tampered(format!("GossipCell {name}: {reason}"));
    let map = parse(&name, &object.spec).map_err(|failure| tampered(failure.to_string()))?;
    if map.cluster != cluster.uid {
        return Err(invalid("the record belongs to another cluster"));
    }
    let found = STANDARD.decode(&object.spec.seal).unwrap_or_default();
    if !seal_matches(&map, key, &found) {
        return Err(tampered("it was written without the seal key".to_owned()));
    }
    let version = object.metadata.resource_version.clone().unwrap_or_default();
    Ok(Recorded {
        map,
        version: RecordVersion(version),
    })
}

/// The record of an object that was sealed with a key that is lost, sealed anew under a new era. A
/// person accepted that nobody can tell whether it was edited.
///
/// # Errors
/// [`RecordFailure::Tampered`] when it is no sound record of this cluster.
pub fn reseal(
    cluster: &ClusterKey,
    object: &GossipCell,
    era: u32,
    key: &SealKey,
) -> Result<GossipCell, RecordFailure> {
    let name = object.metadata.name.clone().unwrap_or_default();
    let tampered = |reason: String| RecordFailure::Tampered(format!("GossipCell {name}: {reason}"));
    let mut map = parse(&name, &object.spec).map_err(|failure| tampered(failure.to_string()))?;
    map.era = era;
    map.epoch += 1;
    let owner = object.metadata.owner_references.clone().unwrap_or_default();
    let owner = owner.into_iter().next().unwrap_or_default();
    let version = object.metadata.resource_version.clone().unwrap_or_default();
    to_object(cluster, owner, Some(&RecordVersion(version)), &map, key)
}

fn parse(name: &str, spec: &GossipCellSpec) -> Result<Map, RecordFailure> {
    let map = Map {
        cluster: uid(&spec.cluster_ref.uid)?,
        cell: name.to_owned(),
        era: number(spec.era, "era")?,
        epoch: number(spec.epoch, "epoch")?,
        slots: slots(&spec.slots)?,
        protocol: protocol_in(&spec.protocol)?,
        members: spec
            .members
            .iter()
            .map(member_in)
            .collect::<Result<_, _>>()?,
        delegation: spec
            .delegation
            .iter()
            .map(delegation_in)
            .collect::<Result<_, _>>()?,
        directory: spec
            .directory
            .iter()
            .map(directory_in)
            .collect::<Result<_, _>>()?,
    };
    map.validate()
        .map_err(|error| RecordFailure::Invalid(error.to_string()))?;
    Ok(map)
}

fn protocol_out(protocol: &Protocol) -> Result<CellProtocol, RecordFailure> {
    Ok(CellProtocol {
        wire_version: protocol.wire_version.into(),
        mode: match protocol.mode {
            Mode::Affinity => CellMode::Affinity,
            Mode::Exclusive => return Err(invalid("mode Exclusive cannot be recorded yet")),
        },
        heartbeat_interval_milliseconds: number(protocol.heartbeat_interval_ms, "interval")?,
        observers: protocol.observers.into(),
        verdict_percent: protocol.verdict_percent.into(),
    })
}

fn protocol_in(protocol: &CellProtocol) -> Result<Protocol, RecordFailure> {
    Ok(Protocol {
        wire_version: number(protocol.wire_version, "wireVersion")?,
        mode: match protocol.mode {
            CellMode::Affinity => Mode::Affinity,
        },
        heartbeat_interval_ms: number(protocol.heartbeat_interval_milliseconds, "interval")?,
        observers: number(protocol.observers, "observers")?,
        verdict_percent: number(protocol.verdict_percent, "verdictPercent")?,
    })
}

fn member_out(member: &Member) -> Result<CellMember, RecordFailure> {
    Ok(CellMember {
        name: member.name.clone(),
        uid: member.uid.to_string(),
        incarnation: number(member.incarnation, "incarnation")?,
        key: STANDARD.encode(member.key.as_bytes()),
        node: member.node.clone(),
        zone: member.zone.clone(),
        address: member.address.to_string(),
        failed: member.failed,
        owners: member.owners.iter().map(owner_out).collect(),
    })
}

fn member_in(member: &CellMember) -> Result<Member, RecordFailure> {
    let key = STANDARD
        .decode(&member.key)
        .ok()
        .and_then(|bytes| bytes.try_into().ok());
    Ok(Member {
        name: member.name.clone(),
        uid: uid(&member.uid)?,
        incarnation: number(member.incarnation, "incarnation")?,
        key: PublicKey::from_bytes(key.ok_or_else(|| invalid("a key is not 32 bytes of base64"))?),
        node: member.node.clone(),
        zone: member.zone.clone(),
        address: address(&member.address)?,
        failed: member.failed,
        owners: member
            .owners
            .iter()
            .map(owner_in)
            .collect::<Result<_, _>>()?,
    })
}

fn owner_out(owner: &Owner) -> CellOwner {
    CellOwner {
        name: owner.name.clone(),
        uid: owner.uid.to_string(),
        address: owner.address.to_string(),
        capacity: owner.capacity.into(),
        slots: owner.slots.to_string(),
    }
}

fn owner_in(owner: &CellOwner) -> Result<Owner, RecordFailure> {
    Ok(Owner {
        name: owner.name.clone(),
        uid: uid(&owner.uid)?,
        address: address(&owner.address)?,
        capacity: number(owner.capacity, "capacity")?,
        slots: slots(&owner.slots)?,
    })
}

fn delegation_out(part: &Delegation) -> Result<CellDelegation, RecordFailure> {
    Ok(CellDelegation {
        cell: part.cell.clone(),
        slots: part.slots.to_string(),
        first_map_sha256: STANDARD.encode(part.first_map_sha256),
        start_epoch: number(part.start_epoch, "startEpoch")?,
    })
}

fn delegation_in(part: &CellDelegation) -> Result<Delegation, RecordFailure> {
    let sha256 = STANDARD.decode(&part.first_map_sha256).ok();
    let sha256 = sha256.and_then(|bytes| bytes.try_into().ok());
    Ok(Delegation {
        cell: part.cell.clone(),
        slots: slots(&part.slots)?,
        first_map_sha256: sha256.ok_or_else(|| invalid("a hash is not 32 bytes of base64"))?,
        start_epoch: number(part.start_epoch, "startEpoch")?,
    })
}

fn directory_out(entry: &DirectoryEntry) -> CellDirectoryEntry {
    CellDirectoryEntry {
        cell: entry.cell.clone(),
        slots: entry.slots.to_string(),
        entries: entry.entries.iter().map(ToString::to_string).collect(),
    }
}

fn directory_in(entry: &CellDirectoryEntry) -> Result<DirectoryEntry, RecordFailure> {
    Ok(DirectoryEntry {
        cell: entry.cell.clone(),
        slots: slots(&entry.slots)?,
        entries: entry
            .entries
            .iter()
            .map(|entry| address(entry))
            .collect::<Result<_, _>>()?,
    })
}

fn uid(text: &str) -> Result<Uid, RecordFailure> {
    Uid::from_str(text).map_err(|error| invalid(&error.to_string()))
}

fn slots(text: &str) -> Result<SlotSet, RecordFailure> {
    SlotSet::from_str(text).map_err(|error| invalid(&error.to_string()))
}

fn address(text: &str) -> Result<std::net::SocketAddr, RecordFailure> {
    text.parse()
        .map_err(|_| invalid(&format!("`{text}` is not ip:port")))
}

fn number<A, B: TryFrom<A>>(value: A, what: &str) -> Result<B, RecordFailure> {
    B::try_from(value).map_err(|_| invalid(&format!("{what} is out of range")))
}

fn invalid(reason: &str) -> RecordFailure {
    RecordFailure::Invalid(reason.to_owned())
}

#[cfg(test)]
mod tests;
