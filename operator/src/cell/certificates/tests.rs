use std::net::SocketAddr;

use slotmesh_mesh::identity::Keypair;
use slotmesh_mesh::map::{Member, Protocol};
use slotmesh_mesh::slot::SlotSet;

use super::*;

const LIFE: Duration = Duration::from_secs(20);

fn uid(n: u8) -> Uid {
    Uid::from_bytes([n; 16])
}

fn map(members: &[u8]) -> Map {
    let member = |n: &u8| Member {
        name: format!("m{n}"),
        uid: uid(*n),
        incarnation: 1,
        key: Keypair::from_seed([*n; 32]).public(),
        node: "node".into(),
        zone: String::new(),
        address: SocketAddr::from(([127, 0, 0, *n], 7400)),
        failed: false,
        owners: Vec::new(),
    };
    Map {
        cluster: uid(1),
        cell: "cell".into(),
        era: 0,
        epoch: 1,
        slots: SlotSet::full(),
        protocol: Protocol::default(),
        members: members.iter().map(member).collect(),
        delegation: Vec::new(),
        directory: Vec::new(),
    }
}

#[test]
fn whoever_asks_for_no_new_certificate_is_late() {
    let mut certificates = Certificates::new(LIFE);
    let start = certificates.since;
    let at = |seconds| start + Duration::from_secs(seconds);
    certificates.issued_to(uid(2), at(0));
    certificates.issued_to(uid(3), at(0));
    assert!(certificates.overdue(&map(&[2, 3, 4]), at(15)).is_empty());
    certificates.issued_to(uid(3), at(10));
    assert_eq!(certificates.overdue(&map(&[2, 3, 4]), at(16)), ["m2"]);
    // Another operator may have given the unknown one a whole day.
    let day = at(CERTIFICATE_LIFETIME.as_secs() / 4 * 3 + 1);
    assert_eq!(certificates.overdue(&map(&[4]), day), ["m4"]);
    assert!(
        certificates.issued.is_empty(),
        "those that left are forgotten"
    );
}

/// A certificate is issued a moment before the map lists its pod.
#[test]
fn a_new_pod_is_not_late() {
    let mut certificates = Certificates::new(LIFE);
    let at = |seconds| certificates.since + CERTIFICATE_LIFETIME + Duration::from_secs(seconds);
    let (joined, tick, listed) = (at(0), at(1), at(2));
    let long_after = joined + LISTED_WITHIN;
    certificates.issued_to(uid(9), joined);
    certificates.overdue(&map(&[4]), tick);
    assert!(certificates.overdue(&map(&[9]), listed).is_empty());
    certificates.overdue(&map(&[4]), long_after);
    assert!(certificates.issued.is_empty(), "it was never listed again");
}
