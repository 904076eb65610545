//! Names in certificates, and keys in the forms that TLS wants.
//!
//! A member is `spiffe://slotmesh.dev/cluster/<cluster UID>/pod/<pod UID>`, the operator
//! `spiffe://slotmesh.dev/cluster/<cluster UID>/operator`. Source: SPIFFE-ID and X.509-SVID
//! specifications (exactly one URI SAN).

use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DnType, KeyPair, SanType};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use slotmesh_mesh::identity::{Keypair, PublicKey, Uid};
use slotmesh_mesh::machine::PeerIdentity;
use thiserror::Error;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::oid_registry::OID_SIG_ED25519;
use x509_parser::prelude::FromDer;

const TRUST_DOMAIN: &str = "spiffe://slotmesh.dev/cluster/";
/// PKCS #8 header of an Ed25519 private key (RFC 8410, section 7).
const PKCS8_ED25519: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// Why a certificate, a request or a key is refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum IdentityError {
    /// The bytes are no certificate or request.
    #[error("not a valid certificate or signing request")]
    Malformed,
    /// Not exactly one URI, or not of the form.
    #[error("the certificate must hold exactly one URI, a SPIFFE identity of SlotMesh")]
    NoIdentity,
    /// Of another cluster.
    #[error("the certificate belongs to another cluster ({0})")]
    WrongCluster(Uid),
    /// Of another kind of key.
    #[error("the key must be Ed25519")]
    WrongKeyType,
    /// A crypto library refused a key.
    #[error("the key cannot be used: {0}")]
    Key(String),
}

/// SPIFFE URI of a member.
#[must_use]
pub fn member_uri(cluster: Uid, pod: Uid) -> String {
    format!("{TRUST_DOMAIN}{cluster}/pod/{pod}")
}

/// SPIFFE URI of the operator.
#[must_use]
pub fn operator_uri(cluster: Uid) -> String {
    format!("{TRUST_DOMAIN}{cluster}/operator")
}

/// Name in the TLS greeting: tells the clusters of one port apart.
#[must_use]
pub fn server_name(cluster: Uid) -> String {
    format!("{cluster}.slotmesh.dev")
}

/// Cluster of a name in the TLS greeting.
#[must_use]
pub fn cluster_of_server_name(name: &str) -> Option<Uid> {
    name.strip_suffix(".slotmesh.dev")?.parse().ok()
}

/// A key pair in the form that TLS wants.
#[must_use]
pub fn private_key_der(keypair: &Keypair) -> PrivateKeyDer<'static> {
    let bytes: Vec<u8> = PKCS8_ED25519.into_iter().chain(keypair.seed()).collect();
    PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(bytes))
}

/// A key pair in the form that certificates are made with.
///
/// # Errors
/// When the library refuses the key.
pub fn certificate_key(keypair: &Keypair) -> Result<KeyPair, IdentityError> {
    KeyPair::try_from(&private_key_der(keypair))
        .map_err(|error| IdentityError::Key(error.to_string()))
}

/// A certificate signing request for a member.
///
/// # Errors
/// When the library refuses the key.
pub fn signing_request(
    keypair: &Keypair,
    cluster: Uid,
    pod: Uid,
) -> Result<Vec<u8>, IdentityError> {
    let key = certificate_key(keypair)?;
    let parameters = parameters(&member_uri(cluster, pod))?;
    let request = parameters
        .serialize_request(&key)
        .map_err(|error| IdentityError::Key(error.to_string()))?;
    Ok(request.der().to_vec())
}

/// Certificate parameters with one URI.
pub(crate) fn parameters(uri: &str) -> Result<CertificateParams, IdentityError> {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters
        .distinguished_name
        .push(DnType::OrganizationName, "slotmesh");
    let uri = uri.try_into().map_err(|_| IdentityError::NoIdentity)?;
    parameters.subject_alt_names = vec![SanType::URI(uri)];
    Ok(parameters)
}

/// Who a certificate says its holder is. Whether to believe it is for the verifier.
///
/// # Errors
/// When it names nobody, or somebody of another cluster.
pub fn peer_of(
    certificate: &CertificateDer<'_>,
    cluster: Uid,
) -> Result<PeerIdentity, IdentityError> {
    let (rest, parsed) =
        X509Certificate::from_der(certificate).map_err(|_| IdentityError::Malformed)?;
    if !rest.is_empty() {
        return Err(IdentityError::Malformed);
    }
    let names = parsed
        .subject_alternative_name()
        .map_err(|_| IdentityError::Malformed)?;
    let names = names.ok_or(IdentityError::NoIdentity)?;
    let [GeneralName::URI(uri)] = names.value.general_names.as_slice() else {
        return Err(IdentityError::NoIdentity);
    };
    let path = uri
        .strip_prefix(TRUST_DOMAIN)
        .ok_or(IdentityError::NoIdentity)?;
    let (found, holder) = path.split_once('/').ok_or(IdentityError::NoIdentity)?;
    let found: Uid = found.parse().map_err(|_| IdentityError::NoIdentity)?;
    if found != cluster {
        return Err(IdentityError::WrongCluster(found));
    }
    if holder == "operator" {
        return Ok(PeerIdentity::Operator);
    }
    let uid = holder.strip_prefix("pod/").and_then(|uid| uid.parse().ok());
    let uid = uid.ok_or(IdentityError::NoIdentity)?;
    Ok(PeerIdentity::Agent {
        uid,
        key: ed25519_key(parsed.public_key())?,
    })
}

/// When a certificate expires.
///
/// # Errors
/// When the bytes are no certificate.
pub fn expiry_of(certificate: &CertificateDer<'_>) -> Result<SystemTime, IdentityError> {
    let (_, parsed) =
        X509Certificate::from_der(certificate).map_err(|_| IdentityError::Malformed)?;
    let seconds = parsed.validity().not_after.timestamp();
    let seconds = u64::try_from(seconds).map_err(|_| IdentityError::Malformed)?;
    Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

pub(crate) fn ed25519_key(
    info: &x509_parser::x509::SubjectPublicKeyInfo<'_>,
) -> Result<PublicKey, IdentityError> {
    if info.algorithm.algorithm != OID_SIG_ED25519 {
        return Err(IdentityError::WrongKeyType);
    }
    let bytes = info.subject_public_key.data.as_ref();
    let bytes: [u8; 32] = bytes.try_into().map_err(|_| IdentityError::WrongKeyType)?;
    Ok(PublicKey::from_bytes(bytes))
}

#[cfg(test)]
mod tests;
