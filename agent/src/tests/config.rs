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
        ("--http-port", "70000", "a port from 1 to 65535"),
        ("--http-port", "x", "a port from 1 to 65535"),
        ("--http-port", "-1", "a port from 1 to 65535"),
        ("--http-port", "7403", "both 7403"),
        ("--log-format", "xml", "one of text, json is expected"),
        ("--log-level", "loud", "one of error, warn"),
        ("--node-name", "", "a name of 1 to 253"),
        ("--trust-dir", "", "--trust-dir (or SLOTMESH_TRUST_DIR)"),
        ("--token-file", "", "--token-file (or SLOTMESH_TOKEN_FILE)"),
        ("--state-dir", "", "--state-dir (or SLOTMESH_STATE_DIR)"),
        ("--pod-ip", "10.0.0.256", "an IP address is expected"),
        (
            "--cluster-name",
            "",
            "--cluster-name (or SLOTMESH_CLUSTER_NAME)",
        ),
        ("--pod-name", "", "--pod-name (or SLOTMESH_POD_NAME)"),
        (
            "--metrics-port",
            "0",
            "--metrics-port (or SLOTMESH_METRICS_PORT): '0'",
        ),
        ("--unknown", "1", "--unknown"),
        (
            "--pod-ip",
            "10.0.0.1\nlocalhost",
            "'10.0.0.1\\nlocalhost': an IP address is expected",
        ),
        (
            "--cluster-uid",
            "sess\nions",
            "'sess\\nions': `sess\\nions` is not a UID",
        ),
        ("--log-level", "\u{1b}[2J", "'\\u{1b}[2J': one of error"),
    ] {
        let (line, code) = parse(Some((flag, value))).unwrap_err();
        assert_eq!(code, 2, "{flag}");
        assert!(line.contains(expected), "{flag}: {line}");
        assert!(
            !line.contains('\n') && line.contains("--help"),
            "{flag}: {line}"
        );
        let variable = flag.trim_start_matches('-').replace('-', "_");
        let variable = format!("SLOTMESH_{}", variable.to_uppercase());
        let named = line.contains(flag) && line.contains(&variable);
        assert!(named || flag == "--unknown", "{flag}: {line}");
    }
}

/// What only shows when the agent starts: it ends with one line that says what to set.
#[tokio::test]
async fn what_cannot_be_listened_on_is_one_line_that_names_what_to_set() {
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken_udp = udp.local_addr().unwrap().port().to_string();
    let taken = tcp.local_addr().unwrap().port().to_string();
    // TEST-NET-1 is no machine's.
    let elsewhere = "192.0.2.1";
    for (flag, value, expected, code) in [
        ("--mesh-port", taken_udp.as_str(), "udp://127.0.0.1", 1),
        ("--http-port", &taken, "tcp://127.0.0.1", 1),
        ("--metrics-port", &taken, "another process has it", 1),
        ("--pod-ip", elsewhere, "this machine has no such address", 2),
    ] {
        let mut config = parse(Some((flag, value))).unwrap();
        // The others take any port that is free.
        for (name, port) in [
            ("--mesh-port", &mut config.mesh_port),
            ("--http-port", &mut config.http_port),
            ("--metrics-port", &mut config.metrics_port),
        ] {
            if name != flag {
                *port = 0;
            }
        }
        let ended = crate::run(config, std::future::pending()).await;
        let ended = ended.unwrap_err();
        assert_eq!(ended.exit_code(), code, "{flag}");
        let line = ended.to_string();
        assert!(line.contains(expected) && !line.contains('\n'), "{line}");
        let variable = flag
            .trim_start_matches('-')
            .replace('-', "_")
            .to_uppercase();
        assert!(
            line.contains(&format!("{flag} (or SLOTMESH_{variable})")),
            "{line}"
        );
    }
}

/// What no machine of tests shows for sure: a port for root, a link-local address.
#[test]
fn a_value_that_no_later_attempt_makes_right_is_exit_2() {
    use std::io::ErrorKind;
    for (kind, code, expected) in [
        (
            ErrorKind::PermissionDenied,
            2,
            "set --http-port (or SLOTMESH_HTTP_PORT) to a higher one",
        ),
        (ErrorKind::InvalidInput, 2, "--pod-ip (or SLOTMESH_POD_IP)"),
        (
            ErrorKind::AddrNotAvailable,
            2,
            "--pod-ip (or SLOTMESH_POD_IP)",
        ),
        (
            ErrorKind::AddrInUse,
            1,
            "--http-port (or SLOTMESH_HTTP_PORT)",
        ),
        (ErrorKind::OutOfMemory, 1, "SLOTMESH_HTTP_PORT"),
    ] {
        let error = crate::AgentError::Bind {
            protocol: "tcp",
            address: "[fe80::1]:80".parse().unwrap(),
            port: "--http-port (or SLOTMESH_HTTP_PORT)",
            source: kind.into(),
        };
        let line = error.to_string();
        assert_eq!((error.exit_code(), kind), (code, kind), "{line}");
        assert!(line.contains(expected) && !line.contains('\n'), "{line}");
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
