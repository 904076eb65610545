#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use clap::{CommandFactory, Parser};

use super::Config;

const COMPLETE: [&str; 9] = [
    "slotmesh-operator",
    "--namespace",
    "slotmesh-system",
    "--pod-name",
    "slotmesh-operator-0",
    "--pod-ip",
    "10.0.0.7",
    "--agent-image",
    "slotmesh-agent:dev",
];

fn parse(more: &[&str]) -> Result<Config, clap::Error> {
    Config::try_parse_from(COMPLETE.iter().chain(more))
}

#[test]
fn flags_are_sound() {
    Config::command().debug_assert();
    let config = parse(&[]).unwrap();
    assert_eq!(config.join_address(), "10.0.0.7:7401".parse().unwrap());
    assert!(config.election_times().is_ok());
    assert!(config.read_nodes && config.watch_namespaces.contains("any"));
    let narrow = parse(&["--watch-namespaces", "a,b", "--read-nodes", "false"]).unwrap();
    assert!(!narrow.read_nodes && !narrow.watch_namespaces.contains("any"));
}

#[test]
fn a_wrong_value_is_refused_with_exit_code_2() {
    for wrong in [
        ["--pod-ip", "localhost"],
        ["--join-port", "0"],
        ["--log-format", "xml"],
        ["--watch-namespaces", "Team A"],
        ["--read-nodes", "maybe"],
        ["--certificate-lifetime", "9s"],
        ["--certificate-lifetime", "31d"],
        ["--certificate-lifetime", "24"],
        ["--certificate-lifetime", "h"],
        ["--key-sweep-interval", ""],
        ["--key-sweep-interval", "1y"],
        ["--leader-elect-retry-period-seconds", "0"],
        ["--agent-image", " "],
    ] {
        let error = parse(&wrong).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{wrong:?}");
    }
}

#[test]
fn election_times_must_be_in_order() {
    let config = parse(&["--leader-elect-renew-deadline-seconds", "15"]).unwrap();
    assert!(config.election_times().is_err());
}

#[test]
fn durations_have_a_unit() {
    let config = parse(&[]).unwrap();
    assert_eq!(config.certificate_lifetime.as_secs(), 24 * 3600);
    assert_eq!(config.key_sweep_interval.as_secs(), 3600);
    for (text, seconds) in [
        ("20s", 20),
        ("90m", 5400),
        ("24h", 86_400),
        ("30d", 2_592_000),
    ] {
        let config = parse(&["--certificate-lifetime", text]).unwrap();
        assert_eq!(config.certificate_lifetime.as_secs(), seconds);
    }
}
