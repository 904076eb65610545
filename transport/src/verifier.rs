//! Verification of peers, on both sides: a chain to the cluster's CA and nothing else, one SPIFFE
//! identity of this cluster, an Ed25519 key. rustls' own verifiers want a DNS or IP name.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use slotmesh_mesh::identity::Uid;
use slotmesh_mesh::machine::PeerIdentity;
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use crate::identity::{IdentityError, peer_of};

/// Whether the map in force lists that peer: then its certificate may have expired, because the map
/// revokes and expiry does not.
pub type IsListed = dyn Fn(&PeerIdentity) -> bool + Send + Sync;

/// Verifies peers of one cluster.
pub struct PeerVerifier {
    cluster: Uid,
    roots: Vec<CertificateDer<'static>>,
    is_listed: Arc<IsListed>,
    provider: Arc<CryptoProvider>,
}

impl std::fmt::Debug for PeerVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PeerVerifier")
            .field("cluster", &self.cluster)
            .finish_non_exhaustive()
    }
}

impl PeerVerifier {
    /// Verifies against the CA certificates of a cluster.
    #[must_use]
    pub fn new(
        cluster: Uid,
        roots: Vec<CertificateDer<'static>>,
        is_listed: Arc<IsListed>,
    ) -> Arc<Self> {
        Arc::new(Self {
            cluster,
            roots,
            is_listed,
            provider: provider(),
        })
    }

    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        now: UnixTime,
        usage: KeyUsage,
    ) -> Result<(), Error> {
        let peer = peer_of(leaf, self.cluster).map_err(identity_error)?;
        match self.verify_chain(leaf, now, usage) {
            Err(webpki::Error::CertExpired { not_after, .. }) if (self.is_listed)(&peer) => {
                // Everything else about the certificate must still hold.
                let while_valid = UnixTime::since_unix_epoch(
                    Duration::from_secs(not_after.as_secs()).saturating_sub(Duration::from_secs(1)),
                );
                self.verify_chain(leaf, while_valid, usage)
                    .map_err(chain_error)
            }
            result => result.map_err(chain_error),
        }
    }

    fn verify_chain(
        &self,
        leaf: &CertificateDer<'_>,
        now: UnixTime,
        usage: KeyUsage,
    ) -> Result<(), webpki::Error> {
        let certificate = EndEntityCert::try_from(leaf)?;
        let anchors = self
            .roots
            .iter()
            .map(anchor_from_trusted_cert)
            .collect::<Result<Vec<_>, _>>()?;
        let algorithms = [webpki::aws_lc_rs::ED25519];
        certificate
            .verify_for_usage(&algorithms, &anchors, &[], now, usage, None, None)
            .map(|_| ())
    }
}

/// The one crypto provider.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn identity_error(error: IdentityError) -> Error {
    let error: Arc<dyn std::error::Error + Send + Sync> = Arc::new(error);
    Error::InvalidCertificate(CertificateError::Other(rustls::OtherError(error)))
}

fn chain_error(error: webpki::Error) -> Error {
    use webpki::Error as E;
    Error::InvalidCertificate(match error {
        E::CertExpired { .. } => CertificateError::Expired,
        E::CertNotValidYet { .. } => CertificateError::NotValidYet,
        // All CAs of one cluster have one name: another one's signature is what gives it away.
        E::UnknownIssuer | E::InvalidSignatureForPublicKey => CertificateError::UnknownIssuer,
        other => CertificateError::Other(rustls::OtherError(Arc::new(other))),
    })
}

impl ServerCertVerifier for PeerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verify(end_entity, now, KeyUsage::server_auth())?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("QUIC speaks TLS 1.3 only".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

impl ClientCertVerifier for PeerVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.verify(end_entity, now, KeyUsage::client_auth())?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        ServerCertVerifier::verify_tls12_signature(self, message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        ServerCertVerifier::verify_tls13_signature(self, message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

#[cfg(test)]
mod tests;
