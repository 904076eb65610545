//! Joining: from token and signing request to a certificate and the first map that lists this key.

mod route;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use quinn::ClientConfig;
use rustls_pki_types::CertificateDer;
use slotmesh_mesh::identity::Keypair;
use slotmesh_mesh::join::{JoinRequest, JoinResponse};
use slotmesh_mesh::map::MapError;
use slotmesh_mesh::signed::SignedMap;
use slotmesh_transport::endpoint::{Credentials, EndpointError};
use slotmesh_transport::identity::{IdentityError, signing_request};
use slotmesh_transport::join::{JoinError, Joining};
use thiserror::Error;

use crate::config::Config;
use crate::door::Door;
use crate::jitter::jittered;
use crate::metrics::Metrics;
use crate::trust::{Anchors, Trust, TrustError};
use crate::validity::Validity;

pub(crate) use route::Route;

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
    pub(crate) anchors: Anchors,
    pub(crate) validity: Validity,
    pub(crate) map: SignedMap,
}

/// Why an attempt came to nothing.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error(transparent)]
    Join(#[from] JoinError),
    #[error("cannot make a signing request: {0}")]
    Identity(#[from] IdentityError),
    #[error("the operator that answered leads no longer")]
    NotLeader { leader: Option<SocketAddr> },
    #[error("the trust ConfigMap names another CA or map key than this membership is of")]
    TrustReplaced,
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
    pub(crate) fn outcome(&self) -> &'static str {
        match self {
            Self::Trust(_) => "trust_missing",
            Self::Join(JoinError::NotLeader { .. }) | Self::NotLeader { .. } => "not_leader",
            Self::TrustReplaced => "trust_replaced",
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

    /// Whether the next operator is to be asked at once: this one does not lead and named another.
    pub(crate) fn is_to_be_followed(&self, route: &mut Route) -> bool {
        match self {
            Self::Join(JoinError::NotLeader { leader, .. }) => route.follow(Some(*leader)),
            Self::NotLeader { leader } => route.follow(*leader),
            _ => {
                route.start_over();
                false
            }
        }
    }

    /// What whoever reads the log can do.
    pub(crate) fn next_step(&self) -> &'static str {
        match self {
            Self::Trust(_) => "kubectl describe this pod shows whether its volumes are mounted",
            Self::Join(JoinError::NotLeader { .. }) | Self::NotLeader { .. } => {
                "another operator is about to lead; this agent tries again by itself"
            }
            Self::TrustReplaced => "this agent joins again by itself",
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
    let (mut pause, mut route, mut logged) = (PAUSE_MIN, Route::default(), BTreeSet::new());
    loop {
        let failure = match attempt(config, door, &mut route).await {
            Ok(joined) => {
                metrics.join_attempt("admitted");
                return joined;
            }
            Err(failure) => failure,
        };
        metrics.join_attempt(failure.outcome());
        if failure.is_to_be_followed(&mut route) {
            tracing::info!(cluster = config.cluster_name, "{failure}; asking there");
            continue;
        }
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
}

/// An operator that has certified this agent's key.
pub(crate) struct Knocked {
    pub(crate) joining: Joining,
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) anchors: Anchors,
}

/// Asks one operator to certify a key. Whom to trust and where to ask is read afresh.
pub(crate) async fn knock(
    config: &Config,
    door: &Door,
    route: &mut Route,
    keypair: &Keypair,
) -> Result<Knocked, Failure> {
    let trust = Trust::read(&config.trust_dir, &config.token_file)?;
    let request = JoinRequest {
        cluster: config.cluster_uid,
        pod_uid: config.pod_uid,
        token: trust.token,
        csr_der: signing_request(keypair, config.cluster_uid, config.pod_uid)?,
    };
    let operator = route.next(door.leader(), &trust.operators);
    let operator = operator.ok_or(Failure::Order)?;
    let roots = trust.anchors.roots.clone();
    let mut joining = Joining::start(config.pod_ip, operator, roots, &request).await?;
    let chain = match joining.next().await? {
        JoinResponse::Certificate { chain_der } => chain_der.into_iter().map(Into::into).collect(),
        other => return Err(not_admitted(other)),
    };
    Ok(Knocked {
        joining,
        chain,
        anchors: trust.anchors,
    })
}

async fn attempt(config: &Config, door: &Door, route: &mut Route) -> Result<Joined, Failure> {
    let keypair = new_key()?;
    let Knocked {
        mut joining,
        chain,
        anchors,
    } = knock(config, door, route, &keypair).await?;
    let validity = Validity::of(&chain, SystemTime::now())?;
    // Peers dial as soon as they have the map, which may be before it has come back to us.
    let credentials = Credentials {
        chain,
        keypair: keypair.clone(),
    };
    let (client, opened) = door.open(config.cluster_uid, anchors.roots.clone(), credentials)?;
    let map = match joining.next().await? {
        JoinResponse::Map(bytes) => {
            SignedMap::decode(&bytes, config.cluster_uid, &anchors.map_keys)?
        }
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
        anchors,
        validity,
        map,
    })
}

fn not_admitted(response: JoinResponse) -> Failure {
    match response {
        JoinResponse::Retry { after_ms, reason } => Failure::Retry {
            after: Duration::from_millis(after_ms.into()),
            reason,
        },
        JoinResponse::Refused { category, message } => Failure::Refused { category, message },
        JoinResponse::NotLeader { leader } => Failure::NotLeader { leader },
        JoinResponse::Certificate { .. } | JoinResponse::Map(_) => Failure::Order,
    }
}

/// A new key is a new member: made at each join, kept in memory only.
fn new_key() -> Result<Keypair, Failure> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| Failure::Randomness(error.to_string()))?;
    Ok(Keypair::from_seed(seed))
}
