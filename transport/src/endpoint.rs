//! Endpoints of the mesh: what TLS and QUIC are set to for agents and for the operator.

use std::net::SocketAddr;
use std::sync::Arc;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Endpoint, EndpointConfig, ServerConfig, TokioRuntime, TransportConfig};
use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use slotmesh_mesh::identity::Keypair;
use thiserror::Error;

use crate::identity::private_key_der;
use crate::reset::ResetKeys;
use crate::settings;
use crate::verifier::{PeerVerifier, provider};

/// Why an endpoint does not start.
#[derive(Debug, Error)]
pub enum EndpointError {
    /// The address is taken, or not of this machine.
    #[error("cannot bind udp://{address}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// Certificate or key do not fit.
    #[error("certificate or key cannot be used: {0}")]
    Tls(String),
}

/// A certificate chain with its key.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key of the leaf.
    pub keypair: Keypair,
}

impl Credentials {
    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        private_key_der(&self.keypair)
    }
}

/// An agent's endpoint, bound once for its life. It accepts nobody until [`accept_as`].
///
/// # Errors
/// When the address cannot be bound.
pub fn bind(address: SocketAddr) -> Result<Endpoint, EndpointError> {
    endpoint(address, EndpointConfig::default(), None)
}

/// The same for an agent that may have had a predecessor in its pod, whose peers it tells that they
/// talk to a process that is gone.
///
/// # Errors
/// When the address cannot be bound.
pub fn bind_as_successor(address: SocketAddr, keys: &ResetKeys) -> Result<Endpoint, EndpointError> {
    endpoint(address, keys.endpoint_config(), None)
}

/// From now on the endpoint accepts members, and dials them with the configuration returned: with one
/// certificate, both ways verified.
///
/// # Errors
/// When the certificate cannot be used.
pub fn accept_as(
    endpoint: &Endpoint,
    credentials: &Credentials,
    verifier: &Arc<PeerVerifier>,
) -> Result<ClientConfig, EndpointError> {
    endpoint.set_server_config(Some(server_config(credentials, verifier)?));
    client_config(credentials, verifier)
}

/// The operator's endpoint: it dials only.
///
/// # Errors
/// When the address cannot be bound or the certificate cannot be used.
pub fn dialing_endpoint(
    address: SocketAddr,
    credentials: &Credentials,
    verifier: &Arc<PeerVerifier>,
) -> Result<(Endpoint, ClientConfig), EndpointError> {
    Ok((bind(address)?, client_config(credentials, verifier)?))
}

pub(crate) fn endpoint(
    address: SocketAddr,
    config: EndpointConfig,
    server: Option<ServerConfig>,
) -> Result<Endpoint, EndpointError> {
    let bind = |source| EndpointError::Bind { address, source };
    let socket = settings::bind(address).map_err(bind)?;
    Endpoint::new(config, server, socket, Arc::new(TokioRuntime)).map_err(bind)
}

fn server_config(
    credentials: &Credentials,
    verifier: &Arc<PeerVerifier>,
) -> Result<ServerConfig, EndpointError> {
    let mut tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(tls_error)?
        .with_client_cert_verifier(verifier.clone())
        .with_single_cert(credentials.chain.clone(), credentials.key())
        .map_err(tls_error)?;
    tls.alpn_protocols = vec![settings::ALPN_MESH.to_vec()];
    quic_server(tls)
}

/// What every endpoint that accepts has in common. No resumption: a peer is verified at each
/// connection, and tickets cost bytes.
pub(crate) fn quic_server(mut tls: rustls::ServerConfig) -> Result<ServerConfig, EndpointError> {
    tls.send_tls13_tickets = 0;
    let tls =
        QuicServerConfig::try_from(tls).map_err(|error| EndpointError::Tls(error.to_string()))?;
    let mut config = ServerConfig::with_crypto(Arc::new(tls));
    settings::accepting(&mut config);
    Ok(config)
}

/// What peers are dialed with: the same certificate, both ways verified.
///
/// # Errors
/// When the certificate cannot be used.
pub fn client_config(
    credentials: &Credentials,
    verifier: &Arc<PeerVerifier>,
) -> Result<ClientConfig, EndpointError> {
    let mut tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(tls_error)?
        .dangerous()
        .with_custom_certificate_verifier(verifier.clone())
        .with_client_auth_cert(credentials.chain.clone(), credentials.key())
        .map_err(tls_error)?;
    tls.alpn_protocols = vec![settings::ALPN_MESH.to_vec()];
    quic_client(tls, settings::transport())
}

/// What everybody who dials has in common. No resumption, as in [`quic_server`].
pub(crate) fn quic_client(
    mut tls: rustls::ClientConfig,
    transport: Arc<TransportConfig>,
) -> Result<ClientConfig, EndpointError> {
    tls.resumption = Resumption::disabled();
    let tls =
        QuicClientConfig::try_from(tls).map_err(|error| EndpointError::Tls(error.to_string()))?;
    let mut config = ClientConfig::new(Arc::new(tls));
    config.transport_config(transport);
    Ok(config)
}

pub(crate) fn tls_error(error: rustls::Error) -> EndpointError {
    EndpointError::Tls(error.to_string())
}

#[cfg(test)]
mod tests;
