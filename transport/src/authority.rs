//! The certificate authority of one cluster. The operator holds it; nobody else sees its key.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer, pem::PemObject};
use slotmesh_mesh::identity::{Keypair, PublicKey, Uid};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

use crate::identity::{self, IdentityError};

/// How long a certificate is valid, usually.
pub const CERTIFICATE_LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// Certificates are valid from this long before their issue, for clocks that differ.
pub const CERTIFICATE_BACKDATE: Duration = Duration::from_secs(3600);
/// How long a CA is valid: longer than clusters live.
const AUTHORITY_LIFETIME: Duration = Duration::from_secs(20 * 365 * 24 * 3600);

/// The CA of a cluster.
pub struct Authority {
    certificate_pem: String,
    key_pem: String,
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority(..)")
    }
}

impl Authority {
    /// A new CA, with a key from the operating system's randomness.
    ///
    /// # Errors
    /// When the library makes no key.
    pub fn generate(cluster: Uid, now: SystemTime) -> Result<Self, IdentityError> {
        let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).map_err(key_error)?;
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = rcgen::DistinguishedName::new();
        parameters
            .distinguished_name
            .push(DnType::CommonName, format!("slotmesh {cluster}"));
        parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        parameters.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        parameters.not_before = (now - CERTIFICATE_BACKDATE).into();
        parameters.not_after = (now + AUTHORITY_LIFETIME).into();
        let certificate = parameters.self_signed(&key).map_err(key_error)?;
        Self::from_pem(&certificate.pem(), &key.serialize_pem())
    }

    /// A CA from its PEM form.
    ///
    /// # Errors
    /// When certificate or key cannot be read.
    pub fn from_pem(certificate_pem: &str, key_pem: &str) -> Result<Self, IdentityError> {
        let key = KeyPair::from_pem(key_pem).map_err(key_error)?;
        let certificate = CertificateDer::from_pem_slice(certificate_pem.as_bytes())
            .map_err(|_| IdentityError::Malformed)?;
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(key_error)?;
        Ok(Self {
            certificate_pem: certificate_pem.to_owned(),
            key_pem: key_pem.to_owned(),
            certificate,
            issuer,
        })
    }

    /// Its certificate in PEM: what agents trust.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Its certificate.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Its secret key in PEM.
    #[must_use]
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// A certificate for a member. Of the request only the key counts; the name is the caller's to
    /// know.
    ///
    /// # Errors
    /// When the request is malformed or its signature does not hold.
    pub fn issue(
        &self,
        request_der: &[u8],
        cluster: Uid,
        pod: Uid,
        now: SystemTime,
        lifetime: Duration,
    ) -> Result<(CertificateDer<'static>, PublicKey), IdentityError> {
        let key = key_of_request(request_der)?;
        let der = CertificateSigningRequestDer::from(request_der);
        let request = CertificateSigningRequestParams::from_der(&der)
            .map_err(|_| IdentityError::Malformed)?;
        let parameters = leaf(&identity::member_uri(cluster, pod), now, lifetime)?;
        let certificate = parameters
            .signed_by(&request.public_key, &self.issuer)
            .map_err(key_error)?;
        Ok((certificate.der().clone(), key))
    }

    /// A certificate for the operator itself.
    ///
    /// # Errors
    /// When the library refuses the key.
    pub fn issue_operator(
        &self,
        keypair: &Keypair,
        cluster: Uid,
        now: SystemTime,
        lifetime: Duration,
    ) -> Result<CertificateDer<'static>, IdentityError> {
        let key = identity::certificate_key(keypair)?;
        let parameters = leaf(&identity::operator_uri(cluster), now, lifetime)?;
        let certificate = parameters
            .signed_by(&key, &self.issuer)
            .map_err(key_error)?;
        Ok(certificate.der().clone())
    }
}

/// The Ed25519 key of a signing request.
///
/// # Errors
/// When the request is malformed or holds another kind of key.
pub fn key_of_request(request_der: &[u8]) -> Result<PublicKey, IdentityError> {
    let (rest, request) =
        X509CertificationRequest::from_der(request_der).map_err(|_| IdentityError::Malformed)?;
    if !rest.is_empty() {
        return Err(IdentityError::Malformed);
    }
    identity::ed25519_key(&request.certification_request_info.subject_pki)
}

fn leaf(
    uri: &str,
    now: SystemTime,
    lifetime: Duration,
) -> Result<CertificateParams, IdentityError> {
    let mut parameters = identity::parameters(uri)?;
    parameters.not_before = (now - CERTIFICATE_BACKDATE).into();
    parameters.not_after = (now + lifetime).into();
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    Ok(parameters)
}

fn key_error(error: rcgen::Error) -> IdentityError {
    IdentityError::Key(error.to_string())
}
