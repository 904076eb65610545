//! The join port: one UDP port for every cluster. It is open for as long as the process lives: whoever
//! leads answers there, whoever does not names the leader.
//!
//! ```text
//!   agent ── token, signing request ──▶ TokenReview ─▶ live pod ─▶ certificate ─▶ cell ─▶ first map
//! ```
//!
//! The token proves which pod asks; the pod, as it is *now* and not as a cache remembers it, has to
//! be one of this cluster's DaemonSet, on the node and at the address that the agent claims. (A review
//! of a token is cached by the API server for 10 s after its pod is gone.)

mod admission;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use slotmesh_mesh::identity::{PublicKey, Uid};
use slotmesh_mesh::join::JoinResponse;
use slotmesh_mesh::signed::SignedMap;
use slotmesh_transport::authority::{Authority, CERTIFICATE_LIFETIME};
use slotmesh_transport::endpoint::{Credentials, EndpointError};
use slotmesh_transport::join::{Certificates, Listener, Request, Responder};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::life::Candidate;
use crate::metrics::Metrics;
use crate::seam::{ClusterKey, Inventory, Kubernetes};

/// Requests of one cluster that are looked at at once; each costs two calls to the API server.
const REVIEWS_MAX: usize = 32;
/// Admissions that wait for a cell.
const ADMISSIONS_MAX: usize = 256;
/// Time for the last answers to be read when the process ends.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);
/// How soon an agent asks again while the operator is busy.
const RETRY_BUSY_MS: u32 = 500;

/// What a cell answers an agent that proved who it is.
#[derive(Debug)]
pub enum Admission {
    /// It is listed: the first map that does so.
    Listed(SignedMap),
    /// The map lists that key already. The agent has its new certificate; nothing else changes.
    Renewed,
}

/// What the port tells a cell.
#[derive(Debug)]
pub enum Knock {
    /// An agent proved who it is; it waits for the first map that lists it.
    Admit {
        /// Who.
        candidate: Candidate,
        /// Where the answer goes; closed when the agent is gone.
        reply: oneshot::Sender<Admission>,
    },
    /// An agent gave up waiting.
    Withdraw {
        /// Its pod.
        uid: Uid,
        /// Its key.
        key: PublicKey,
    },
    /// An agent was refused.
    Refused {
        /// Its pod, as far as it is known.
        pod: String,
        /// Stable category.
        category: String,
        /// Why, and what to do.
        message: String,
    },
}

/// A cluster that the port serves.
#[derive(Clone, Debug)]
struct Registration {
    cluster: ClusterKey,
    authority: Arc<Authority>,
    inventory: watch::Receiver<Inventory>,
    knocks: mpsc::Sender<Knock>,
    reviews: Arc<Semaphore>,
}

/// Which clusters the port serves; clones share one register.
#[derive(Clone, Debug)]
pub struct Registry {
    clusters: Arc<RwLock<BTreeMap<Uid, Registration>>>,
    certificates: Arc<Certificates>,
    lifetime: Duration,
}

impl Default for Registry {
    fn default() -> Self {
        Self::issuing(CERTIFICATE_LIFETIME)
    }
}

/// Serves a cluster until it is dropped.
#[derive(Debug)]
pub struct Registered {
    registry: Registry,
    cluster: Uid,
}

impl Registry {
    /// Serves nobody yet; certificates that are issued live that long.
    #[must_use]
    pub fn issuing(lifetime: Duration) -> Self {
        Self {
            clusters: Arc::default(),
            certificates: Arc::default(),
            lifetime,
        }
    }

    /// How long certificates live.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// Serves a cluster; its agents' requests come out of the receiver.
    ///
    /// # Errors
    /// When the operator's certificate cannot be used.
    pub fn register(
        &self,
        cluster: &ClusterKey,
        authority: Arc<Authority>,
        credentials: &Credentials,
        inventory: watch::Receiver<Inventory>,
    ) -> Result<(Registered, mpsc::Receiver<Knock>), EndpointError> {
        self.certificates.insert(cluster.uid, credentials)?;
        let (knocks, receiver) = mpsc::channel(ADMISSIONS_MAX);
        let reviews = Arc::new(Semaphore::new(REVIEWS_MAX));
        let registration = Registration {
            cluster: cluster.clone(),
            authority,
            inventory,
            knocks,
            reviews,
        };
        let mut clusters = self
            .clusters
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        clusters.insert(cluster.uid, registration);
        Ok((
            Registered {
                registry: self.clone(),
                cluster: cluster.uid,
            },
            receiver,
        ))
    }

