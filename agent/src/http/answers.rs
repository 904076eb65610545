//! The JSON that readers get.

use std::net::SocketAddr;

use serde::Serialize;
use slotmesh_mesh::evidence::Edge;
use slotmesh_mesh::identity::{MemberId, Uid};
use slotmesh_mesh::map::{DirectoryEntry, Map, Member, Mode, Owner};
use slotmesh_mesh::member::{Health, MemberHealth};
use slotmesh_mesh::slot::Slot;

use crate::snapshot::{Departed, Snapshot};

/// Who owns a key or a slot.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LocationBody {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    slot: u16,
    owner: OwnerBody,
    cell: String,
    era: u32,
    epoch: u64,
    mode: &'static str,
    guarantee: &'static str,
    #[serde(flatten)]
    freshness: Freshness,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OwnerBody {
    name: String,
    uid: String,
    address: SocketAddr,
    node: String,
}

impl LocationBody {
    /// None when the map gives the slot to nobody.
    pub(super) fn of(snapshot: &Snapshot, slot: Slot, key: Option<String>) -> Option<Self> {
        let map = &snapshot.map;
        let (member, owner) = map.owner_of(slot)?;
        Some(Self {
            key,
            slot: slot.number(),
            owner: OwnerBody {
                name: owner.name.clone(),
                uid: owner.uid.to_string(),
                address: owner.address,
                node: member.node.clone(),
            },
            cell: map.cell.clone(),
            era: map.era,
            epoch: map.epoch,
            mode: mode(map.protocol.mode),
            guarantee: guarantee(map.protocol.mode),
            freshness: Freshness::of(snapshot),
        })
    }
}

/// The members, and how they look from here.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MembersBody {
    cell: String,
    era: u32,
    epoch: u64,
    #[serde(rename = "self")]
    me: String,
    #[serde(flatten)]
    freshness: Freshness,
    members: Vec<MemberBody>,
    degraded_link_count: usize,
    degraded_links: Vec<LinkBody>,
    departed: Vec<DepartedBody>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MemberBody {
    name: String,
    uid: String,
    incarnation: u64,
    node: String,
    address: SocketAddr,
    state: &'static str,
    reported_by: Vec<String>,
    slots: u16,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DepartedBody {
    name: String,
    uid: String,
    incarnation: u64,
    reason: &'static str,
    at_unix_milliseconds: u64,
}

/// A link that does not work: the observer misses the subject's heartbeats, others hear them.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LinkBody {
    observer: String,
    subject: String,
}

impl MembersBody {
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        let members = snapshot.map.members.iter();
        let link = |link: &Edge| LinkBody::of(&snapshot.map, link);
        Self {
            cell: snapshot.map.cell.clone(),
            era: snapshot.map.era,
            epoch: snapshot.map.epoch,
            me: snapshot.me.uid.to_string(),
            freshness: Freshness::of(snapshot),
            members: members
                .map(|member| MemberBody::of(snapshot, member))
                .collect(),
            degraded_link_count: snapshot.degraded.count,
            degraded_links: snapshot.degraded.links.iter().map(link).collect(),
            departed: snapshot.departed.iter().map(DepartedBody::of).collect(),
        }
    }
}

impl MemberBody {
    fn of(snapshot: &Snapshot, member: &Member) -> Self {
        let id = member.id();
        let health = snapshot.health.iter().find(|health| health.id == id);
        Self {
            name: member.name.clone(),
            uid: member.uid.to_string(),
            incarnation: member.incarnation,
            node: member.node.clone(),
            address: member.address,
            state: health.map_or("Unknown", |health| state(health.health)),
            reported_by: health.map_or_else(Vec::new, |health| reporters(&snapshot.map, health)),
            slots: member.slots().len(),
        }
    }
}

impl DepartedBody {
    fn of(departed: &Departed) -> Self {
        Self {
            name: departed.name.clone(),
            uid: departed.id.uid.to_string(),
            incarnation: departed.id.incarnation,
            reason: departed.reason,
            at_unix_milliseconds: departed.at_unix_ms,
        }
    }
}

impl LinkBody {
    fn of(map: &Map, (observer, subject): &Edge) -> Self {
        Self {
            observer: name(map, observer),
            subject: name(map, subject),
        }
    }
}

