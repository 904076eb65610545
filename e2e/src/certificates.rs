//! Certificates of the control plane: one CA, a server certificate, one client certificate for each
//! component and node.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, SanType,
};

/// Who the API server is to kubelets.
const KUBELET_CLIENT: &str = "kube-apiserver-kubelet-client";

/// The CA of one control plane, and the folder that its files are in.
pub struct Certificates {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificates")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

/// A certificate with its key, as files.
#[derive(Clone, Debug)]
pub struct Pair {
    /// PEM.
    pub certificate: PathBuf,
    /// PEM.
    pub key: PathBuf,
}

impl Certificates {
    /// A new CA, written into a folder.
    ///
    /// # Errors
    /// When files cannot be written.
    pub fn create(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let key = KeyPair::generate()?;
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = name("slotmesh-e2e-ca", None);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = parameters.self_signed(&key)?;
        std::fs::write(folder.join("ca.crt"), certificate.pem())?;
        std::fs::write(folder.join("ca.key"), key.serialize_pem())?;
        let service_accounts = KeyPair::generate()?;
        std::fs::write(folder.join("sa.key"), service_accounts.serialize_pem())?;
        std::fs::write(folder.join("sa.pub"), service_accounts.public_key_pem())?;
        Ok(Self {
            folder: folder.to_owned(),
            issuer: Issuer::new(parameters, key),
        })
    }

    /// The CA's certificate.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    /// The CA's key.
    #[must_use]
    pub fn ca_key(&self) -> PathBuf {
        self.folder.join("ca.key")
    }

    /// Key that signs ServiceAccount tokens.
    #[must_use]
    pub fn service_account_key(&self) -> PathBuf {
        self.folder.join("sa.key")
    }

    /// Key that verifies them.
    #[must_use]
    pub fn service_account_public_key(&self) -> PathBuf {
        self.folder.join("sa.pub")
    }

    /// A certificate for the API server at those addresses.
    ///
    /// # Errors
    /// When files cannot be written.
    pub fn server(&self, addresses: &[IpAddr]) -> Result<Pair> {
        let mut parameters = CertificateParams::new(vec![
            "localhost".to_owned(),
            "kubernetes".to_owned(),
            "kubernetes.default.svc".to_owned(),
        ])?;
        parameters.distinguished_name = name("kube-apiserver", None);
        parameters
            .subject_alt_names
            .extend(addresses.iter().map(|address| SanType::IpAddress(*address)));
        parameters.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        self.issue("apiserver", parameters)
    }

    /// A certificate by which the API server knows a node's own server.
    ///
    /// # Errors
    /// When files cannot be written.
    pub fn kubelet_server(&self, node: &str, address: IpAddr) -> Result<Pair> {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = name(&format!("system:node:{node}"), Some("system:nodes"));
        parameters.subject_alt_names = vec![SanType::IpAddress(address)];
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(&format!("kubelet-{node}"), parameters)
    }

    /// The certificate by which nodes know the API server; made when it starts.
    #[must_use]
    pub fn kubelet_client(&self) -> PathBuf {
        self.folder.join(format!("{KUBELET_CLIENT}.crt"))
    }

    /// Makes that certificate.
    ///
    /// # Errors
    /// When files cannot be written.
    pub fn issue_kubelet_client(&self) -> Result<Pair> {
        self.client(KUBELET_CLIENT, Some("system:masters"))
    }

    /// A client certificate for a user of a group.
    ///
    /// # Errors
    /// When files cannot be written.
    pub fn client(&self, user: &str, group: Option<&str>) -> Result<Pair> {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = name(user, group);
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(&user.replace(':', "_"), parameters)
    }

    fn issue(&self, file: &str, parameters: CertificateParams) -> Result<Pair> {
        let key = KeyPair::generate()?;
        let certificate = parameters.signed_by(&key, &self.issuer)?;
        let pair = Pair {
            certificate: self.folder.join(format!("{file}.crt")),
            key: self.folder.join(format!("{file}.key")),
        };
        std::fs::write(&pair.certificate, certificate.pem())
            .with_context(|| format!("cannot write {}", pair.certificate.display()))?;
        std::fs::write(&pair.key, key.serialize_pem())?;
        Ok(pair)
    }
}

fn name(user: &str, group: Option<&str>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, user);
    if let Some(group) = group {
        name.push(DnType::OrganizationName, group);
    }
    name
}
