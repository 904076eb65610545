use std::process::Command;

/// Names of all crates that a crate depends on, by edges of these kinds.
fn tree(package: &str, edges: &str) -> Vec<String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "tree", "--locked", "-e", edges, "--prefix", "none", "-f", "{p}", "-p", package,
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

#[test]
fn the_agent_has_no_kubernetes_client() {
    let forbidden = |name: &String| name.starts_with("kube") || name.starts_with("k8s-openapi");
    let found: Vec<String> = tree("slotmesh-agent", "normal")
        .into_iter()
        .filter(forbidden)
        .collect();
    assert!(found.is_empty(), "{found:?}");
    assert!(
        tree("slotmesh-operator", "normal").iter().any(forbidden),
        "the check would see one"
    );
}

/// `make deny` says so of the whole workspace; this of what is linked, without any tool.
#[test]
fn both_binaries_have_one_provider_of_cryptography() {
    for package in ["slotmesh-agent", "slotmesh-operator"] {
        let found = tree(package, "normal,build");
        let has = |name: &str| found.iter().any(|found| found == name);
        // rustls panics where a builder must choose between two.
        for other in ["ring", "openssl-sys", "native-tls"] {
            assert!(!has(other), "{package} is linked with {other}");
        }
        for ours in ["rustls", "aws-lc-rs", package] {
            assert!(has(ours), "{package}: {ours} is not in {found:?}");
        }
    }
}
