//! The join stream: an agent without a certificate talks to the operator, whose certificate it
//! verifies against the CA in the trust ConfigMap. One port serves many clusters: the operator shows
//! the certificate of the cluster that the agent names in the TLS greeting. An operator that does not
//! lead points to the one that does ([`crate::signpost`]).

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use quinn::{Connection, Endpoint, EndpointConfig, RecvStream, SendStream, VarInt};
use rustls::pki_types::CertificateDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use slotmesh_mesh::identity::Uid;
use slotmesh_mesh::join::{JoinRequest, JoinResponse};
use slotmesh_mesh::limits;
use slotmesh_mesh::machine::PeerIdentity;
use thiserror::Error;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

use crate::endpoint::{self, Credentials, EndpointError};
use crate::identity::{cluster_of_server_name, peer_of, server_name};
use crate::settings;
use crate::signpost::{self, Reader};
use crate::verifier::{PeerVerifier, provider};

/// Joins under way at once, over all clusters.
const JOINS_MAX: usize = 1024;
/// Requests that wait to be looked at.
const REQUESTS_MAX: usize = 256;
/// Time for an agent to send its request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for closes to leave the machine.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);
/// Time between two responses; the operator answers or says when to retry well before.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);

/// Why a join came to nothing.
#[derive(Debug, Error)]
pub enum JoinError {
    /// No endpoint of our own.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// Nobody answers.
    #[error("the operator at {0} does not answer")]
    Unreachable(SocketAddr),
    /// The handshake failed: another CA, another cluster, or no operator.
    #[error("the operator at {address} is not trusted: {reason}")]
    NotTrusted {
        /// Where.
        address: SocketAddr,
        /// Why.
        reason: String,
    },
    /// An operator answers that does not lead; it may know who does.
    #[error("the operator at {address} does not lead; {leader} does")]
    NotLeader {
        /// Where.
        address: SocketAddr,
        /// Where it points to: a hint that nobody vouches for.
        leader: SocketAddr,
    },
    /// The stream ended in the middle.
    #[error("the operator broke off: {0}")]
    BrokenOff(String),
}

/// A join under way, as the agent sees it.
#[derive(Debug)]
pub struct Joining {
    endpoint: Endpoint,
    connection: Connection,
    responses: RecvStream,
}

impl Joining {
    /// Connects from an address of this machine, verifies the operator and sends the request.
    ///
    /// # Errors
    /// Says what went wrong.
    pub async fn start(
        local: IpAddr,
        operator: SocketAddr,
        roots: Vec<CertificateDer<'static>>,
        request: &JoinRequest,
    ) -> Result<Self, JoinError> {
        let cluster = request.cluster;
        let reader = Reader::new(PeerVerifier::new(cluster, roots, Arc::new(|_| false)));
        let mut tls = rustls::ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(endpoint::tls_error)?
            .dangerous()
            .with_custom_certificate_verifier(reader.clone())
            .with_no_client_auth();
        tls.alpn_protocols = vec![settings::ALPN_JOIN.to_vec()];
        let endpoint = endpoint::bind(SocketAddr::new(local, 0))?;
        let not_trusted = |reason: String| JoinError::NotTrusted {
            address: operator,
            reason,
        };
        let config = endpoint::quic_client(tls, settings::joining())?;
        let connecting = endpoint
            .connect_with(config, operator, &server_name(cluster))
            .map_err(|error| not_trusted(error.to_string()))?;
        let connection = match tokio::time::timeout(limits::HANDSHAKE_TIMEOUT, connecting).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(quinn::ConnectionError::TimedOut)) | Err(_) => {
                return Err(JoinError::Unreachable(operator));
            }
            Ok(Err(error)) => {
                let address = operator;
                return Err(match reader.seen() {
                    Some(leader) => JoinError::NotLeader { address, leader },
                    None => not_trusted(error.to_string()),
                });
            }
        };
        if !is_operator(&connection, cluster) {
            return Err(not_trusted("its certificate is not the operator's".into()));
        }
        let (mut requests, responses) = connection.open_bi().await.map_err(broken_off)?;
        requests
            .write_all(&request.encode())
            .await
            .map_err(broken_off)?;
        requests.finish().map_err(broken_off)?;
        Ok(Self {
            endpoint,
            connection,
            responses,
        })
    }

    /// The next response.
    ///
    /// # Errors
    /// When the operator breaks off or says something else.
    pub async fn next(&mut self) -> Result<JoinResponse, JoinError> {
        let read = read_message(&mut self.responses);
        match tokio::time::timeout(RESPONSE_TIMEOUT, read).await {
            Ok(Ok(bytes)) => JoinResponse::decode(&bytes).map_err(broken_off),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(broken_off("no answer in time")),
        }
    }

    /// Ends the conversation.
    pub async fn finish(self) {
        self.connection.close(VarInt::from_u32(0), b"done");
        let _ = tokio::time::timeout(Duration::from_millis(200), self.endpoint.wait_idle()).await;
    }
}

