#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use slotmesh_api::GossipCell;
use slotmesh_mesh::identity::{Keypair, Uid};
use slotmesh_mesh::map::{Delegation, DirectoryEntry, Map, Member, Owner, Protocol};
use slotmesh_mesh::seal::SealKey;
use slotmesh_mesh::slot::SlotSet;

use super::{from_object, reseal, to_object};
use crate::seam::{ClusterKey, RecordFailure, RecordVersion};

fn cluster() -> ClusterKey {
    ClusterKey {
        namespace: "team".into(),
        name: "sessions".into(),
        uid: Uid::from_bytes([9; 16]),
    }
}

fn member(index: u8, slots: &str) -> Member {
    Member {
        name: format!("sessions-agent-{index}"),
        uid: Uid::from_bytes([index; 16]),
        incarnation: 1_790_000_400,
        key: Keypair::from_seed([index; 32]).public(),
        node: format!("node-{index}"),
        zone: if index == 1 {
            String::new()
        } else {
            "z1".into()
        },
        address: format!("10.0.0.{index}:7400").parse().unwrap(),
        failed: false,
        owners: vec![Owner {
            name: format!("sessions-agent-{index}"),
            uid: Uid::from_bytes([index; 16]),
            address: format!("10.0.0.{index}:7402").parse().unwrap(),
            capacity: 100,
            slots: slots.parse().unwrap(),
        }],
    }
}

fn map() -> Map {
    Map {
        cluster: cluster().uid,
        cell: "sessions-bcdfg".into(),
        era: 0,
        epoch: 1_790_000_412,
        slots: SlotSet::full(),
        protocol: Protocol::default(),
        members: vec![
            member(1, "0-8191,9000"),
            member(2, "8192-8999,9001-16383"),
            member(3, ""),
        ],
        delegation: Vec::new(),
        directory: Vec::new(),
    }
}

fn key() -> SealKey {
    SealKey::from_bytes([5; 32])
}

fn object(map: &Map) -> GossipCell {
    let parent = RecordVersion("41".into());
    let owner = OwnerReference {
        kind: "GossipCluster".into(),
        ..OwnerReference::default()
    };
    to_object(&cluster(), owner, Some(&parent), map, &key()).unwrap()
}

#[test]
fn a_map_survives_both_ways_with_the_same_bytes() {
    let map = map();
    let written = object(&map);
    assert_eq!(written.metadata.resource_version.as_deref(), Some("41"));
    let json = serde_json::to_string(&written).unwrap();
    let read: GossipCell = serde_json::from_str(&json).unwrap();
    let recorded = from_object(&cluster(), &read, &key()).unwrap();
    assert_eq!(recorded.map, map);
    assert_eq!(recorded.map.canonical(), map.canonical());
    assert_eq!(recorded.version, RecordVersion("41".into()));
    assert_eq!(serde_json::to_string(&object(&recorded.map)).unwrap(), json);
}

/// A map of a cell beside another one, in the moment in which it is split, with a failed member.
fn full_map() -> Map {
    let mut map = map();
    map.slots = "0-8191,9000".parse().unwrap();
    map.members.truncate(1);
    map.members[0].failed = true;
    let part = |cell: &str, slots: &str| Delegation {
        cell: cell.into(),
        slots: slots.parse().unwrap(),
        first_map_sha256: [8; 32],
        start_epoch: map.epoch + 1,
    };
    map.delegation = vec![part("sessions-a", "0-8191"), part("sessions-b", "9000")];
    map.directory = vec![DirectoryEntry {
        cell: "sessions-c".into(),
        slots: "8192-8999,9001-16383".parse().unwrap(),
        entries: vec!["10.0.0.7:7402".parse().unwrap()],
    }];
    map
}

#[test]
fn failed_members_and_other_cells_are_recorded_too() {
    let map = full_map();
    let written = object(&map);
    let recorded = from_object(&cluster(), &written, &key()).unwrap();
    assert_eq!(recorded.map, map);
    type Edit = fn(&mut GossipCell);
    let edits: [Edit; 4] = [
        |cell| cell.spec.members[0].failed = false,
        |cell| cell.spec.delegation[0].start_epoch += 1,
        |cell| cell.spec.directory[0].entries.clear(),
        |cell| cell.spec.delegation.clear(),
    ];
    for edit in edits {
        let mut cell = written.clone();
        edit(&mut cell);
        let result = from_object(&cluster(), &cell, &key());
        assert!(
            matches!(result, Err(RecordFailure::Tampered(_))),
            "{result:?}"
        );
    }
}

#[test]
fn every_edit_breaks_the_seal() {
    type Edit = fn(&mut GossipCell);
    let edits: [(&str, Edit); 9] = [
        ("epoch", |cell| cell.spec.epoch += 1),
        ("era", |cell| cell.spec.era += 1),
        ("slots", |cell| {
            cell.spec.members[0].owners[0].slots = "0-8191".into()
        }),
        ("key", |cell| {
            cell.spec.members[0].key = cell.spec.members[1].key.clone()
        }),
        ("address", |cell| {
            cell.spec.members[0].address = "10.9.9.9:7400".into()
        }),
        ("no address", |cell| {
            cell.spec.members[0].address = "nowhere".into()
        }),
        ("member removed", |cell| drop(cell.spec.members.pop())),
        ("interval", |cell| {
            cell.spec.protocol.heartbeat_interval_milliseconds = 5000
        }),
        ("seal", |cell| cell.spec.seal = "AAAA".into()),
    ];
    for (name, edit) in edits {
        let mut cell = object(&map());
        edit(&mut cell);
        let result = from_object(&cluster(), &cell, &key());
        assert!(
            matches!(result, Err(RecordFailure::Tampered(_))),
            "{name}: {result:?}"
        );
    }
    let other = SealKey::from_bytes([6; 32]);
    let result = from_object(&cluster(), &object(&map()), &other);
    assert!(matches!(result, Err(RecordFailure::Tampered(_))));
}

#[test]
fn maps_that_cannot_be_recorded_are_refused() {
    let owner = OwnerReference::default;
    let mut foreign = map();
    foreign.cluster = Uid::from_bytes([1; 16]);
    let mut unsorted = map();
    unsorted.members.swap(0, 1);
    for map in [foreign, unsorted] {
        let result = to_object(&cluster(), owner(), None, &map, &key());
        assert!(
            matches!(result, Err(RecordFailure::Invalid(_))),
            "{result:?}"
        );
    }
}

#[test]
fn a_record_whose_key_is_lost_is_sealed_under_a_new_era() {
    let mut lost = object(&map());
    lost.metadata.resource_version = Some("7".into());
    let new = SealKey::from_bytes([6; 32]);
    assert!(from_object(&cluster(), &lost, &new).is_err());
    let mut sealed = reseal(&cluster(), &lost, 3, &new).unwrap();
    assert_eq!(sealed.metadata.resource_version, Some("7".into()));
    assert_eq!(
        sealed.metadata.owner_references,
        lost.metadata.owner_references
    );
    sealed.metadata.resource_version = Some("8".into());
    let recorded = from_object(&cluster(), &sealed, &new).unwrap().map;
    assert_eq!((recorded.era, recorded.epoch), (3, map().epoch + 1));
    assert_eq!(recorded.members, map().members);

    lost.spec.members[0].address = "nowhere".into();
    let result = reseal(&cluster(), &lost, 3, &new);
    assert!(matches!(result, Err(RecordFailure::Tampered(_))));
}
