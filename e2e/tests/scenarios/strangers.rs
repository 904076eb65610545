//! Whoever does not belong to a cluster tries to get in: with wrong certificates at an agent's mesh
//! port, with wrong tokens at the operator's join port, and as a whole agent with another cluster's
//! trust. Each is refused with a reason of its own; the cluster does not notice.

mod agents;
mod certificates;
mod tokens;

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
use serde_json::json;
use slotmesh_api::names;
use slotmesh_e2e::lookups::LookUps;
use slotmesh_e2e::stage::{Agent, NAMESPACE, OPERATOR_NAMESPACE, Stage};
use slotmesh_mesh::identity::Uid;
use slotmesh_transport::authority::Authority;

use crate::calm::Calm;
use crate::scene::delete_cluster;
use crate::{DEADLINE, Scene};

const MEMBERS: u8 = 4;
const OTHER: &str = "elsewhere";
/// Where strangers come from, unless they borrow an address.
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// What is known of a cluster, by its tenants and by whoever holds its keys.
pub struct Cluster {
    name: &'static str,
    uid: Uid,
    agents: Vec<Agent>,
    /// The trust ConfigMap.
    trust: BTreeMap<String, String>,
    roots: Vec<CertificateDer<'static>>,
    authority: Authority,
}

pub async fn play(stage: &mut Stage) -> Result<()> {
    let scene = Scene::set(stage, "honest", MEMBERS).await?;
    // Its agents run on the same nodes.
    stage.apply_cluster(OTHER, &json!({})).await?;
    stage.wait_ready(OTHER, MEMBERS.into()).await?;
    let honest = Cluster::load(stage, scene.name).await?;
    let other = Cluster::load(stage, OTHER).await?;

    let before = Calm::look(stage, &scene).await?;
    let look_ups = LookUps::start(&scene.agents);
    certificates::try_all(&honest, &other).await?;
    tokens::try_all(stage, &honest, &other).await?;
    agents::try_all(stage, &honest, &other).await?;
    let tally = look_ups.stop().await?;
    println!("  {tally}");
    tally.ensure_served()?;
    Calm::look(stage, &scene).await?.ensure_same_as(&before)?;
    println!("  meanwhile: the same epoch, members and incarnations, 0 verdicts");

    tokens::the_honest_one_is_admitted(stage, &other).await?;
    delete_cluster(stage, OTHER).await?;
    scene.strike(stage).await
}

impl Cluster {
    async fn load(stage: &Stage, name: &'static str) -> Result<Self> {
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
            name,
            uid: uid.parse()?,
            agents: stage.agents(name).await?,
            roots: roots?,
            authority: Authority::from_pem(&text("ca.crt")?, &text("ca.key")?)?,
            trust,
        })
    }

    /// Where agents join.
    fn operator(&self) -> Result<SocketAddr> {
        let lines = self.trust.get(names::TRUST_JOIN_ADDRESS);
        let first = lines.and_then(|lines| lines.lines().next());
        Ok(first.context("no join address")?.trim().parse()?)
    }

    /// The trust ConfigMap and a token as files, as a pod has them.
    fn files(&self, stage: &Stage, folder: &str, token: &str) -> Result<PathBuf> {
        let folder = stage.folder(folder)?;
        for (name, content) in &self.trust {
            std::fs::write(folder.join(name), content)?;
        }
        std::fs::write(folder.join("token"), token)?;
        Ok(folder)
    }
}

/// A token as the API server gives it to whoever may ask, bound to a pod (name, UID) or to nothing.
async fn request_token(
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
