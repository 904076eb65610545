use crate::Config;

const GOOD: [(&str, &str); 6] = [
    ("--cluster-name", "sessions"),
    ("--cluster-uid", "6f1c2d3e-0000-4000-8000-000000000001"),
    ("--pod-name", "sessions-agent-x"),
    ("--pod-uid", "6f1c2d3e-0000-4000-8000-000000000002"),
    ("--pod-ip", "127.0.0.1"),
    ("--node-name", "node-1"),
];

fn parse(changed: Option<(&str, &str)>) -> Result<Config, (String, u8)> {
    let mut arguments = vec!["slotmesh-agent".to_owned()];
    for (flag, value) in GOOD {
        if changed.is_none_or(|(changed, _)| changed != flag) {
            arguments.push(format!("{flag}={value}"));
        }
    }
    arguments.extend(changed.map(|(flag, value)| format!("{flag}={value}")));
    Config::from_arguments(arguments)
}

#[test]
fn sound_arguments_pass() {
    let config = parse(None).unwrap();
    assert_eq!(config.mesh_address().to_string(), "127.0.0.1:7400");
}

#[test]
fn a_wrong_value_is_one_clear_line_and_exit_2() {
    for (flag, value, expected) in [
        ("--cluster-uid", "sessions", "is not a UID"),
        (
            "--cluster-uid",
            "",
            "--cluster-uid (or SLOTMESH_CLUSTER_UID)",
        ),
        (
            "--pod-uid",
            "00000000-0000-0000-0000-000000000000",
            "nil UID",
        ),
        ("--pod-ip", "here", "'here': an IP address is expected"),
        ("--pod-ip", "", "--pod-ip (or SLOTMESH_POD_IP): ''"),
        ("--pod-ip", "0.0.0.0", "own address"),
        ("--pod-ip", "::", "own address"),
        ("--pod-ip", "224.0.0.1", "own address"),
        (
            "--mesh-port",
            "0",
            "--mesh-port (or SLOTMESH_MESH_PORT): '0'",
        ),
        ("--http-port", "70000", "70000"),
        ("--http-port", "x", "invalid digit"),
        ("--http-port", "7403", "both 7403"),
        ("--log-format", "xml", "one of text, json is expected"),
        ("--log-level", "loud", "one of error, warn"),
        ("--node-name", "", "a name of 1 to 253"),
        ("--trust-dir", "", "--trust-dir (or SLOTMESH_TRUST_DIR)"),
        ("--unknown", "1", "--unknown"),
    ] {
        let (line, code) = parse(Some((flag, value))).unwrap_err();
        assert_eq!(code, 2, "{flag}");
        assert!(line.contains(expected), "{flag}: {line}");
        assert!(
            !line.contains('\n') && line.contains("--help"),
            "{flag}: {line}"
        );
    }
}

#[test]
fn help_is_no_error_and_teaches() {
    let (text, code) = Config::from_arguments(["slotmesh-agent", "--help"]).unwrap_err();
    assert_eq!(code, 0);
    assert!(
        text.contains("/v1/locate?key=") && text.contains("SLOTMESH_TRUST_DIR"),
        "{text}"
    );
}

#[test]
fn what_is_missing_is_named_with_its_variable() {
    let (line, code) = Config::from_arguments(["slotmesh-agent", "--pod-name=x"]).unwrap_err();
    assert_eq!(code, 2);
    assert!(
        line.starts_with(
            "slotmesh-agent: missing --cluster-name (or SLOTMESH_CLUSTER_NAME), --cluster-uid (or "
        ),
        "{line}"
    );
    assert!(
        !line.contains("--pod-name") && !line.contains('\n'),
        "{line}"
    );
}
