//! The certificate authority of a cluster.

use std::fmt;

/// A cluster's CA: its certificate and the secret key that signs with it, as PEM.
#[derive(Clone)]
pub struct CaKey {
    certificate_pem: String,
    key_pem: String,
}

impl CaKey {
    /// From what a Secret holds.
    #[must_use]
    pub fn from_pem(certificate_pem: &str, key_pem: &str) -> Self {
        Self {
            certificate_pem: certificate_pem.to_owned(),
            key_pem: key_pem.to_owned(),
        }
    }

    /// The certificate; agents trust it.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The secret key.
    #[must_use]
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }
}

impl fmt::Debug for CaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CaKey(..)")
    }
}
