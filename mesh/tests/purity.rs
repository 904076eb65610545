//! The core depends on nothing that does I/O, reads a clock or makes randomness of its own.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::process::Command;

const FORBIDDEN: [&str; 13] = [
    "async-std",
    "getrandom",
    "hyper",
    "k8s-openapi",
    "kube",
    "mio",
    "nix",
    "quinn",
    "reqwest",
    "rustls",
    "smol",
    "socket2",
    "tokio",
];

/// Names of all crates that a package's library is made of.
fn tree(package: &str) -> Vec<String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "tree", "--locked", "-e", "normal", "--prefix", "none", "-f", "{p}", "-p", package,
        ])
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

fn forbidden(package: &str) -> Vec<String> {
    tree(package)
        .into_iter()
        .filter(|name| FORBIDDEN.contains(&name.as_str()))
        .collect()
}

#[test]
fn the_core_depends_on_no_io() {
    assert_eq!(forbidden("slotmesh-mesh"), Vec::<String>::new());
    assert!(
        !forbidden("slotmesh-transport").is_empty(),
        "the check would see one"
    );
}