fn is_operator(connection: &Connection, cluster: Uid) -> bool {
    let chain = connection
        .peer_identity()
        .and_then(|chain| chain.downcast::<Vec<CertificateDer<'static>>>().ok());
    let leaf = chain.as_ref().and_then(|chain| chain.first());
    leaf.is_some_and(|leaf| peer_of(leaf, cluster) == Ok(PeerIdentity::Operator))
}

fn broken_off(error: impl std::fmt::Display) -> JoinError {
    JoinError::BrokenOff(error.to_string())
}

/// A message with its length (4 bytes) in front.
async fn read_message(stream: &mut RecvStream) -> Result<Vec<u8>, JoinError> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).await.map_err(broken_off)?;
    let length = usize::try_from(u32::from_be_bytes(length)).map_err(broken_off)?;
    if length > limits::FRAME_BYTES_MAX {
        return Err(broken_off("a message beyond the limit"));
    }
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await.map_err(broken_off)?;
    Ok(bytes)
}

/// A request that waits for an answer.
#[derive(Debug)]
pub struct Request {
    /// What the agent asks.
    pub request: JoinRequest,
    /// Where from.
    pub remote: SocketAddr,
    /// How to answer.
    pub responder: Responder,
}

/// Answers one request. Dropping it ends the conversation: nobody holds a place for longer.
#[derive(Debug)]
pub struct Responder {
    stream: SendStream,
    connection: Connection,
}

impl Responder {
    /// Sends a response; another may follow.
    ///
    /// # Errors
    /// When the agent has gone, or does not read.
    pub async fn send(&mut self, response: &JoinResponse) -> Result<(), JoinError> {
        let bytes = response.encode();
        let length = u32::try_from(bytes.len()).map_err(broken_off)?;
        let write = async {
            self.stream.write_all(&length.to_be_bytes()).await?;
            self.stream.write_all(&bytes).await
        };
        match tokio::time::timeout(settings::FRAME_TIMEOUT, write).await {
            Ok(written) => written.map_err(broken_off),
            Err(_) => Err(broken_off("the agent does not read")),
        }
    }

    /// Sends the last response and waits, for a moment, until the agent has read it.
    pub async fn finish(mut self, response: &JoinResponse) {
        if self.send(response).await.is_ok() && self.stream.finish().is_ok() {
            let _ = tokio::time::timeout(REQUEST_TIMEOUT, self.connection.closed()).await;
        }
    }

    /// Returns when the agent has gone away.
    pub async fn gone(&self) {
        self.connection.closed().await;
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.connection.close(VarInt::from_u32(0), b"done");
    }
}

/// The certificates of the operator, one for each cluster that it serves.
#[derive(Debug, Default)]
pub struct Certificates {
    by_cluster: RwLock<BTreeMap<Uid, Arc<CertifiedKey>>>,
    /// Shown to whoever asks for any other cluster.
    signpost: RwLock<Option<Arc<CertifiedKey>>>,
}

