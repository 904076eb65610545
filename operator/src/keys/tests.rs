#![allow(clippy::unwrap_used)]

use slotmesh_mesh::identity::Uid;

use super::*;

fn cluster() -> ClusterKey {
    ClusterKey {
        namespace: "team".into(),
        name: "sessions".into(),
        uid: Uid::from_bytes([1; 16]),
    }
}

fn secret(data: BTreeMap<String, ByteString>) -> Secret {
    Secret {
        metadata: ObjectMeta {
            name: Some("team.sessions.01010101-ca".into()),
            ..ObjectMeta::default()
        },
        data: Some(data),
        ..Secret::default()
    }
}

#[test]
fn what_was_made_can_be_read() {
    let made = secret(new_ca(&cluster()).unwrap());
    assert!(read_ca(&made, &cluster()).is_ok());
    let mut made = secret(new_map_keys(&cluster()).unwrap());
    assert_eq!(read_map_keys(&made, &cluster()).unwrap().2, None);
    let era = (ANNOTATION_SEALS_FROM_ERA.to_owned(), "3".to_owned());
    made.metadata.annotations = Some(BTreeMap::from([era]));
    assert_eq!(read_map_keys(&made, &cluster()).unwrap().2, Some(3));
}

#[test]
fn what_is_wrong_with_a_secret_is_named_with_the_way_out() {
    type Damage = fn(&mut BTreeMap<String, ByteString>);
    let cases: [(Damage, &str); 4] = [
        (|data| drop(data.remove(CA_KEY)), "no valid ca.key"),
        (|data| drop(data.remove(CA_CERTIFICATE)), "no valid ca.crt"),
        (
            |data| drop(data.insert(CA_KEY.into(), ByteString(vec![0xff]))),
            "no valid ca.key",
        ),
        (
            |data| drop(data.insert(CA_KEY.into(), ByteString(b"no key".to_vec()))),
            "no valid pair",
        ),
    ];
    for (damage, expected) in cases {
        let mut data = new_ca(&cluster()).unwrap();
        damage(&mut data);
        let message = read_ca(&secret(data), &cluster()).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
        let way_out = "kubectl -n team annotate gossipcluster sessions slotmesh.dev/accept-key-loss=01010101-0101-0101-0101-010101010101";
        assert!(message.contains(way_out), "{message}");
    }
    let mut data = new_map_keys(&cluster()).unwrap();
    data.insert(SEAL_KEY.into(), ByteString(vec![1; 31]));
    let error = read_map_keys(&secret(data), &cluster()).unwrap_err();
    assert!(error.to_string().contains("no valid seal.key"), "{error}");
}