    fn get(&self, cluster: Uid) -> Option<Registration> {
        self.clusters
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&cluster)
            .cloned()
    }
}

impl Registered {
    /// Shows another certificate from now on.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn renew(&self, credentials: &Credentials) -> Result<(), EndpointError> {
        self.registry.certificates.insert(self.cluster, credentials)
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut clusters = self
            .registry
            .clusters
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        clusters.remove(&self.cluster);
        self.registry.certificates.remove(self.cluster);
    }
}

/// The join port of this process.
#[derive(Debug)]
pub struct Port {
    listener: Listener,
    registry: Registry,
    /// Where another leader answers joins.
    leader: watch::Receiver<Option<SocketAddr>>,
    metrics: Metrics,
    /// Bounded by the joins that the listener lets in at once.
    answers: JoinSet<()>,
}

impl Port {
    /// Listens.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn bind(
        address: SocketAddr,
        registry: Registry,
        leader: watch::Receiver<Option<SocketAddr>>,
        metrics: Metrics,
    ) -> Result<Self, EndpointError> {
        Ok(Self {
            listener: Listener::bind(address, registry.certificates.clone())?,
            registry,
            leader,
            metrics,
            answers: JoinSet::new(),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// Answers agents of the registered clusters, for as long as this operator leads. Dropped when it
    /// leads no longer: requests under way are then sent to the next leader.
    pub async fn lead<K: Kubernetes>(&mut self, kubernetes: &Arc<K>) {
        self.point_to(None);
        loop {
            tokio::select! {
                request = self.listener.next() => match request {
                    Some(request) => self.answer(request, kubernetes),
                    None => return,
                },
                Some(_) = self.answers.join_next() => {}
            }
        }
    }

    /// Names the leader to whoever asks, for as long as another operator leads, or none.
    pub async fn follow(&mut self) {
        let mut leader = self.leader.clone();
        leader.mark_changed();
        loop {
            tokio::select! {
                Ok(()) = leader.changed() => {
                    let now = *leader.borrow_and_update();
                    self.point_to(now);
                }
                request = self.listener.next() => match request {
                    Some(request) => self.refer(request),
                    None => return,
                },
                Some(_) = self.answers.join_next() => {}
            }
        }
    }

    /// Gives answers under way a moment to be read, and closes.
    pub async fn close(mut self) {
        let drained = async { while self.answers.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN_TIMEOUT, drained).await.is_err() {
            tracing::warn!(left = self.answers.len(), "joins under way are broken off");
        }
        self.listener.close().await;
    }

    fn point_to(&self, leader: Option<SocketAddr>) {
        if let Err(error) = self.registry.certificates.point_to(leader) {
            tracing::error!(%error, "agents are not sent to the leader; they find it by themselves");
        }
    }

    fn answer<K: Kubernetes>(&mut self, request: Request, kubernetes: &Arc<K>) {
        let Some(registration) = self.registry.get(request.request.cluster) else {
            return self.refer(request);
        };
        let (kubernetes, metrics) = (kubernetes.clone(), self.metrics.clone());
        let (leader, lifetime) = (self.leader.clone(), self.registry.lifetime);
        self.answers.spawn(async move {
            let outcome = answer(
                request,
                registration,
                kubernetes.as_ref(),
                lifetime,
                &leader,
            );
            let outcome = outcome.await;
            metrics.joins.with_label_values(&[outcome.name]).inc();
            if let Some(purpose) = outcome.certificate {
                metrics.certificates.with_label_values(&[purpose]).inc();
            }
        });
    }

    fn refer(&mut self, request: Request) {
        self.metrics.joins.with_label_values(&["not_leader"]).inc();
        let elsewhere = not_leader(&self.leader);
        self.answers
            .spawn(async move { request.responder.finish(&elsewhere).await });
    }
}

/// What came of a request.
#[derive(Clone, Copy, Debug)]
struct Outcome {
    /// Metric label.
    name: &'static str,
    /// What a certificate was issued for.
    certificate: Option<&'static str>,
}

impl Outcome {
    const fn without_certificate(name: &'static str) -> Self {
        Self {
            name,
            certificate: None,
        }
    }

    const fn certified(name: &'static str) -> Self {
        Self {
            name,
            certificate: Some("join"),
        }
    }
}

/// Answers one request; says what came of it.
async fn answer<K: Kubernetes>(
    request: Request,
    registration: Registration,
    kubernetes: &K,
    lifetime: Duration,
    leader: &watch::Receiver<Option<SocketAddr>>,
) -> Outcome {
    let Request {
        request,
        remote,
        mut responder,
    } = request;
    // Whoever comes while all reviewers are busy asks again: a flood of bad tokens holds nobody up.
    let Ok(permit) = registration.reviews.clone().try_acquire_owned() else {
        responder
            .finish(&retry(RETRY_BUSY_MS, "many agents join at once"))
            .await;
        return Outcome::without_certificate("busy");
    };
    let daemon_set = registration.inventory.borrow().daemon_set_uid;
    let admitted = admission::admit(
        &request,
        remote.ip(),
        &registration.cluster,
        daemon_set,
        kubernetes,
    )
    .await;
    drop(permit);
    let candidate = match admitted {
        Ok(candidate) => candidate,
        Err(admission::No::Later { after_ms, reason }) => {
            responder.finish(&retry(after_ms, &reason)).await;
            return Outcome::without_certificate("later");
        }
        Err(no @ admission::No::Never { .. }) => {
            return refuse(no, remote, &registration, responder).await;
        }
    };
    let chain_der = match admission::certificate(&request, &registration.authority, lifetime) {
        Ok(leaf) => vec![leaf],
        Err(message) => {
            let no = admission::No::Never {
                pod: candidate.name,
                category: "BadSigningRequest",
                message,
            };
            return refuse(no, remote, &registration, responder).await;
        }
    };
    if responder
        .send(&JoinResponse::Certificate { chain_der })
        .await
        .is_err()
    {
        return Outcome::certified("gone");
    }
    let (reply, admission) = oneshot::channel();
    let (uid, key) = (candidate.uid, candidate.key);
    // Who is told nothing finds its own channel closed below.
    let _ = registration
        .knocks
        .send(Knock::Admit { candidate, reply })
        .await;
    tokio::select! {
        admission = admission => match admission {
            Ok(Admission::Listed(map)) => {
                responder.finish(&JoinResponse::Map(map.encode())).await;
                Outcome::certified("admitted")
            }
            Ok(Admission::Renewed) => {
                // It goes when it has read its certificate.
                let _ = tokio::time::timeout(DRAIN_TIMEOUT, responder.gone()).await;
                Outcome { name: "renewed", certificate: Some("renewal") }
            }
            Err(_) if !registration.knocks.is_closed() => {
                responder.finish(&retry(RETRY_BUSY_MS, "many agents join at once")).await;
                Outcome::certified("busy")
            }
            // The cell is gone: this operator leads no longer.
            Err(_) => {
                responder.finish(&not_leader(leader)).await;
                Outcome::certified("not_leader")
            }
        },
        () = responder.gone() => {
            let _ = registration.knocks.send(Knock::Withdraw { uid, key }).await;
            Outcome::certified("gone")
        }
    }
}

/// Says no: to the agent, in the log, and as an event.
async fn refuse(
    no: admission::No,
    remote: SocketAddr,
    registration: &Registration,
    responder: Responder,
) -> Outcome {
    let admission::No::Never {
        pod,
        category,
        message,
    } = no
    else {
        return Outcome::without_certificate("later");
    };
    let cluster = &registration.cluster;
    tracing::warn!(%cluster, %remote, pod, category, message, "join refused");
    let knock = Knock::Refused {
        pod,
        category: category.to_owned(),
        message: message.clone(),
    };
    // A full queue loses a note, not an agent.
    let _ = registration.knocks.try_send(knock);
    responder
        .finish(&JoinResponse::Refused {
            category: category.to_owned(),
            message,
        })
        .await;
    Outcome::without_certificate("refused")
}

fn not_leader(leader: &watch::Receiver<Option<SocketAddr>>) -> JoinResponse {
    JoinResponse::NotLeader {
        leader: *leader.borrow(),
    }
}

fn retry(after_ms: u32, reason: &str) -> JoinResponse {
    JoinResponse::Retry {
        after_ms,
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests;
