//! Joining: from token and signing request to a certificate and the first map that lists this key.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quinn::{ClientConfig, Endpoint};
use rustls_pki_types::CertificateDer;
use slotmesh_mesh::identity::{Keypair, PublicKey, Uid};
use slotmesh_mesh::join::{JoinRequest, JoinResponse};
use slotmesh_mesh::machine::PeerIdentity;
use slotmesh_mesh::map::MapError;
use slotmesh_mesh::signed::SignedMap;
use slotmesh_transport::endpoint::{Credentials, EndpointError, accept_as};
use slotmesh_transport::identity::{IdentityError, signing_request};
use slotmesh_transport::join::{JoinError, Joining};
use slotmesh_transport::verifier::PeerVerifier;
use thiserror::Error;

use crate::config::Config;
use crate::metrics::Metrics;
use crate::snapshot::Shared;
use crate::trust::{Trust, TrustError};

/// Pause after a failed attempt, at first; it doubles.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Pause after a refusal: nothing changes quickly.
const PAUSE_REFUSED: Duration = Duration::from_secs(5);
/// Longest pause that the operator may ask for.
const RETRY_MAX: Duration = Duration::from_secs(30);
/// Distinct causes of one join's delay that are logged.
const CAUSES_MAX: usize = 32;

/// What a join yields.
#[derive(Debug)]
pub(crate) struct Joined {
    pub(crate) keypair: Keypair,
    /// The endpoint accepts with the new certificate already; this dials with it.
    pub(crate) client: ClientConfig,
    pub(crate) map_keys: Vec<PublicKey>,
    pub(crate) map: SignedMap,
}

/// The agent's mesh port, bound once, which opens with each certificate.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) endpoint: Endpoint,
    pub(crate) snapshots: Shared,
    /// What the port shows while nothing else is tried: the certificate of the membership in force.
    shown: Mutex<Option<Shown>>,
}

#[derive(Clone, Debug)]
struct Shown {
    credentials: Credentials,
    verifier: Arc<PeerVerifier>,
}

impl Door {
    pub(crate) fn new(endpoint: Endpoint, snapshots: Shared) -> Self {
        Self {
            endpoint,
            snapshots,
            shown: Mutex::new(None),
        }
    }

    /// Shows a new certificate; the one before is back when the attempt comes to nothing.
    fn open(
        &self,
        cluster: Uid,
        roots: Vec<CertificateDer<'static>>,
        credentials: Credentials,
    ) -> Result<(ClientConfig, Opened<'_>), EndpointError> {
        // Whoever the map in force lists may show an expired certificate.
        let listed = self.snapshots.clone();
        let is_listed = move |peer: &PeerIdentity| match peer {
            PeerIdentity::Operator => false,
            PeerIdentity::Agent { uid, key } => listed.load().as_ref().is_some_and(|snapshot| {
                snapshot
                    .map
                    .member(*uid)
                    .is_some_and(|member| member.key == *key)
            }),
        };
        let verifier = PeerVerifier::new(cluster, roots, Arc::new(is_listed));
        let client = accept_as(&self.endpoint, &credentials, &verifier)?;
        let new = Some(Shown {
            credentials,
            verifier,
        });
        Ok((client, Opened { door: self, new }))
    }
}

/// A door opened for an attempt.
struct Opened<'a> {
    door: &'a Door,
    new: Option<Shown>,
}

impl Opened<'_> {
    /// The attempt succeeded: the new certificate stays.
    fn keep(mut self) {
        let mut shown = self
            .door
            .shown
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *shown = self.new.take();
    }
}

impl Drop for Opened<'_> {
    fn drop(&mut self) {
        if self.new.is_none() {
            return;
        }
        let shown = self
            .door
            .shown
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = shown.as_ref()
            && let Err(error) =
                accept_as(&self.door.endpoint, &before.credentials, &before.verifier)
        {
            tracing::error!(%error, "the certificate in force cannot be shown again");
        }
    }
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
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    #[error("the operator sent a map that does not list this agent's key")]
    NotListed,
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
            Self::NotListed
            | Self::Identity(_)
            | Self::Endpoint(_)
            | Self::Order
            | Self::Randomness(_) => "error",
        }
    }

    /// What whoever reads the log can do.
    fn next_step(&self) -> &'static str {
        match self {
            Self::Trust(_) => "kubectl describe this pod shows whether its volumes are mounted",
            Self::Join(JoinError::NotTrusted { .. }) => {
                "is another operator at that address, or was the cluster's CA replaced? The trust ConfigMap is read again at each attempt"
            }
            Self::Join(_) => {
                "does the operator run, and do network policies let this pod reach its 7401/udp?"
            }
            Self::Retry { .. } => "this agent tries again by itself",
            Self::Refused { .. } => {
                "kubectl describe the GossipCluster shows the event JoinRefused; this agent tries again by itself"
            }
            Self::Map(_) => "the operator's log tells whether its signing key was replaced",
            Self::NotListed
            | Self::Identity(_)
            | Self::Endpoint(_)
            | Self::Order
            | Self::Randomness(_) => {
                "if it lasts, this is a defect: please report it with this line"
            }
        }
    }
}

/// Joins, however long it takes. Each distinct cause of delay is logged once. May be dropped at any
/// time: the operator then forgets the request, and the port shows the certificate it showed before.
pub(crate) async fn join(config: &Config, door: &Door, metrics: &Metrics) -> Joined {
    let mut pause = PAUSE_MIN;
    let mut logged = BTreeSet::new();
    for attempt in 0_usize.. {
        let failure = match attempt_once(config, door, attempt).await {
            Ok(joined) => {
                metrics.join_attempt("admitted");
                return joined;
            }
            Err(failure) => failure,
        };
        metrics.join_attempt(failure.outcome());
        let cause = failure.to_string();
        if logged.len() < CAUSES_MAX && !logged.contains(&cause) {
            let (outcome, next_step) = (failure.outcome(), failure.next_step());
            tracing::warn!(
                cluster = config.cluster_name,
                outcome,
                next_step,
                "not joined yet: {cause}"
            );
            logged.insert(cause);
        }
        let wait = match failure {
            Failure::Retry { after, .. } => after.min(RETRY_MAX),
            Failure::Refused { .. } => PAUSE_REFUSED,
            _ => {
                let this = pause;
                pause = (pause * 2).min(PAUSE_MAX);
                this
            }
        };
        tokio::time::sleep(jittered(wait)).await;
    }
    std::future::pending().await
}

async fn attempt_once(config: &Config, door: &Door, attempt: usize) -> Result<Joined, Failure> {
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
    // Peers dial as soon as they have the map, which may be before it has come back to us.
    let credentials = Credentials {
        chain,
        keypair: keypair.clone(),
    };
    let (client, opened) = door.open(config.cluster_uid, trust.roots, credentials)?;
    let map = match joining.next().await? {
        JoinResponse::Map(bytes) => SignedMap::decode(&bytes, config.cluster_uid, &trust.map_keys)?,
        other => return Err(not_admitted(other)),
    };
    if map.map().member(config.pod_uid).map(|member| member.key) != Some(keypair.public()) {
        return Err(Failure::NotListed);
    }
    opened.keep();
    // The goodbye to the operator must not hold up the first beats.
    tokio::spawn(joining.finish());
    Ok(Joined {
        keypair,
        client,
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
