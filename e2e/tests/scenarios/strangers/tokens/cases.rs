//! The requests that are refused, and why each is.

use std::net::IpAddr;

use anyhow::{Context, Result, bail, ensure};
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};
use slotmesh_api::names;
use slotmesh_e2e::stage::Stage;
use slotmesh_e2e::strangers::{Cluster, HERE, request_token};
use slotmesh_e2e::tokens::{TokenMint, claims_of};
use slotmesh_mesh::join::{JoinRequest, JoinResponse};

use super::Impostors;

/// One request that has to be refused.
#[derive(Clone)]
pub struct Case {
    /// What is tried.
    pub what: &'static str,
    pub from: IpAddr,
    pub request: JoinRequest,
    /// The refusal's category, and a part of what it says.
    pub category: &'static str,
    pub says: &'static str,
    /// The pod that the operator names: by its token as far as that proves one.
    pub pod: String,
}

impl Case {
    /// Asks; category and message of the refusal.
    pub async fn ask(&self, cluster: &Cluster) -> Result<(String, String)> {
        match cluster.ask(self.from, &self.request).await? {
            JoinResponse::Refused { category, message } => Ok((category, message)),
            JoinResponse::Retry { reason, .. } => bail!("put off instead of refused: {reason}"),
            JoinResponse::NotLeader { leader } => bail!("sent on to {leader:?}"),
            JoinResponse::Certificate { .. } | JoinResponse::Map(_) => bail!("it was admitted"),
        }
    }

    /// Asks, and has to be refused for the right reason; pod and category of the event.
    pub async fn refused(&self, cluster: &Cluster) -> Result<(String, String)> {
        let asked = self.ask(cluster).await;
        let (category, message) = asked.with_context(|| self.what.to_owned())?;
        ensure!(
            category == self.category && message.contains(self.says),
            "{}: refused as {category} ({message}), expected {} ({})",
            self.what,
            self.category,
            self.says
        );
        println!("  refused: {}: {category}: {message}", self.what);
        Ok((self.pod.clone(), category))
    }
}

/// All of them; the last is the one of the pod that was made by hand.
pub async fn token_cases(
    stage: &Stage,
    honest: &Cluster,
    other: &Cluster,
    impostors: &Impostors,
) -> Result<Vec<Case>> {
    let agent = &honest.agents[0];
    let own = Some((agent.name.as_str(), agent.uid.as_str()));
    let (account, audience) = (names::agent(&honest.name), honest.uid.to_string());
    let good = request_token(stage, &account, &audience, own).await?;
    let unproved = |what, token: String, says| {
        Ok::<_, anyhow::Error>(Case {
            what,
            from: agent.ip,
            request: honest.request(&agent.uid, token)?,
            category: "TokenRefused",
            says,
            pod: agent.uid.clone(),
        })
    };
    let elsewhere = request_token(stage, &account, "somebody-else", own).await?;
    let foreign = &other.agents[0];
    let foreign_pod = Some((foreign.name.as_str(), foreign.uid.as_str()));
    let foreign_account = names::agent(&other.name);
    let theirs = other.uid.to_string();
    let theirs = request_token(stage, &foreign_account, &theirs, foreign_pod).await?;
    let mut cases = vec![
        unproved(
            "garbage instead of a token",
            "garbage".into(),
            "invalid bearer token",
        )?,
        unproved("an expired token", expired(stage, &good)?, "expired")?,
        unproved("a token for another audience", elsewhere, "audience")?,
        unproved(
            "a token signed by a stranger",
            forged(&good)?,
            "cryptographic primitive",
        )?,
        unproved("a token of another cluster's agent", theirs, "audience")?,
    ];
    cases.extend(proved(stage, honest, other, &good).await?);
    for (pod, category, says, what) in [
        (
            &impostors.other_account,
            "WrongServiceAccount",
            "agents of this cluster run as",
            "a pod of another ServiceAccount",
        ),
        (
            &impostors.unlabelled,
            "WrongCluster",
            "does not name this cluster",
            "a pod with the agents' ServiceAccount and nothing else",
        ),
        (
            &impostors.by_hand,
            "WrongController",
            "not controlled by this cluster's DaemonSet",
            "a pod that looks like an agent and was made by hand",
        ),
    ] {
        let account = match category {
            "WrongServiceAccount" => "default".to_owned(),
            _ => account.clone(),
        };
        let bound = Some((pod.0.as_str(), pod.1.as_str()));
        let token = request_token(stage, &account, &audience, bound).await?;
        cases.push(Case {
            what,
            from: HERE,
            request: honest.request(&pod.1, token)?,
            category,
            says,
            pod: pod.0.clone(),
        });
    }
    Ok(cases)
}

