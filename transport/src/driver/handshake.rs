//! Handshakes, both ways. What comes of them is a happening; why nothing came of one is counted.

use std::net::SocketAddr;
use std::sync::Arc;

use quinn::{ClientConfig, Connection, Endpoint, Incoming, VarInt};
use rustls::pki_types::CertificateDer;
use slotmesh_mesh::identity::{PublicKey, Uid};
use slotmesh_mesh::limits;
use slotmesh_mesh::machine::{CloseReason, PeerIdentity};
use tokio::sync::{Semaphore, mpsc};

use super::connection::Happening;
use crate::identity::{peer_of, server_name};
use crate::refusal::{Refusal, Refusals};

/// Handshakes of others at once.
const HANDSHAKES_MAX: usize = 256;

/// A connection that this side opens.
pub(super) struct Dial {
    /// Who has to answer.
    pub(super) uid: Uid,
    /// With which key.
    pub(super) key: PublicKey,
    pub(super) address: SocketAddr,
    pub(super) cluster: Uid,
    pub(super) endpoint: Endpoint,
    pub(super) client: ClientConfig,
}

impl Dial {
    pub(super) async fn run(self, happenings: mpsc::Sender<Happening>, refusals: Arc<Refusals>) {
        let (uid, address) = (self.uid, self.address);
        let outcome = tokio::time::timeout(limits::HANDSHAKE_TIMEOUT, self.connect()).await;
        let happening = match outcome.unwrap_or(Err((Refusal::NoAnswer, String::new()))) {
            Ok((connection, peer)) => Happening::Up {
                connection,
                peer,
                dialed: true,
            },
            Err((refusal, reason)) => {
                refusals.count(refusal, address, &reason);
                Happening::DialFailed { uid }
            }
        };
        // With the driver gone, nobody is left to tell.
        let _ = happenings.send(happening).await;
    }

    async fn connect(self) -> Result<(Connection, PeerIdentity), (Refusal, String)> {
        let connecting = self
            .endpoint
            .connect_with(self.client, self.address, &server_name(self.cluster))
            .map_err(|error| (Refusal::Other, error.to_string()))?;
        let connection = connecting
            .await
            .map_err(|error| (Refusal::of(&error), error.to_string()))?;
        let wanted = PeerIdentity::Agent {
            uid: self.uid,
            key: self.key,
        };
        match identity_of(&connection, self.cluster) {
            Some(peer) if peer == wanted => Ok((connection, peer)),
            found => {
                close_unknown(&connection);
                let reason = format!("expected pod {} with the key of the map", self.uid);
                tracing::debug!(?found, reason);
                Err((Refusal::OtherProcess, reason))
            }
        }
    }
}

/// Accepts connections for as long as the endpoint lives.
pub(super) async fn accept(
    endpoint: Endpoint,
    cluster: Uid,
    happenings: mpsc::Sender<Happening>,
    refusals: Arc<Refusals>,
) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    while let Some(incoming) = endpoint.accept().await {
        let Ok(permit) = handshakes.clone().try_acquire_owned() else {
            incoming.refuse();
            continue;
        };
        let (happenings, refusals) = (happenings.clone(), refusals.clone());
        tokio::spawn(async move {
            let remote = incoming.remote_address();
            let outcome = accept_one(incoming, cluster).await;
            drop(permit);
            match outcome {
                Ok((connection, peer)) => {
                    let up = Happening::Up {
                        connection,
                        peer,
                        dialed: false,
                    };
                    let _ = happenings.send(up).await;
                }
                Err((refusal, reason)) => refusals.count(refusal, remote, &reason),
            }
        });
    }
}

async fn accept_one(
    incoming: Incoming,
    cluster: Uid,
) -> Result<(Connection, PeerIdentity), (Refusal, String)> {
    let connection = tokio::time::timeout(limits::HANDSHAKE_TIMEOUT, incoming)
        .await
        .map_err(|_| (Refusal::NoAnswer, String::new()))?
        .map_err(|error| (Refusal::of(&error), error.to_string()))?;
    match identity_of(&connection, cluster) {
        Some(peer) => Ok((connection, peer)),
        None => {
            close_unknown(&connection);
            Err((Refusal::UnfitCertificate, String::new()))
        }
    }
}

fn close_unknown(connection: &Connection) {
    let code = VarInt::from_u32(CloseReason::NotInMap.code());
    connection.close(code, b"another process");
}

/// Who the verified certificate of a connection names.
fn identity_of(connection: &Connection, cluster: Uid) -> Option<PeerIdentity> {
    let chain = connection.peer_identity()?;
    let chain = chain.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    peer_of(chain.first()?, cluster).ok()
}
