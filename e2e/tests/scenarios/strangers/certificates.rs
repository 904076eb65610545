//! At an agent's mesh port, with certificates that do not belong there. TLS refuses all but the last,
//! and the agent counts each by its cause; the last is for the map to refuse.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use quinn::ConnectionError;
use slotmesh_e2e::stage::Agent;
use slotmesh_e2e::strangers::{Cluster, HERE, new_key};
use slotmesh_e2e::{http, wait};
use slotmesh_mesh::identity::Uid;
use slotmesh_mesh::join::JoinRequest;
use slotmesh_mesh::machine::CloseReason;
use slotmesh_transport::authority::{Authority, CERTIFICATE_LIFETIME};
use slotmesh_transport::endpoint::{Credentials, dialing_endpoint};
use slotmesh_transport::identity::{certificate_key, member_uri, server_name, signing_request};
use slotmesh_transport::join::Joining;
use slotmesh_transport::refusal::Refusal;
use slotmesh_transport::verifier::PeerVerifier;

use crate::DEADLINE;

/// A pod that nobody has seen.
const NOBODY: Uid = Uid::from_bytes([7; 16]);

pub async fn try_all(honest: &Cluster, other: &Cluster) -> Result<()> {
    let agent = &honest.agents[0];
    let before = refused(agent).await?;
    let mut expected: BTreeMap<&'static str, u64> = BTreeMap::new();
    for (what, credentials, cause) in cases(honest, other)? {
        let end = knock(agent, honest, &credentials).await?;
        let seen = Refusal::after_handshake(&end);
        ensure!(
            seen == Some(cause),
            "{what}: ended as {seen:?} ({end}), expected {cause:?}"
        );
        println!("  refused: {what}: {} ({end})", cause.category());
        *expected.entry(cause.category()).or_default() += 1;
    }
    let error = knock_to_join(agent, honest).await?;
    println!("  refused: the join protocol at the mesh port: OtherProtocol ({error})");
    *expected
        .entry(Refusal::OtherProtocol.category())
        .or_default() += 1;
    wait::until("the agent to count them", DEADLINE, async || {
        let mut now = refused(agent).await?;
        for (cause, count) in &before {
            *now.entry(cause.clone()).or_default() -= count;
        }
        now.retain(|_, count| *count > 0);
        let expected: BTreeMap<String, u64> = expected
            .iter()
            .map(|(cause, count)| ((*cause).to_owned(), *count))
            .collect();
        ensure!(now == expected, "counted {now:?}, expected {expected:?}");
        Ok(Some(()))
    })
    .await?;
    println!("  counted by {}: {expected:?}", agent.name);
    let end = knock(agent, honest, &dismissed(honest)?).await?;
    let closed = match &end {
        ConnectionError::ApplicationClosed(close) => u64::from(close.error_code),
        _ => anyhow::bail!("a member that the map does not list: {end}"),
    };
    ensure!(
        closed == u64::from(CloseReason::NotInMap.code()),
        "closed for another reason: {end}"
    );
    println!("  let go of: a certificate of this cluster that the map does not list: NotInMap");
    Ok(())
}

/// Certificates that end with TLS.
fn cases(honest: &Cluster, other: &Cluster) -> Result<Vec<(&'static str, Credentials, Refusal)>> {
    let now = SystemTime::now();
    let member: Uid = honest.agents[1].uid.parse()?;
    let other_member: Uid = other.agents[0].uid.parse()?;
    let stranger = Authority::generate(honest.uid, now)?;
    let days_ago = now - 3 * CERTIFICATE_LIFETIME;
    Ok(vec![
        (
            "a member's name, signed by another CA of the same name",
            issued(&stranger, honest.uid, member, now)?,
            Refusal::UnknownAuthority,
        ),
        (
            "a member's name, signed by itself",
            self_signed(honest.uid, member)?,
            Refusal::UnknownAuthority,
        ),
        (
            "a member's name, signed by the other cluster's CA",
            issued(&other.authority, honest.uid, member, now)?,
            Refusal::UnknownAuthority,
        ),
        (
            "a member of the other cluster, with its own CA",
            issued(&other.authority, other.uid, other_member, now)?,
            Refusal::UnfitCertificate,
        ),
        (
            "a certificate of this cluster that expired, of nobody whom the map lists",
            issued(&honest.authority, honest.uid, NOBODY, days_ago)?,
            Refusal::NotValidNow,
        ),
    ])
}

fn dismissed(honest: &Cluster) -> Result<Credentials> {
    issued(&honest.authority, honest.uid, NOBODY, SystemTime::now())
}

fn issued(authority: &Authority, cluster: Uid, pod: Uid, at: SystemTime) -> Result<Credentials> {
    let keypair = new_key()?;
    let request = signing_request(&keypair, cluster, pod)?;
    let (leaf, _) = authority.issue(&request, cluster, pod, at, CERTIFICATE_LIFETIME)?;
    Ok(Credentials {
        chain: vec![leaf],
        keypair,
    })
}

fn self_signed(cluster: Uid, pod: Uid) -> Result<Credentials> {
    let keypair = new_key()?;
    let mut parameters = rcgen::CertificateParams::default();
    let uri = member_uri(cluster, pod).try_into()?;
    parameters.subject_alt_names = vec![rcgen::SanType::URI(uri)];
    let certificate = parameters.self_signed(&certificate_key(&keypair)?)?;
    Ok(Credentials {
        chain: vec![certificate.der().clone()],
        keypair,
    })
}

/// Dials an agent, believing whatever it shows of its cluster; how the connection ends.
async fn knock(agent: &Agent, cluster: &Cluster, with: &Credentials) -> Result<ConnectionError> {
    let verifier = PeerVerifier::new(cluster.uid, cluster.roots.clone(), Arc::new(|_| true));
    let (endpoint, client) = dialing_endpoint(SocketAddr::new(HERE, 0), with, &verifier)?;
    let address = SocketAddr::new(agent.ip, slotmesh_api::names::PORT_MESH);
    let connecting = endpoint.connect_with(client, address, &server_name(cluster.uid))?;
    let ended = async {
        match connecting.await {
            // In TLS 1.3 the dialing side is done first; the other's answer ends the connection.
            Ok(connection) => connection.closed().await,
            Err(error) => error,
        }
    };
    tokio::time::timeout(Duration::from_secs(30), ended)
        .await
        .context("the agent lets a stranger stay")
}

async fn knock_to_join(agent: &Agent, cluster: &Cluster) -> Result<String> {
    let request = JoinRequest {
        cluster: cluster.uid,
        pod_uid: NOBODY,
        token: "none".to_owned(),
        csr_der: Vec::new(),
    };
    let address = SocketAddr::new(agent.ip, slotmesh_api::names::PORT_MESH);
    let started = Joining::start(HERE, address, cluster.roots.clone(), &request).await;
    let error = started
        .err()
        .context("a mesh port that speaks the join protocol")?;
    Ok(error.to_string())
}

/// Handshakes that an agent refused so far, by cause.
async fn refused(agent: &Agent) -> Result<BTreeMap<String, u64>> {
    const NAME: &str = r#"slotmesh_agent_handshakes_failed_total{cause=""#;
    let metrics = http::metrics(&format!("http://{}:7403/metrics", agent.ip)).await?;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let count = |value: f64| value.round() as u64;
    let of_cause = |(name, value): (&String, &f64)| {
        let cause = name.strip_prefix(NAME)?.strip_suffix("\"}")?;
        Some((cause.to_owned(), count(*value)))
    };
    Ok(metrics.iter().filter_map(of_cause).collect())
}
