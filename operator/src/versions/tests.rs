use k8s_openapi::api::core::v1::{Container, PodSpec};
use slotmesh_mesh::identity::Uid;

use super::*;

fn pod(uid: Uid, image: &str) -> Pod {
    let container = |name: &str, image: &str| Container {
        name: name.into(),
        image: Some(image.into()),
        ..Container::default()
    };
    let mut pod = Pod::default();
    pod.metadata.uid = Some(uid.to_string());
    pod.spec = Some(PodSpec {
        containers: vec![container("sidecar", "x:9"), container("agent", image)],
        ..PodSpec::default()
    });
    pod
}

fn member(uid: Uid, failed: bool) -> MemberStatus {
    MemberStatus {
        name: String::new(),
        uid,
        incarnation: 1,
        node: String::new(),
        failed,
        owners: 1,
        slots: 1,
    }
}

fn uid(number: u8) -> Uid {
    Uid::from_bytes([number; 16])
}

#[test]
fn the_version_is_the_tag_or_the_beginning_of_the_digest() {
    let cases = [
        ("slotmesh/agent:1.2", "1.2"),
        ("registry:5000/slotmesh/agent:1.2", "1.2"),
        ("registry:5000/slotmesh/agent", "latest"),
        ("agent:1.2@sha256:0123456789abcdef", "1.2"),
        (
            "registry:5000/agent@sha256:0123456789abcdef",
            "0123456789ab",
        ),
        ("agent", "latest"),
    ];
    for (image, version) in cases {
        assert_eq!(version_of(image), version, "{image}");
    }
}

#[test]
fn members_are_counted_by_version_and_strangers_are_not() {
    let pods: Vec<Pod> = [(1, "a:1"), (2, "a:2"), (3, "a:2"), (4, "a:3"), (5, "a:3")]
        .map(|(number, image)| pod(uid(number), image))
        .into();
    let members = [
        member(uid(1), false),
        member(uid(2), false),
        member(uid(3), false),
        member(uid(4), true),
    ];
    let found: Vec<(String, i32)> = count(&members, pods.iter())
        .into_iter()
        .map(|version| (version.version, version.members))
        .collect();
    assert_eq!(found, [("2".to_owned(), 2), ("1".to_owned(), 1)]);
}

#[test]
fn no_more_than_four_are_named() {
    let pods: Vec<Pod> = (1..=6)
        .map(|number| pod(uid(number), &format!("a:{number}")))
        .collect();
    let members: Vec<MemberStatus> = (1..=6).map(|number| member(uid(number), false)).collect();
    assert_eq!(count(&members, pods.iter()).len(), VERSIONS_MAX);
}
