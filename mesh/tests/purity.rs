//! The core depends on nothing that does I/O, reads a clock or makes randomness of its own. (What the
//! standard library has of these is kept out by the `clippy.toml` of `map` and of `mesh`.)

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::process::Command;

const FORBIDDEN: [&str; 31] = [
    "axum",
    "chrono",
    "curl",
    "getrandom",
    "h2",
    "h3",
    "hyper",
    "jiff",
    "k8s-openapi",
    "kube",
    "mio",
    "monoio",
    "nix",
    "polling",
    "quinn",
    "reqwest",
    "rustix",
    "rustls",
    "signal-hook",
    "smol",
    "socket2",
    "time",
    "tokio",
    "tonic",
    "tower",
    "tracing",
    "tracing-subscriber",
    "ureq",
    "wasm-timer",
    "web-time",
    "windows-sys",
];

/// Families of them.
const FORBIDDEN_PREFIXES: [&str; 6] = ["async-", "hyper-", "kube-", "quinn-", "tokio-", "tower-"];

/// Names of all crates that a package's library is made of.
fn tree(package: &str) -> BTreeSet<String> {
    let arguments = ["tree", "--locked", "--prefix", "none", "-f", "{p}"];
    let output = Command::new(env!("CARGO"))
        .args(arguments)
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
        .map(str::to_owned)
        .collect()
}

fn is_forbidden(name: &str) -> bool {
    FORBIDDEN.contains(&name)
        || FORBIDDEN_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

fn forbidden(package: &str) -> Vec<String> {
    let names = tree(package).into_iter();
    names.filter(|name| is_forbidden(name)).collect()
}

#[test]
fn the_core_depends_on_no_io() {
    for package in ["slotmesh-map", "slotmesh-mesh"] {
        assert_eq!(forbidden(package), Vec::<String>::new(), "{package}");
    }
}

/// The check above can fail, and looks at the right tree.
#[test]
fn the_check_would_see_one() {
    let core = tree("slotmesh-mesh");
    for name in [
        "slotmesh-map",
        "slotmesh-mesh",
        "postcard",
        "curve25519-dalek",
    ] {
        assert!(core.contains(name), "{name} is not in {core:?}");
    }
    assert!(!tree("slotmesh-map").contains("slotmesh-mesh"));
    let transport = forbidden("slotmesh-transport");
    for name in ["tokio", "quinn", "quinn-proto", "mio", "rustls"] {
        assert!(transport.iter().any(|found| found == name), "{name}");
    }
    for name in ["postcard", "rand_core", "zstd-sys", "timely"] {
        assert!(!is_forbidden(name), "{name}");
    }
}
