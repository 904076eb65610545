//! QUIC settings of the mesh. They were measured: 40 agents with 20 connections each on one machine.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quinn::{AckFrequencyConfig, IdleTimeout, TransportConfig, VarInt};
use socket2::{Domain, Protocol, Socket, Type};

/// ALPN of the mesh; the number is the version of the wire format.
pub const ALPN_MESH: &[u8] = b"slotmesh/1";
/// ALPN of the join endpoint.
pub const ALPN_JOIN: &[u8] = b"slotmesh-join/1";
/// Time for a handshake; a peer that is down does not answer.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(2);
/// Time for a peer to send one whole message.
pub const FRAME_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection that carries nothing for that long is gone. It is no failure detector.
const IDLE_TIMEOUT_MS: u32 = 10_000;
/// A lost first packet is sent again after three of these; the usual guess is 333 ms.
const INITIAL_RTT: Duration = Duration::from_millis(30);
const STREAMS: u32 = 4;
const STREAM_WINDOW: u32 = 64 * 1024;
const WINDOW: u32 = 128 * 1024;
const DATAGRAMS_RECEIVE: usize = 4096;
const DATAGRAMS_SEND: usize = 1500;
const CRYPTO_BUFFER: usize = 8192;
/// 250 handshakes at once take 0.25 s with this buffer, 3 to 7 s with the usual one.
const RECEIVE_BUFFER: usize = 2 << 20;

/// Settings of every connection.
#[must_use]
pub fn transport() -> Arc<TransportConfig> {
    let mut acks = AckFrequencyConfig::default();
    // An ack in the same wakeup as the datagram halves the wakeups.
    acks.ack_eliciting_threshold(VarInt::from_u32(0));
    let mut config = TransportConfig::default();
    config
        .ack_frequency_config(Some(acks))
        .mtu_discovery_config(None)
        .keep_alive_interval(None)
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE_TIMEOUT_MS))))
        .initial_rtt(INITIAL_RTT)
        .allow_spin(false)
        .enable_segmentation_offload(false)
        .max_concurrent_uni_streams(VarInt::from_u32(STREAMS))
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(WINDOW))
        .send_window(u64::from(WINDOW))
        .datagram_receive_buffer_size(Some(DATAGRAMS_RECEIVE))
        .datagram_send_buffer_size(DATAGRAMS_SEND)
        .crypto_buffer_size(CRYPTO_BUFFER);
    Arc::new(config)
}

/// A UDP socket with a receive buffer for bursts of handshakes.
///
/// # Errors
/// When the address cannot be bound.
pub fn bind(address: SocketAddr) -> std::io::Result<UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    // Linux doubles what is asked for, and says so.
    let granted = socket.recv_buffer_size()?;
    if granted < RECEIVE_BUFFER {
        tracing::warn!(
            granted,
            wanted = RECEIVE_BUFFER,
            "the receive buffer is clamped: many joins at once will be slow; raise net.core.rmem_max"
        );
    }
    socket.bind(&address.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}
