//! A process that is killed and starts again at its address, with and without the pod's secret.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint};
use tokio::runtime::{Builder, Runtime};

use super::*;
use crate::authority::Authority;
use crate::endpoint::{accept_as, bind_as_successor};
use crate::identity::server_name;
use crate::testing::{ANY, DEADLINE, authority, cluster, credentials, endpoint, uid, verifier};

/// Member 1 in a process that can be killed: a runtime of its own.
struct Process {
    runtime: Runtime,
    endpoint: Endpoint,
    client: ClientConfig,
}

fn process(authority: &Authority, at: SocketAddr, secret: u8) -> Process {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (endpoint, client) = {
        let _inside = runtime.enter();
        let keys = ResetKeys::of_pod(&[secret; 32], uid(1));
        let endpoint = bind_as_successor(at, &keys).unwrap();
        let client =
            accept_as(&endpoint, &credentials(authority, 1), &verifier(authority)).unwrap();
        (endpoint, client)
    };
    Process {
        runtime,
        endpoint,
        client,
    }
}

impl Process {
    /// Ends without a word: its tasks are dropped where they stand, then its socket closes.
    fn kill(self, connection: Connection) -> SocketAddr {
        let address = self.endpoint.local_addr().unwrap();
        drop(self.runtime);
        drop(connection);
        drop(self.endpoint);
        address
    }
}

async fn dial(from: Endpoint, config: ClientConfig, to: SocketAddr) -> Connection {
    let name = server_name(cluster());
    let dialed = from.connect_with(config, to, &name).unwrap();
    let connection = tokio::time::timeout(DEADLINE, dialed).await;
    connection.unwrap().unwrap()
}

async fn accept(endpoint: Endpoint) -> Connection {
    let accepted = async { endpoint.accept().await.unwrap().await };
    let connection = tokio::time::timeout(DEADLINE, accepted).await;
    connection.unwrap().unwrap()
}

enum Dialer {
    Peer,
    Process,
}

/// How the peer's connection ends when the process is killed, one with another secret or the same
/// takes its place, and the peer sends a beat each 10 ms for up to a second.
fn ending(dialer: &Dialer, secret: u8) -> Option<(ConnectionError, Duration)> {
    let authority = authority();
    let here = Builder::new_current_thread().enable_all().build().unwrap();
    let (peer, peer_client) = {
        let _inside = here.enter();
        endpoint(&authority, 2)
    };
    let first = process(&authority, ANY, 7);
    // quinn's task for a connection runs where its handshake does.
    let (of_the_peer, of_the_process) = match dialer {
        Dialer::Peer => {
            let to = first.endpoint.local_addr().unwrap();
            let accepted = first.runtime.spawn(accept(first.endpoint.clone()));
            let dialed = here.block_on(dial(peer.clone(), peer_client, to));
            (dialed, here.block_on(accepted).unwrap())
        }
        Dialer::Process => {
            let to = peer.local_addr().unwrap();
            let dial = dial(first.endpoint.clone(), first.client.clone(), to);
            let dialed = first.runtime.spawn(dial);
            let accepted = here.block_on(accept(peer.clone()));
            (accepted, here.block_on(dialed).unwrap())
        }
    };
    let address = first.kill(of_the_process);
    let _second = process(&authority, address, secret);
    here.block_on(async {
        let started = Instant::now();
        let mut beat = tokio::time::interval(Duration::from_millis(10));
        while started.elapsed() < Duration::from_secs(1) {
            tokio::select! {
                error = of_the_peer.closed() => return Some((error, started.elapsed())),
                _ = beat.tick() => {
                    let _ = of_the_peer.send_datagram(Bytes::from_static(&[0; 30]));
                }
            }
        }
        None
    })
}

#[test]
fn a_successor_tells_the_peers_that_its_predecessor_is_gone() {
    for dialer in [Dialer::Peer, Dialer::Process] {
        let (error, after) = ending(&dialer, 7).unwrap();
        assert!(matches!(error, ConnectionError::Reset), "{error}");
        println!("reset after {after:?}");
    }
}

#[test]
fn nobody_without_the_secret_can_say_so() {
    assert_eq!(ending(&Dialer::Peer, 8).map(|(error, _)| error), None);
}

#[test]
fn keys_differ_by_pod_and_by_secret() {
    let keys = ResetKeys::of_pod(&[1; 32], uid(1));
    for other in [
        ResetKeys::of_pod(&[1; 32], uid(2)),
        ResetKeys::of_pod(&[2; 32], uid(1)),
    ] {
        assert_ne!(keys.reset, other.reset);
        assert_ne!(keys.connection_ids, other.connection_ids);
    }
    assert_eq!(format!("{keys:?}"), "ResetKeys(..)");
}
