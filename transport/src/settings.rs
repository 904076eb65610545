//! QUIC settings of the mesh. They were measured: 40 agents with 20 connections each on one machine.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quinn::{AckFrequencyConfig, IdleTimeout, ServerConfig, TransportConfig, VarInt};
use slotmesh_mesh::limits;
use socket2::{Domain, Protocol, Socket, Type};

/// ALPN of the mesh; the number is the version of the wire format.
pub const ALPN_MESH: &[u8] = b"slotmesh/1";
/// ALPN of the join endpoint.
pub const ALPN_JOIN: &[u8] = b"slotmesh-join/1";
/// A process that restarted answers 20 peers that beat each 200 ms; quinn's own pace is 20 ms.
pub const RESET_INTERVAL_MIN: Duration = Duration::from_millis(2);
/// Time for a peer to send one whole message.
pub const FRAME_TIMEOUT: Duration = Duration::from_secs(10);

/// A lost first packet is sent again after three of these; the usual guess is 333 ms.
const INITIAL_RTT: Duration = Duration::from_millis(30);
/// A joining agent waits in silence for its first map, longer than the idle time-out.
const JOIN_KEEP_ALIVE: Duration = Duration::from_secs(3);
const DATAGRAMS_RECEIVE: usize = 4096;
const DATAGRAMS_SEND: usize = 1500;
const CRYPTO_BUFFER: usize = 8192;
/// 250 handshakes at once take 0.25 s with this buffer, 3 to 7 s with the usual one.
const RECEIVE_BUFFER: usize = 2 << 20;
/// First packets that wait to be accepted; an endpoint may be open before anybody accepts.
const INCOMING: usize = 1024;
/// What follows a first packet meanwhile: the rest of one greeting.
const INCOMING_BUFFER: u64 = 16 * 1024;
/// The same for all of them.
const INCOMING_BUFFER_TOTAL: u64 = 4 << 20;

/// Settings of every connection of the mesh. Beats keep it alive, nothing else has to.
#[must_use]
pub fn transport() -> Arc<TransportConfig> {
    Arc::new(common())
}

/// Settings of the agent's side of a join.
#[must_use]
pub fn joining() -> Arc<TransportConfig> {
    let mut config = common();
    config.keep_alive_interval(Some(JOIN_KEEP_ALIVE));
    Arc::new(config)
}

/// Settings of an endpoint that accepts.
pub fn accepting(config: &mut ServerConfig) {
    config
        .transport_config(transport())
        .migration(false)
        .max_incoming(INCOMING)
        .incoming_buffer_size(INCOMING_BUFFER)
        .incoming_buffer_size_total(INCOMING_BUFFER_TOTAL);
}

fn common() -> TransportConfig {
    let mut acks = AckFrequencyConfig::default();
    // An ack in the same wakeup as the datagram halves the wakeups.
    acks.ack_eliciting_threshold(VarInt::from_u32(0));
    let mut config = TransportConfig::default();
    config
        .ack_frequency_config(Some(acks))
        .mtu_discovery_config(None)
        .keep_alive_interval(None)
        .max_idle_timeout(IdleTimeout::try_from(limits::IDLE_TIMEOUT).ok())
        .initial_rtt(INITIAL_RTT)
        .allow_spin(false)
        .enable_segmentation_offload(false)
        .max_concurrent_uni_streams(VarInt::from_u32(limits::STREAMS))
        .max_concurrent_bidi_streams(VarInt::from_u32(limits::STREAMS))
        .stream_receive_window(VarInt::from_u32(limits::STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(limits::CONNECTION_WINDOW_BYTES))
        .send_window(u64::from(limits::CONNECTION_WINDOW_BYTES))
        .datagram_receive_buffer_size(Some(DATAGRAMS_RECEIVE))
        .datagram_send_buffer_size(DATAGRAMS_SEND)
        .crypto_buffer_size(CRYPTO_BUFFER);
    config
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
    let granted = granted(socket.recv_buffer_size()?);
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

/// What of a receive buffer was granted. Linux doubles what is asked for, for its own books, and
/// says the double (socket(7)).
fn granted(said: usize) -> usize {
    if cfg!(target_os = "linux") {
        said / 2
    } else {
        said
    }
}

#[cfg(test)]
mod tests;
