use slotmesh_mesh::identity::Uid;

use super::*;

fn pod(n: u8) -> PodFacts {
    PodFacts {
        name: "a".into(),
        uid: Uid::from_bytes([n; 16]),
        node: "n".into(),
        zone: String::new(),
        ip: None,
        daemon_set_uid: None,
        cluster_uid_label: None,
        deleting: false,
        finished: false,
        ready: true,
        capacity: 100,
    }
}

#[test]
fn only_a_pod_that_is_ready_is_well() {
    let member = MemberId {
        uid: Uid::from_bytes([1; 16]),
        incarnation: 7,
    };
    let not_ready = PodFacts {
        ready: false,
        ..pod(1)
    };
    let finished = PodFacts {
        finished: true,
        ..pod(1)
    };
    let cases = [
        (Some(pod(1)), Word::Well),
        (Some(not_ready), Word::NotReady),
        (Some(finished), Word::NotReady),
        // Another pod of that name took its place.
        (Some(pod(2)), Word::Gone),
        (None, Word::Gone),
    ];
    for (pod, word) in cases {
        assert_eq!(word_on(member, pod.as_ref()), word, "{pod:?}");
    }
}
