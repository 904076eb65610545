#![allow(clippy::unwrap_used)]

use std::time::SystemTime;

use slotmesh_mesh::identity::{Keypair, Uid};
use slotmesh_transport::authority::Authority;
use tempfile::TempDir;

use super::*;

fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    let authority = Authority::generate(Uid::from_bytes([1; 16]), SystemTime::now()).unwrap();
    let key = |n| STANDARD.encode(Keypair::from_seed([n; 32]).public().as_bytes());
    for (name, text) in [
        ("ca.crt", authority.certificate_pem().repeat(2)),
        ("map-keys", format!("{}\n{}\n", key(1), key(2))),
        ("join-address", "10.0.0.1:7401\n\n[fd00::1]:7401\n".into()),
        ("token", "header.claims.signature\n".into()),
    ] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn read(folder: &TempDir) -> Result<Trust, String> {
    let token = folder.path().join("token");
    Trust::read(folder.path(), &token).map_err(|error| error.to_string())
}

#[test]
fn everything_is_read_afresh() {
    let folder = folder();
    let trust = read(&folder).unwrap();
    assert_eq!(
        (trust.anchors.roots.len(), trust.anchors.map_keys.len()),
        (2, 2)
    );
    assert_eq!(trust.token, "header.claims.signature");
    let operators: Vec<String> = trust.operators.iter().map(ToString::to_string).collect();
    assert_eq!(operators, ["10.0.0.1:7401", "[fd00::1]:7401"]);

    std::fs::write(folder.path().join("join-address"), "10.0.0.2:7401").unwrap();
    assert_eq!(read(&folder).unwrap().operators.len(), 1);
}

fn assert_names_what_to_set(file: &str, error: &str) {
    let set = match file {
        "token" => "--token-file (or SLOTMESH_TOKEN_FILE)",
        _ => "--trust-dir (or SLOTMESH_TRUST_DIR)",
    };
    assert!(error.contains(set) && !error.contains('\n'), "{error}");
}

#[test]
fn what_is_wrong_names_its_file() {
    for (name, text, expected) in [
        ("ca.crt", "", "no CA certificate"),
        ("ca.crt", "not PEM", "no CA certificate"),
        ("map-keys", "c2hvcnQ=", "no Ed25519 key"),
        ("join-address", "the-operator:7401", "no address (ip:port)"),
        ("token", " \n", "no token"),
    ] {
        let folder = folder();
        std::fs::write(folder.path().join(name), text).unwrap();
        let error = read(&folder).unwrap_err();
        assert!(error.contains(name) && error.contains(expected), "{error}");
        assert_names_what_to_set(name, &error);
    }
    for name in ["ca.crt", "map-keys", "join-address", "token"] {
        let folder = folder();
        std::fs::remove_file(folder.path().join(name)).unwrap();
        let error = read(&folder).unwrap_err();
        assert!(
            error.contains(name) && error.contains("cannot read"),
            "{error}"
        );
        assert_names_what_to_set(name, &error);
    }
}

#[test]
fn files_and_tokens_have_a_limit() {
    for (name, bytes, expected) in [
        (
            "ca.crt",
            usize::try_from(FILE_BYTES_MAX).unwrap() + 1,
            "larger than",
        ),
        ("token", limits::TOKEN_BYTES_MAX + 1, "no token"),
    ] {
        let folder = folder();
        std::fs::write(folder.path().join(name), "x".repeat(bytes)).unwrap();
        let error = read(&folder).unwrap_err();
        assert!(error.contains(expected), "{error}");
        assert_names_what_to_set(name, &error);
    }
}