/// Tokens that are good, for something else than what is asked.
async fn proved(stage: &Stage, honest: &Cluster, other: &Cluster, good: &str) -> Result<Vec<Case>> {
    let (agent, sibling) = (&honest.agents[0], &honest.agents[1]);
    let (account, audience) = (names::agent(&honest.name), honest.uid.to_string());
    let foreign = &other.agents[0];
    let foreign_pod = Some((foreign.name.as_str(), foreign.uid.as_str()));
    let foreign_account = names::agent(&other.name);
    let for_us = request_token(stage, &foreign_account, &audience, foreign_pod).await?;
    let unbound = request_token(stage, &account, &audience, None).await?;
    let case = |what, from, pod: &str, token: &str, category, says, named: &str| {
        Ok::<_, anyhow::Error>(Case {
            what,
            from,
            request: honest.request(pod, token.to_owned())?,
            category,
            says,
            pod: named.to_owned(),
        })
    };
    let (uid, name) = (agent.uid.as_str(), agent.name.as_str());
    let mut cases = vec![
        case(
            "a token that names no pod",
            agent.ip,
            uid,
            &unbound,
            "TokenWithoutPod",
            "names no pod",
            uid,
        )?,
        case(
            "another cluster's agent, with a token for this one",
            foreign.ip,
            &foreign.uid,
            &for_us,
            "WrongServiceAccount",
            "agents of this cluster run as",
            &foreign.name,
        )?,
        case(
            "a stolen token, from another address",
            HERE,
            uid,
            good,
            "WrongAddress",
            "127.0.0.1",
            name,
        )?,
        case(
            "a member's token in the name of another member",
            agent.ip,
            &sibling.uid,
            good,
            "WrongPod",
            "the request names",
            name,
        )?,
        case(
            "a token whose claim of a node is a lie",
            agent.ip,
            uid,
            &lying(stage, good)?,
            "WrongNode",
            "another node",
            name,
        )?,
    ];
    for (what, csr_der) in [
        (
            "a good token with a signing request that is none",
            vec![0; 8],
        ),
        ("a good token with a key that is not Ed25519", other_key()?),
    ] {
        let mut bad = case(what, agent.ip, uid, good, "BadSigningRequest", "", uid)?;
        bad.request.csr_der = csr_der;
        cases.push(bad);
    }
    Ok(cases)
}

/// The same claims, their time over, signed with the API server's own key.
fn expired(stage: &Stage, token: &str) -> Result<String> {
    let mut claims = claims_of(token)?;
    let issued = claims["iat"].as_i64().context("a token without iat")?;
    for (claim, before) in [("iat", 7200), ("nbf", 7200), ("exp", 3600)] {
        claims[claim] = json!(issued - before);
    }
    stage.plane.token_mint()?.sign(&claims)
}

/// The same claims, signed with a key of one's own.
fn forged(token: &str) -> Result<String> {
    TokenMint::stranger()?.sign(&claims_of(token)?)
}

/// The same claims but for the node, signed with the API server's own key.
fn lying(stage: &Stage, token: &str) -> Result<String> {
    let mut claims = claims_of(token)?;
    let node = claims["kubernetes.io"]["node"]["name"].as_str();
    ensure!(node.is_some(), "the token names no node: {claims}");
    claims["kubernetes.io"]["node"]["name"] = Value::from("elsewhere-1");
    stage.plane.token_mint()?.sign(&claims)
}

/// A signing request with an ECDSA key.
fn other_key() -> Result<Vec<u8>> {
    let request = CertificateParams::default().serialize_request(&KeyPair::generate()?)?;
    Ok(request.der().to_vec())
}
