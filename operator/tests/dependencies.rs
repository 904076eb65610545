//! Both binaries have one provider of cryptography and one TLS stack. `make deny` says so of the whole
//! workspace; this of what is linked, without any tool.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::process::Command;

/// Names of all crates that a package is made of and built with.
fn tree(package: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--prefix", "none", "-f", "{p}"])
        .args(["-e", "normal,build", "-p", package])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .filter_map(|line| line.split(' ').next())
        .map(str::to_owned)
        .collect()
}

#[test]
fn both_binaries_have_one_provider_of_cryptography() {
    for package in ["slotmesh-agent", "slotmesh-operator"] {
        let found = tree(package);
        // rustls panics where a builder must choose between two.
        for other in ["ring", "openssl-sys", "native-tls"] {
            assert!(!found.contains(other), "{package} is linked with {other}");
        }
        for ours in ["rustls", "aws-lc-rs", package] {
            assert!(
                found.contains(ours),
                "{package}: {ours} is not in {found:?}"
            );
        }
    }
}
