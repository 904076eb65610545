#![allow(clippy::unwrap_used)]

use std::net::Ipv4Addr;

use super::*;

/// quinn has no getters; its debug form names each setting.
fn holds(config: &TransportConfig, setting: &str) {
    let all = format!("{config:?}");
    assert!(all.contains(setting), "{setting} is not in {all}");
}

#[test]
fn the_settings_are_those_that_were_measured() {
    let config = transport();
    for setting in [
        "mtu_discovery_config: None",
        "keep_alive_interval: None",
        "max_idle_timeout: Some(10000)",
        "allow_spin: false",
        "enable_segmentation_offload: false",
        "max_concurrent_uni_streams: 4,",
        "max_concurrent_bidi_streams: 4,",
        "stream_receive_window: 65536,",
        "receive_window: 131072,",
        "send_window: 131072,",
        "datagram_receive_buffer_size: Some(4096)",
        "datagram_send_buffer_size: 1500,",
        "crypto_buffer_size: 8192,",
        "ack_eliciting_threshold: 0,",
    ] {
        holds(&config, setting);
    }
}

#[test]
fn only_a_joining_agent_keeps_a_silent_connection_alive() {
    holds(&joining(), "keep_alive_interval: Some(3s)");
    assert!(limits::IDLE_TIMEOUT > 2 * JOIN_KEEP_ALIVE);
}

#[test]
fn a_socket_is_bound_without_blocking_and_its_buffer_is_read_without_the_doubling() {
    let socket = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    assert!(socket.local_addr().unwrap().port() > 0);
    let asked = 64 * 1024;
    let small = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).unwrap();
    small.set_recv_buffer_size(asked).unwrap();
    assert_eq!(granted(small.recv_buffer_size().unwrap()), asked);
    let error = socket.recv_from(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
}