impl Certificates {
    /// Serves a cluster.
    ///
    /// # Errors
    /// When certificate and key do not fit.
    pub fn insert(&self, cluster: Uid, credentials: &Credentials) -> Result<(), EndpointError> {
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&credentials.key())
            .map_err(endpoint::tls_error)?;
        let certified = Arc::new(CertifiedKey::new(credentials.chain.clone(), key));
        self.by_cluster
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .insert(cluster, certified);
        Ok(())
    }

    /// Points whoever asks for a cluster that is not served to the operator that leads.
    ///
    /// # Errors
    /// When no certificate can be made.
    pub fn point_to(&self, leader: Option<SocketAddr>) -> Result<(), EndpointError> {
        let post = leader.map(signpost::certificate).transpose()?;
        *self
            .signpost
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = post.map(Arc::new);
        Ok(())
    }

    /// Serves a cluster no more.
    pub fn remove(&self, cluster: Uid) {
        self.by_cluster
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .remove(&cluster);
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let cluster = cluster_of_server_name(hello.server_name()?)?;
        let ours = self
            .by_cluster
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .get(&cluster)
            .cloned();
        ours.or_else(|| {
            self.signpost
                .read()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .clone()
        })
    }
}

/// The operator's side of the join port.
#[derive(Debug)]
pub struct Listener {
    requests: mpsc::Receiver<Request>,
    address: SocketAddr,
    task: JoinHandle<()>,
    endpoint: Endpoint,
}

impl Listener {
    /// Listens.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn bind(
        address: SocketAddr,
        certificates: Arc<Certificates>,
    ) -> Result<Self, EndpointError> {
        let mut tls = rustls::ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(endpoint::tls_error)?
            .with_no_client_auth()
            .with_cert_resolver(certificates);
        tls.alpn_protocols = vec![settings::ALPN_JOIN.to_vec()];
        let config = endpoint::quic_server(tls)?;
        let endpoint = endpoint::endpoint(address, EndpointConfig::default(), Some(config))?;
        let bound = endpoint
            .local_addr()
            .map_err(|source| EndpointError::Bind { address, source })?;
        let (sender, requests) = mpsc::channel(REQUESTS_MAX);
        let task = tokio::spawn(listen(endpoint.clone(), sender));
        Ok(Self {
            requests,
            address: bound,
            task,
            endpoint,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets nobody in any more, and gives what was said last a moment to leave.
    pub async fn close(self) {
        self.endpoint.close(VarInt::from_u32(0), b"going away");
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, self.endpoint.wait_idle()).await;
    }

    /// The next request; none once the listener has ended.
    pub async fn next(&mut self) -> Option<Request> {
        self.requests.recv().await
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
        self.endpoint.close(VarInt::from_u32(0), b"going away");
    }
}

async fn listen(endpoint: Endpoint, requests: mpsc::Sender<Request>) {
    let joins = Arc::new(Semaphore::new(JOINS_MAX));
    while let Some(incoming) = endpoint.accept().await {
        let Ok(permit) = joins.clone().try_acquire_owned() else {
            incoming.refuse();
            continue;
        };
        let requests = requests.clone();
        tokio::spawn(async move {
            let remote = incoming.remote_address();
            match tokio::time::timeout(REQUEST_TIMEOUT, receive(incoming)).await {
                Ok(Ok((request, responder))) => {
                    let connection = responder.connection.clone();
                    let request = Request {
                        request,
                        remote,
                        responder,
                    };
                    if requests.send(request).await.is_ok() {
                        // The join counts until its connection has ended.
                        connection.closed().await;
                    }
                }
                Ok(Err(error)) => tracing::debug!(%remote, %error, "a join request was not read"),
                Err(_) => tracing::debug!(%remote, "a join request took too long"),
            }
            drop(permit);
        });
    }
}

async fn receive(incoming: quinn::Incoming) -> Result<(JoinRequest, Responder), JoinError> {
    let connection = incoming.await.map_err(broken_off)?;
    let (stream, mut request) = connection.accept_bi().await.map_err(broken_off)?;
    let bytes = request
        .read_to_end(limits::JOIN_REQUEST_BYTES_MAX)
        .await
        .map_err(broken_off)?;
    let request = JoinRequest::decode(&bytes).map_err(broken_off)?;
    Ok((request, Responder { stream, connection }))
}

#[cfg(test)]
mod tests;
