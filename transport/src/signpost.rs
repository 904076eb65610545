//! The signpost: how an operator that does not lead sends agents to the one that does.
//!
//! It holds no key of any cluster, so it can prove to nobody who it is. Therefore it proves nothing:
//! its certificate is signed by itself and names nobody, only the leader's address. An agent refuses
//! it as it refuses every stranger, before a token has left its hands, and keeps the address as a
//! hint. Whoever answers there has to prove that it is the operator. So the worst that a forged
//! signpost can do is one handshake that comes to nothing (counted: an agent follows few in a row).

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use rcgen::{CertificateParams, DistinguishedName, KeyPair, SanType};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use crate::endpoint::{EndpointError, tls_error};
use crate::verifier::PeerVerifier;

const PREFIX: &str = "spiffe://slotmesh.dev/leader/";

/// The certificate of a signpost.
pub(crate) fn certificate(leader: SocketAddr) -> Result<CertifiedKey, EndpointError> {
    let failed = |error: rcgen::Error| EndpointError::Tls(error.to_string());
    let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).map_err(failed)?;
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = DistinguishedName::new();
    let uri = format!("{PREFIX}{leader}").try_into().map_err(failed)?;
    parameters.subject_alt_names = vec![SanType::URI(uri)];
    let certificate = parameters.self_signed(&key).map_err(failed)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).map_err(tls_error)?;
    Ok(CertifiedKey::new(vec![certificate.der().clone()], key))
}

/// Where a certificate points to, if it is a signpost: an address that can be dialed.
fn read(leaf: &CertificateDer<'_>) -> Option<SocketAddr> {
    let (_, parsed) = X509Certificate::from_der(leaf).ok()?;
    let names = parsed.subject_alternative_name().ok()??;
    let [GeneralName::URI(uri)] = names.value.general_names.as_slice() else {
        return None;
    };
    let leader: SocketAddr = uri.strip_prefix(PREFIX)?.parse().ok()?;
    let ip = leader.ip();
    (leader.port() != 0 && !ip.is_unspecified() && !ip.is_multicast()).then_some(leader)
}

/// Verifies as it should be, and remembers where a refused certificate points to.
#[derive(Debug)]
pub(crate) struct Reader {
    verifier: Arc<PeerVerifier>,
    seen: Mutex<Option<SocketAddr>>,
}

impl Reader {
    pub(crate) fn new(verifier: Arc<PeerVerifier>) -> Arc<Self> {
        Arc::new(Self {
            verifier,
            seen: Mutex::new(None),
        })
    }

    /// The leader's address, if a signpost answered.
    pub(crate) fn seen(&self) -> Option<SocketAddr> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ServerCertVerifier for Reader {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.verifier.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        if verified.is_err() {
            *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = read(end_entity);
        }
        verified
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        ServerCertVerifier::verify_tls12_signature(
            self.verifier.as_ref(),
            message,
            certificate,
            signature,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        ServerCertVerifier::verify_tls13_signature(
            self.verifier.as_ref(),
            message,
            certificate,
            signature,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ServerCertVerifier::supported_verify_schemes(self.verifier.as_ref())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::testing::{authority, credentials};

    #[test]
    fn a_signpost_names_an_address_and_nothing_else_does() {
        for address in ["10.0.0.7:7401", "[fd00::7]:7401"] {
            let leader: SocketAddr = address.parse().unwrap();
            let post = certificate(leader).unwrap();
            assert_eq!(read(post.end_entity_cert().unwrap()), Some(leader));
        }
        for nowhere in ["0.0.0.0:7401", "10.0.0.7:0", "224.0.0.1:7401"] {
            let post = certificate(nowhere.parse().unwrap()).unwrap();
            assert_eq!(read(post.end_entity_cert().unwrap()), None, "{nowhere}");
        }
        let member = credentials(&authority(), 1);
        assert_eq!(read(member.chain.first().unwrap()), None);
    }
}
