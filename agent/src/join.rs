//! Joining: from token and signing request to a certificate and the first map that lists this key.

use std::net::SocketAddr;
use std::time::Duration;

use slotmesh_mesh::identity::{Keypair, PublicKey};
use slotmesh_mesh::join::{JoinRequest, JoinResponse};
use slotmesh_mesh::map::MapError;
use slotmesh_mesh::signed::SignedMap;
use slotmesh_transport::endpoint::Credentials;
use slotmesh_transport::identity::{IdentityError, signing_request};
use slotmesh_transport::join::{JoinError, Joining};
use thiserror::Error;

use crate::config::Config;
use crate::metrics::Metrics;
use crate::trust::{Trust, TrustError};

/// Pause after a failed attempt, at first; it doubles.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Pause after a refusal: nothing changes quickly.
const PAUSE_REFUSED: Duration = Duration::from_secs(5);
/// Longest pause that the operator may ask for.
const RETRY_MAX: Duration = Duration::from_secs(30);

/// What a join yields.
#[derive(Debug)]
pub(crate) struct Joined {
    pub(crate) credentials: Credentials,
    pub(crate) roots: Vec<rustls_pki_types::CertificateDer<'static>>,
    pub(crate) map_keys: Vec<PublicKey>,
    pub(crate) map: SignedMap,
}

/// Why an attempt came to nothing.
#[derive(Debug, Error)]
enum Failure {
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error(transparent)]
    Join(#[from] JoinError),
    #[error("cannot make a signing request: {0}")]
    Identity(#[from] IdentityError),
    #[error("the operator asks to try again: {reason}")]
    Retry { after: Duration, reason: String },
    #[error("the operator refuses this agent ({category}): {message}")]
    Refused { category: String, message: String },
    #[error(
        "the operator sent a map that cannot be used: {0}; is the trust ConfigMap that of this cluster?"
    )]
    Map(#[from] MapError),
    #[error("the operator answered out of order")]
    Order,
    #[error("no randomness: {0}")]
    Randomness(String),
}

impl Failure {
    /// Stable category: metric label.
    fn outcome(&self) -> &'static str {
        match self {
            Self::Trust(_) => "trust_missing",
            Self::Join(JoinError::NotTrusted { .. }) => "operator_not_trusted",
            Self::Join(_) => "operator_unreachable",
            Self::Retry { .. } => "retry",
            Self::Refused { .. } => "refused",
            Self::Map(_) => "bad_map",
            Self::Identity(_) | Self::Order | Self::Randomness(_) => "error",
        }
    }
}

/// Joins, however long it takes. Each distinct cause of delay is logged once.
pub(crate) async fn join(config: &Config, metrics: &Metrics) -> Joined {
    let mut pause = PAUSE_MIN;
    let mut last_cause = String::new();
    for attempt in 0_usize.. {
        let failure = match attempt_once(config, attempt).await {
            Ok(joined) => {
                metrics.join_attempt("admitted");
                return joined;
            }
            Err(failure) => failure,
        };
        metrics.join_attempt(failure.outcome());
        let cause = failure.to_string();
        if cause != last_cause {
            tracing::warn!(cluster = config.cluster_name, "not joined yet: {cause}");
            last_cause = cause;
        }
        let wait = match failure {
            Failure::Retry { after, .. } => after.min(RETRY_MAX),
            Failure::Refused { .. } => PAUSE_REFUSED,
            _ => {
                pause = (pause * 2).min(PAUSE_MAX);
                pause
            }
        };
        tokio::time::sleep(jittered(wait)).await;
    }
    std::future::pending().await
}

async fn attempt_once(config: &Config, attempt: usize) -> Result<Joined, Failure> {
    let trust = Trust::read(&config.trust_dir, &config.token_file)?;
    let keypair = new_key()?;
    let request = JoinRequest {
        cluster: config.cluster_uid,
        pod_uid: config.pod_uid,
        token: trust.token.clone(),
        csr_der: signing_request(&keypair, config.cluster_uid, config.pod_uid)?,
    };
    let operator = operator_for(&trust.operators, attempt).ok_or(Failure::Order)?;
    let mut joining =
        Joining::start(config.pod_ip, operator, trust.roots.clone(), &request).await?;
    let chain = match joining.next().await? {
        JoinResponse::Certificate { chain_der } => chain_der.into_iter().map(Into::into).collect(),
        other => return Err(not_admitted(other)),
    };
    let map = match joining.next().await? {
        JoinResponse::Map(bytes) => SignedMap::decode(&bytes, config.cluster_uid, &trust.map_keys)?,
        other => return Err(not_admitted(other)),
    };
    joining.finish().await;
    let credentials = Credentials { chain, keypair };
    Ok(Joined {
        credentials,
        roots: trust.roots,
        map_keys: trust.map_keys,
        map,
    })
}

/// The operators in turn, first the first.
fn operator_for(operators: &[SocketAddr], attempt: usize) -> Option<SocketAddr> {
    operators
        .get(attempt.checked_rem(operators.len())?)
        .copied()
}

fn not_admitted(response: JoinResponse) -> Failure {
    match response {
        JoinResponse::Retry { after_ms, reason } => Failure::Retry {
            after: Duration::from_millis(after_ms.into()),
            reason,
        },
        JoinResponse::Refused { category, message } => Failure::Refused { category, message },
        JoinResponse::Certificate { .. } | JoinResponse::Map(_) => Failure::Order,
    }
}

/// A new key is a new member: made at each join, kept in memory only.
fn new_key() -> Result<Keypair, Failure> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| Failure::Randomness(error.to_string()))?;
    Ok(Keypair::from_seed(seed))
}

/// Up to a quarter more, so that agents that start together do not knock together.
fn jittered(wait: Duration) -> Duration {
    let random = getrandom::u32().unwrap_or(0);
    wait + wait / 4 * (random % 256) / 256
}
