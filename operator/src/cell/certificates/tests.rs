#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use slotmesh_mesh::map::{Member, Protocol};
use slotmesh_mesh::slot::SlotSet;

use super::*;

const LIFE: Duration = Duration::from_secs(20);

fn uid(n: u8) -> Uid {
    Uid::from_bytes([n; 16])
}

fn certificates() -> Certificates {
    let authority = Authority::generate(uid(1), SystemTime::now()).unwrap();
    Certificates::new(
        uid(1),
        Arc::new(authority),
        Keypair::from_seed([1; 32]),
        LIFE,
    )
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
    }
}

#[test]
fn the_operators_own_certificate_is_due_in_the_middle_of_its_life() {
    let mut certificates = certificates();
    let now = SystemTime::now();
    assert!(certificates.is_due(now));
    let first = certificates.issue(now).unwrap();
    assert!(!certificates.is_due(now + LIFE / 2 - Duration::from_secs(1)));
    assert!(certificates.is_due(now + LIFE / 2));
    let second = certificates.issue(now + LIFE / 2).unwrap();
    assert_eq!(first.keypair.public(), second.keypair.public());
    assert_ne!(first.chain, second.chain);
    assert!(!certificates.is_due(now + LIFE / 2));
}

#[test]
fn whoever_asks_for_no_new_certificate_is_late() {
    let mut certificates = certificates();
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
