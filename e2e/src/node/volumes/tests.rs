//! Which volumes a process node has, and how long they last.
#![allow(clippy::unwrap_used)]

use k8s_openapi::api::core::v1::{
    Container, EmptyDirVolumeSource, HostPathVolumeSource, PodSpec, VolumeMount,
};

use super::*;

fn empty_dir() -> Volume {
    Volume {
        name: "state".into(),
        empty_dir: Some(EmptyDirVolumeSource::default()),
        ..Volume::default()
    }
}

#[test]
fn an_empty_dir_outlives_containers_and_is_the_pods_own() {
    let node = tempfile::TempDir::new().unwrap();
    let volumes = Volumes::new(node.path().join("a-pod"));
    let folder = volumes.prepare(&empty_dir()).unwrap();
    std::fs::write(folder.join("map"), "kept").unwrap();
    // The next container of the same pod.
    let again = Volumes::new(node.path().join("a-pod"));
    let again = again.prepare(&empty_dir()).unwrap();
    assert_eq!(std::fs::read_to_string(again.join("map")).unwrap(), "kept");
    // The next pod, and the same one after its end: what ends a pod removes its folder.
    let next = Volumes::new(node.path().join("another-pod"));
    assert!(!next.prepare(&empty_dir()).unwrap().join("map").exists());
    std::fs::remove_dir_all(node.path().join("a-pod")).unwrap();
    assert!(!volumes.prepare(&empty_dir()).unwrap().join("map").exists());
}

#[test]
fn an_empty_dir_is_found_where_it_is_mounted() {
    let mount = VolumeMount {
        name: "state".into(),
        mount_path: "/var/lib/slotmesh".into(),
        ..VolumeMount::default()
    };
    let container = Container {
        volume_mounts: Some(vec![mount]),
        ..Container::default()
    };
    let pod = Pod {
        spec: Some(PodSpec {
            containers: vec![container],
            volumes: Some(vec![empty_dir()]),
            ..PodSpec::default()
        }),
        ..Pod::default()
    };
    let volumes = Volumes::new("/run/a-pod".into());
    let mounts = volumes.mounts(&pod);
    let inside = crate::node::map_path("/var/lib/slotmesh/map", &mounts);
    assert_eq!(inside, "/run/a-pod/state/map");
}

#[test]
fn what_is_not_known_is_refused() {
    let volumes = Volumes::new("/nowhere".into());
    let volume = Volume {
        empty_dir: None,
        host_path: Some(HostPathVolumeSource::default()),
        ..empty_dir()
    };
    assert!(volumes.prepare(&volume).is_err());
}

#[test]
fn a_key_that_is_gone_leaves_no_file() {
    let folder = tempfile::TempDir::new().unwrap();
    let files = |data: &[(&str, &str)]| {
        let data = data.iter();
        let mut files = Files::default();
        files.add(
            data.map(|(path, content)| ((*path).to_owned(), content.as_bytes().to_vec()))
                .collect(),
        );
        // A token is renewed on its own.
        files.leave("token");
        files
    };
    let read = |path: &str| std::fs::read_to_string(folder.path().join(path)).ok();
    std::fs::write(folder.path().join("token"), "signed").unwrap();
    let before = files(&[("a", "1"), ("b", "2"), ("in/c", "3"), ("in/d", "4")]);
    before.write(folder.path()).unwrap();
    assert_eq!(read("in/d").as_deref(), Some("4"));
    let after = files(&[("b", "new"), ("in/c", "3")]);
    after.write(folder.path()).unwrap();
    assert_eq!((read("a"), read("in/d")), (None, None));
    assert_eq!(read("b").as_deref(), Some("new"));
    assert_eq!(read("in/c").as_deref(), Some("3"));
    assert_eq!(read("token").as_deref(), Some("signed"));
}
