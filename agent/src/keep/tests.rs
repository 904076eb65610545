#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use tempfile::TempDir;

use super::*;
use crate::tests::fixture::{CLUSTER, map_key, signed};
use slotmesh_mesh::identity::Keypair;

const POD: Uid = Uid::from_bytes([1; 16]);

fn read_back(folder: &TempDir) -> Result<Option<Kept>, KeepError> {
    load(folder.path(), CLUSTER, POD, &[map_key().public()])
}

#[test]
fn what_was_kept_comes_back() {
    let folder = TempDir::new().unwrap();
    assert!(read_back(&folder).unwrap().is_none());
    write(folder.path(), POD, &signed(7)).unwrap();
    write(folder.path(), POD, &signed(8)).unwrap();
    let kept = read_back(&folder).unwrap().unwrap();
    assert_eq!(kept.signed, signed(8));
    let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(names.len(), 1, "nothing unfinished stays");
}

#[test]
fn the_age_is_the_time_since_it_was_in_force() {
    let folder = TempDir::new().unwrap();
    write(folder.path(), POD, &signed(7)).unwrap();
    let hour = Duration::from_secs(3600);
    let file = OpenOptions::new()
        .write(true)
        .open(folder.path().join(FILE));
    file.unwrap()
        .set_modified(SystemTime::now() - hour)
        .unwrap();
    let kept = read_back(&folder).unwrap().unwrap();
    assert!(kept.age >= hour, "{:?}", kept.age);
    let snapshot = Snapshot::kept(kept.signed, POD, kept.age);
    assert!(snapshot.stale_for().unwrap() >= hour);
    confirm(folder.path()).unwrap();
    assert!(read_back(&folder).unwrap().unwrap().age < hour);
}

#[test]
fn what_is_not_to_be_believed_is_one_line() {
    let good = |folder: &TempDir| write(folder.path(), POD, &signed(7)).unwrap();
    let file = |folder: &TempDir| folder.path().join(FILE);
    type Spoil<'a> = &'a dyn Fn(&TempDir);
    let cases: [(&str, Spoil<'_>, &str); 8] = [
        (
            "empty",
            &|folder| std::fs::write(file(folder), "").unwrap(),
            "holds no kept map",
        ),
        (
            "foreign",
            &|folder| std::fs::write(file(folder), "hello").unwrap(),
            "holds no kept map",
        ),
        (
            "cut short",
            &|folder| {
                good(folder);
                let bytes = std::fs::read(file(folder)).unwrap();
                std::fs::write(file(folder), &bytes[..bytes.len() / 2]).unwrap();
            },
            "not a map",
        ),
        (
            "too large",
            &|folder| std::fs::write(file(folder), vec![0; BYTES_MAX + 1]).unwrap(),
            "it is too large",
        ),
        (
            "a folder",
            &|folder| std::fs::create_dir(file(folder)).unwrap(),
            "it is not a file",
        ),
        (
            "another pod's",
            &|folder| write(folder.path(), Uid::from_bytes([2; 16]), &signed(7)).unwrap(),
            "was kept by pod 02020202-",
        ),
        (
            "signed by another key",
            &|folder| {
                let other = Keypair::from_seed([3; 32]);
                let map = crate::tests::fixture::map(7);
                write(folder.path(), POD, &SignedMap::sign(map, &other).unwrap()).unwrap();
            },
            "none of the known keys",
        ),
        (
            "of another cluster",
            &|folder| {
                let map = slotmesh_mesh::map::Map {
                    cluster: Uid::from_bytes([8; 16]),
                    ..crate::tests::fixture::map(7)
                };
                write(
                    folder.path(),
                    POD,
                    &SignedMap::sign(map, &map_key()).unwrap(),
                )
                .unwrap();
            },
            "another cluster",
        ),
    ];
    for (name, spoil, expected) in cases {
        let folder = TempDir::new().unwrap();
        spoil(&folder);
        let error = read_back(&folder).unwrap_err().to_string();
        assert!(error.contains(expected), "{name}: {error}");
        assert!(
            error.contains("/map") && !error.contains('\n'),
            "{name}: {error}"
        );
    }
}

/// A byte changed anywhere is noticed, or changes nothing.
#[test]
fn a_changed_byte_never_makes_another_map() {
    let folder = TempDir::new().unwrap();
    write(folder.path(), POD, &signed(7)).unwrap();
    let path = folder.path().join(FILE);
    let sound = std::fs::read(&path).unwrap();
    for at in 0..sound.len() {
        let mut spoiled = sound.clone();
        spoiled[at] ^= 0x55;
        std::fs::write(&path, spoiled).unwrap();
        if let Ok(Some(kept)) = read_back(&folder) {
            assert_eq!(kept.signed, signed(7), "byte {at}");
        }
    }
}

#[tokio::test]
async fn a_disk_that_takes_nothing_is_counted_and_survived() {
    let folder = TempDir::new().unwrap();
    let missing = folder.path().join("missing");
    let metrics = Metrics::new().unwrap();
    let mut keeper = Keeper {
        folder: missing.clone(),
        pod: POD,
        written: None,
        failing: false,
        metrics: metrics.clone(),
    };
    keeper.keep(signed(7)).await;
    keeper.keep(signed(7)).await;
    assert_eq!((metrics.keeping_failed.get(), keeper.written), (2, None));
    std::fs::create_dir(&missing).unwrap();
    keeper.keep(signed(7)).await;
    assert_eq!(keeper.written, Some((0, 7)));
    assert!(!keeper.failing);
}
