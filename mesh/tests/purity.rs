//! The core depends on nothing that does I/O, reads a clock or makes randomness of its own: what it is
//! made of is listed here, so that whoever adds a crate looks at it first. (What the standard library
//! has of these is kept out by the `clippy.toml` of `map` and of `mesh`.)

#![allow(clippy::unwrap_used, clippy::expect_used)]
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // it asks Cargo, in a process

use std::collections::BTreeSet;
use std::process::Command;

/// What `slotmesh-map` is made of: codecs, hashes and signatures. `libc` tells the hashes what an
/// aarch64 processor can do; `zstd` is given buffers, never a file.
const MAP: [&str; 35] = [
    "block-buffer",
    "cfg-if",
    "cmov",
    "cobs",
    "const-oid",
    "cpufeatures",
    "crypto-common",
    "ctutils",
    "curve25519-dalek",
    "curve25519-dalek-derive",
    "digest",
    "ed25519",
    "ed25519-dalek",
    "hmac",
    "hybrid-array",
    "libc",
    "postcard",
    "proc-macro2",
    "quote",
    "serde",
    "serde_core",
    "serde_derive",
    "sha2",
    "signature",
    "slotmesh-map",
    "subtle",
    "syn",
    "thiserror",
    "thiserror-impl",
    "typenum",
    "unicode-ident",
    "zeroize",
    "zstd",
    "zstd-safe",
    "zstd-sys",
];
/// What `slotmesh-mesh` has beside them. `rand` comes without its features: no generator of its own.
const MESH: [&str; 5] = [
    "rand",
    "rand_core",
    "rand_pcg",
    "siphasher",
    "slotmesh-mesh",
];

/// Names of all crates that a package's library is made of, on both platforms that are built for.
fn tree(package: &str) -> BTreeSet<String> {
    let arguments = ["tree", "--locked", "--prefix", "none", "-f", "{p}"];
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .args(["--target", "x86_64-unknown-linux-gnu"])
        .args(["--target", "aarch64-unknown-linux-gnu"])
        .args(["-e", "normal", "-p", package])
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
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

fn names(lists: &[&[&str]]) -> BTreeSet<String> {
    let all = lists.iter().flat_map(|list| list.iter());
    all.map(|name| (*name).to_owned()).collect()
}

#[test]
fn the_core_is_made_of_what_is_listed() {
    let map = names(&[&MAP]);
    let mesh = names(&[&MAP, &MESH]);
    for (package, listed) in [("slotmesh-map", map), ("slotmesh-mesh", mesh)] {
        let found = tree(package);
        let new: Vec<&String> = found.difference(&listed).collect();
        assert!(
            new.is_empty(),
            "{package} got {new:?}: does it no I/O, read no clock and make no randomness? Then list it"
        );
        let gone: Vec<&String> = listed.difference(&found).collect();
        assert!(gone.is_empty(), "{package} has lost {gone:?}: take it out");
    }
}

/// The check above would see a runtime, sockets and TLS.
#[test]
fn the_shell_is_made_of_more() {
    let found = tree("slotmesh-transport");
    for name in ["tokio", "quinn", "quinn-proto", "mio", "rustls"] {
        assert!(found.contains(name), "{name} is not in {found:?}");
        assert!(!names(&[&MAP, &MESH]).contains(name), "{name}");
    }
}
