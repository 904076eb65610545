//! The binary as its pod starts it: what it prints, and what it ends with.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Far longer than anything takes.
const DEADLINE: Duration = Duration::from_secs(30);

/// An agent that lacks nothing but a cluster.
fn agent() -> Command {
    let mut agent = bare();
    agent.envs([
        ("SLOTMESH_CLUSTER_NAME", "sessions"),
        (
            "SLOTMESH_CLUSTER_UID",
            "6f1c2d3e-0000-4000-8000-000000000001",
        ),
        ("SLOTMESH_POD_NAME", "sessions-agent-x"),
        ("SLOTMESH_POD_UID", "6f1c2d3e-0000-4000-8000-000000000002"),
        ("SLOTMESH_POD_IP", "127.0.0.1"),
        ("SLOTMESH_NODE_NAME", "node-1"),
        ("SLOTMESH_TRUST_DIR", "/nowhere/trust"),
        ("SLOTMESH_TOKEN_FILE", "/nowhere/token"),
        // What the machine of the test is set to is none of its business.
        ("SLOTMESH_LOG_LEVEL", "error"),
    ]);
    agent
}

/// Nothing of the test's own environment.
fn bare() -> Command {
    let mut agent = Command::new(env!("CARGO_BIN_EXE_slotmesh-agent"));
    agent.env_clear().stdin(Stdio::null());
    agent
}

/// Runs until it ends by itself, having said little.
fn ended(agent: &mut Command) -> Output {
    let agent = agent.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = agent.spawn().unwrap();
    wait(&mut child);
    child.wait_with_output().unwrap()
}

/// Its exit code, none when a signal ended it.
fn wait(child: &mut Child) -> Option<i32> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        if begun.elapsed() > DEADLINE {
            let _ = child.kill();
            panic!("the agent goes on");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// It ends with code 2 and one line.
fn refused(agent: &mut Command) -> String {
    let output = ended(agent);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert_eq!(output.stdout, b"", "{said}");
    let line = said.strip_suffix('\n').expect("a line");
    assert!(
        !line.contains('\n') && line.starts_with("slotmesh-agent: "),
        "{said}"
    );
    line.to_owned()
}

#[test]
fn a_flag_that_does_not_exist_is_one_line_and_exit_2() {
    let line = refused(agent().arg("--unknown"));
    assert!(line.contains("--unknown"), "{line}");
}

#[test]
fn a_variable_with_a_wrong_value_is_named_in_one_line_and_exit_2() {
    let line = refused(agent().env("SLOTMESH_POD_IP", "10.0.0.1\n10.0.0.2"));
    assert!(
        line.contains("--pod-ip (or SLOTMESH_POD_IP): '10.0.0.1\\n10.0.0.2'"),
        "{line}"
    );
}

#[test]
fn nothing_at_all_is_one_line_that_names_what_is_missing() {
    let line = refused(&mut bare());
    assert!(line.contains("SLOTMESH_CLUSTER_UID"), "{line}");
}

#[test]
fn an_address_of_another_machine_is_named_in_one_line_and_exit_2() {
    // TEST-NET-1 is no machine's.
    let line = refused(agent().args(["--pod-ip", "192.0.2.1"]));
    assert!(line.contains("--pod-ip (or SLOTMESH_POD_IP)"), "{line}");
}

#[test]
fn help_goes_to_standard_output_and_is_no_error() {
    let output = ended(bare().arg("--help"));
    let help = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(output.stderr, b"");
    for taught in ["/v1/locate?key=", "SLOTMESH_POD_IP", "--trust-dir ./trust"] {
        assert!(help.contains(taught), "{help}");
    }
}

/// Ports that were free a moment ago, held together until all are known, so that they differ.
fn free_ports() -> [u16; 3] {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let udp = UdpSocket::bind(any).unwrap();
    let [http, metrics] = [any; 2].map(|any| TcpListener::bind(any).unwrap());
    [udp.local_addr(), http.local_addr(), metrics.local_addr()]
        .map(|address| address.unwrap().port())
}

/// An agent that does not outlive its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One that finds no trust ConfigMap, so it tries for ever to join.
fn trying_to_join() -> Running {
    let [mesh, http, metrics] = free_ports();
    let mut agent = agent();
    agent
        .env("SLOTMESH_MESH_PORT", mesh.to_string())
        .env("SLOTMESH_HTTP_PORT", http.to_string())
        .env("SLOTMESH_METRICS_PORT", metrics.to_string());
    let mut running = Running(agent.spawn().unwrap());
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, metrics));
    let begun = Instant::now();
    // Signals are caught before anything listens, so whoever answers ends in order.
    while TcpStream::connect(address).is_err() {
        let ended = running.0.try_wait().unwrap();
        assert!(
            ended.is_none() && begun.elapsed() < DEADLINE,
            "it never answers: {ended:?}"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    running
}

fn terminate(running: &Running) {
    let kill = Command::new("kill")
        .arg(running.0.id().to_string())
        .status();
    assert!(kill.unwrap().success());
}

#[test]
fn whoever_is_told_to_end_while_it_tries_to_join_ends_with_exit_0() {
    let mut running = trying_to_join();
    terminate(&running);
    assert_eq!(wait(&mut running.0), Some(0));
}

/// An agent shares its node with what it is there for: one thread does.
#[cfg(target_os = "linux")]
#[test]
fn an_agent_is_one_thread() {
    let running = trying_to_join();
    let status = std::fs::read_to_string(format!("/proc/{}/status", running.0.id())).unwrap();
    assert!(status.contains("\nThreads:\t1\n"), "{status}");
}
