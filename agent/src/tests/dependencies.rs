use std::process::Command;

/// Names of all crates that a crate depends on, build-time ones excluded.
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

#[test]
fn the_agent_has_no_kubernetes_client() {
    let forbidden = |name: &String| name.starts_with("kube") || name.starts_with("k8s-openapi");
    let found: Vec<String> = tree("slotmesh-agent")
        .into_iter()
        .filter(forbidden)
        .collect();
    assert!(found.is_empty(), "{found:?}");
    assert!(
        tree("slotmesh-operator").iter().any(forbidden),
        "the check would see one"
    );
}
