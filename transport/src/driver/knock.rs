//! A knock at the port of a peer whose beat is late: one byte from a connected socket of its own. Where
//! the process is gone and its network is not (a container that was killed), the kernel there refuses the
//! byte, and here the socket says so, in less than a millisecond. QUIC drops a single byte unread.
//!
//! Not by `IP_RECVERR` on QUIC's own socket: errors of one peer would then cost packets of others.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;

/// Knocks at once; with more, those beats are simply waited for.
pub(super) const KNOCKS_MAX: usize = 32;
/// Time to wait for a refusal.
const PATIENCE: Duration = Duration::from_millis(200);

/// Whether the port is refused. Whatever else happens says nothing.
pub(super) async fn is_refused(address: SocketAddr) -> bool {
    let refused = tokio::time::timeout(PATIENCE, knock(address)).await;
    matches!(refused, Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused)
}

async fn knock(address: SocketAddr) -> std::io::Result<()> {
    let any = match address.ip() {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(address).await?;
    socket.send(&[0]).await?;
    socket.recv(&mut [0; 1]).await.map(|_| ())
}
