//! Requests to join that are made by hand: what whoever does not belong to a cluster may try, and what
//! is needed for it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{ConfigMap, Secret, ServiceAccount};
use kube::api::PostParams;
use kube::{Api, ResourceExt};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use slotmesh_api::names;
use slotmesh_mesh::identity::{Keypair, Uid};
use slotmesh_mesh::join::{JoinRequest, JoinResponse};
use slotmesh_transport::authority::Authority;
use slotmesh_transport::identity::signing_request;
use slotmesh_transport::join::Joining;

use crate::stage::{Agent, NAMESPACE, OPERATOR_NAMESPACE, Stage};

/// Where strangers come from, unless they borrow an address.
pub const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// What is known of a cluster, by its tenants and by whoever holds its keys.
#[derive(Debug)]
pub struct Cluster {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: Uid,
    /// Its agents.
    pub agents: Vec<Agent>,
    /// The trust ConfigMap.
    trust: BTreeMap<String, String>,
    /// Whom agents believe.
    pub roots: Vec<CertificateDer<'static>>,
    /// Who signs certificates.
    pub authority: Authority,
}

impl Cluster {
    /// Reads it from the API.
    ///
    /// # Errors
    /// When a part is missing.
    pub async fn load(stage: &Stage, name: &str) -> Result<Self> {
        let uid = stage.cluster(name).await?.uid().context("no UID")?;
        let maps: Api<ConfigMap> = Api::namespaced(stage.plane.client(), NAMESPACE);
        let trust = maps.get(&names::trust(name)).await?.data;
        let trust = trust.context("an empty trust ConfigMap")?;
        let pem = trust.get(names::TRUST_CA).context("no CA")?;
        let roots: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
        let secrets: Api<Secret> = Api::namespaced(stage.plane.client(), OPERATOR_NAMESPACE);
        let secret = names::ca_secret(NAMESPACE, name, &uid);
        let keys = secrets.get(&secret).await?.data.unwrap_or_default();
        let text = |entry: &str| {
            let bytes = keys.get(entry).map(|bytes| bytes.0.clone());
            let bytes = bytes.with_context(|| format!("Secret {secret} holds no {entry}"))?;
            anyhow::Ok(String::from_utf8(bytes)?)
        };
        Ok(Self {
            name: name.to_owned(),
            uid: uid.parse()?,
            agents: stage.agents(name).await?,
            roots: roots?,
            authority: Authority::from_pem(&text("ca.crt")?, &text("ca.key")?)?,
            trust,
        })
    }

    /// Where agents join.
    ///
    /// # Errors
    /// When the trust ConfigMap names no address.
    pub fn operator(&self) -> Result<SocketAddr> {
        let lines = self.trust.get(names::TRUST_JOIN_ADDRESS);
        let first = lines.and_then(|lines| lines.lines().next());
        Ok(first.context("no join address")?.trim().parse()?)
    }

    /// The trust ConfigMap and a token as files, as a pod has them.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn files(&self, stage: &Stage, folder: &str, token: &str) -> Result<PathBuf> {
        let folder = stage.folder(folder)?;
        for (name, content) in &self.trust {
            std::fs::write(folder.join(name), content)?;
        }
        std::fs::write(folder.join("token"), token)?;
        Ok(folder)
    }

    /// A request to join, with a key of its own.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn request(&self, pod: &str, token: String) -> Result<JoinRequest> {
        let pod_uid = pod.parse()?;
        Ok(JoinRequest {
            cluster: self.uid,
            pod_uid,
            token,
            csr_der: signing_request(&new_key()?, self.uid, pod_uid)?,
        })
    }

    /// Asks to join from an address of this machine, and reads the first answer.
    ///
    /// # Errors
    /// When there is none.
    pub async fn ask(&self, from: IpAddr, request: &JoinRequest) -> Result<JoinResponse> {
        let operator = self.operator()?;
        let mut joining = Joining::start(from, operator, self.roots.clone(), request).await?;
        let answer = joining.next().await?;
        joining.finish().await;
        Ok(answer)
    }
}

/// A new key pair.
///
/// # Errors
/// When there is no randomness.
pub fn new_key() -> Result<Keypair> {
    let mut seed = [0; 32];
    aws_lc_rs::rand::fill(&mut seed).context("no randomness")?;
    Ok(Keypair::from_seed(seed))
}

/// A token as the API server gives it to whoever may ask, bound to a pod (name, UID) or to nothing.
///
/// # Errors
/// When it is refused.
pub async fn request_token(
    stage: &Stage,
    account: &str,
    audience: &str,
    pod: Option<(&str, &str)>,
) -> Result<String> {
    let bound_object_ref = pod.map(|(name, uid)| BoundObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Pod".into()),
        name: Some(name.to_owned()),
        uid: Some(uid.to_owned()),
    });
    let request = TokenRequest {
        spec: TokenRequestSpec {
            audiences: vec![audience.to_owned()],
            expiration_seconds: Some(3600),
            bound_object_ref,
        },
        ..TokenRequest::default()
    };
    let accounts: Api<ServiceAccount> = Api::namespaced(stage.plane.client(), NAMESPACE);
    let granted = accounts
        .create_token_request(account, &PostParams::default(), &request)
        .await
        .with_context(|| format!("a token of {account}"))?;
    let token = granted.status.context("no token")?.token;
    ensure!(!token.is_empty(), "an empty token");
    Ok(token)
}