/// Names of those who report a member.
fn reporters(map: &Map, health: &MemberHealth) -> Vec<String> {
    let reporters = health.reported_by.iter();
    reporters.map(|id| name(map, id)).collect()
}

fn name(map: &Map, id: &MemberId) -> String {
    match map.member(id.uid) {
        Some(member) => member.name.clone(),
        None if id.uid == Uid::NIL => "operator".to_owned(),
        None => id.to_string(),
    }
}

/// Whether an answer may be outdated, and since when.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Freshness {
    stale: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stale_seconds: Option<u64>,
}

impl Freshness {
    fn of(snapshot: &Snapshot) -> Self {
        let stale_for = snapshot.stale_for();
        Self {
            stale: stale_for.is_some(),
            stale_seconds: stale_for.map(|stale| stale.as_secs()),
        }
    }
}

/// The number of the map: a watch that is silent shows that it lives.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BookmarkBody<'a> {
    cell: &'a str,
    era: u32,
    epoch: u64,
    #[serde(flatten)]
    freshness: Freshness,
}

impl<'a> BookmarkBody<'a> {
    pub(super) fn of(snapshot: &'a Snapshot) -> Self {
        Self {
            cell: &snapshot.map.cell,
            era: snapshot.map.era,
            epoch: snapshot.map.epoch,
            freshness: Freshness::of(snapshot),
        }
    }
}

/// The whole map.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MapBody {
    cluster: String,
    cell: String,
    era: u32,
    epoch: u64,
    mode: &'static str,
    guarantee: &'static str,
    #[serde(flatten)]
    freshness: Freshness,
    members: Vec<MapMemberBody>,
    owners: Vec<MapOwnerBody>,
    /// The other cells of the cluster.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    directory: Vec<OtherCellBody>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OtherCellBody {
    cell: String,
    slots: String,
    entries: Vec<SocketAddr>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MapMemberBody {
    name: String,
    uid: String,
    incarnation: u64,
    node: String,
    zone: String,
    address: SocketAddr,
    failed: bool,
    /// Of all its owners.
    slots: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MapOwnerBody {
    name: String,
    uid: String,
    address: SocketAddr,
    member: String,
    node: String,
    zone: String,
    capacity: u16,
    slots: String,
}

impl OtherCellBody {
    fn of(entry: &DirectoryEntry) -> Self {
        Self {
            cell: entry.cell.clone(),
            slots: entry.slots.to_string(),
            entries: entry.entries.clone(),
        }
    }
}

impl MapBody {
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        let map = &snapshot.map;
        Self {
            cluster: map.cluster.to_string(),
            cell: map.cell.clone(),
            era: map.era,
            epoch: map.epoch,
            mode: mode(map.protocol.mode),
            guarantee: guarantee(map.protocol.mode),
            freshness: Freshness::of(snapshot),
            members: map.members.iter().map(MapMemberBody::of).collect(),
            owners: map.owners().map(MapOwnerBody::of).collect(),
            directory: map.directory.iter().map(OtherCellBody::of).collect(),
        }
    }
}

impl MapMemberBody {
    fn of(member: &Member) -> Self {
        Self {
            name: member.name.clone(),
            uid: member.uid.to_string(),
            incarnation: member.incarnation,
            node: member.node.clone(),
            zone: member.zone.clone(),
            address: member.address,
            failed: member.failed,
            slots: member.slots().to_string(),
        }
    }
}

impl MapOwnerBody {
    fn of((member, owner): (&Member, &Owner)) -> Self {
        Self {
            name: owner.name.clone(),
            uid: owner.uid.to_string(),
            address: owner.address,
            member: member.name.clone(),
            node: member.node.clone(),
            zone: member.zone.clone(),
            capacity: owner.capacity,
            slots: owner.slots.to_string(),
        }
    }
}

fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Affinity => "Affinity",
        Mode::Exclusive => "Exclusive",
    }
}

/// What the mode promises, in words that need no manual: until leases come, the applied map alone
/// decides, and two agents can for a moment have different ones.
fn guarantee(mode: Mode) -> &'static str {
    match mode {
        Mode::Affinity => "best effort",
        Mode::Exclusive => "at most one acting owner",
    }
}

fn state(health: Health) -> &'static str {
    match health {
        Health::Alive => "Alive",
        Health::Suspect => "Suspect",
        Health::Failed => "Failed",
        Health::Leaving => "Leaving",
    }
}
