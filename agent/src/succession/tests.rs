#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt;

use super::*;

#[test]
fn the_first_process_makes_the_secret_and_others_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let first = secret(folder.path()).unwrap();
    assert_eq!(secret(folder.path()).unwrap(), first);
    let mode = std::fs::metadata(folder.path().join(FILE)).unwrap();
    assert_eq!(mode.permissions().mode() & 0o777, 0o600);
    let elsewhere = tempfile::tempdir().unwrap();
    assert_ne!(secret(elsewhere.path()).unwrap(), first);
}

#[test]
fn what_is_no_secret_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    for bytes in [&b""[..], b"half", &[7; SECRET_BYTES + 1]] {
        std::fs::write(folder.path().join(FILE), bytes).unwrap();
        let made = secret(folder.path()).unwrap();
        assert_eq!(secret(folder.path()).unwrap(), made, "{bytes:?}");
        assert_ne!(made, [7; SECRET_BYTES]);
    }
}

#[test]
fn a_folder_that_cannot_be_used_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    assert!(secret(&folder.path().join("missing")).is_err());
    std::fs::create_dir(folder.path().join(FILE)).unwrap();
    assert!(secret(folder.path()).is_err(), "a folder in its place");
}
