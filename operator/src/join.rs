//! The join endpoint: one UDP port for every cluster that this operator leads.
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

use slotmesh_mesh::identity::{PublicKey, Uid};
use slotmesh_mesh::join::JoinResponse;
use slotmesh_mesh::signed::SignedMap;
use slotmesh_transport::authority::Authority;
use slotmesh_transport::endpoint::{Credentials, EndpointError};
use slotmesh_transport::join::{Certificates, Listener, Request};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::life::Candidate;
use crate::metrics::Metrics;
use crate::seam::{ClusterKey, Inventory, Kubernetes};

/// Requests of one cluster that are looked at at once; each costs two calls to the API server.
const REVIEWS_MAX: usize = 32;
/// Admissions that wait for a cell.
const ADMISSIONS_MAX: usize = 256;
/// How soon an agent asks again while the operator is busy.
const RETRY_BUSY_MS: u32 = 500;

/// What the endpoint tells a cell.
#[derive(Debug)]
pub enum Knock {
    /// An agent proved who it is; it waits for the first map that lists it.
    Admit {
        /// Who.
        candidate: Candidate,
        /// Where the map goes; closed when the agent is gone.
        reply: oneshot::Sender<SignedMap>,
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

/// A cluster that the endpoint serves.
#[derive(Clone, Debug)]
struct Registration {
    cluster: ClusterKey,
    authority: Arc<Authority>,
    inventory: watch::Receiver<Inventory>,
    knocks: mpsc::Sender<Knock>,
    reviews: Arc<Semaphore>,
}

/// Which clusters the endpoint serves; clones share one register.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    clusters: Arc<RwLock<BTreeMap<Uid, Registration>>>,
    certificates: Arc<Certificates>,
}

/// Serves a cluster until it is dropped.
#[derive(Debug)]
pub struct Registered {
    registry: Registry,
    cluster: Uid,
}

impl Registry {
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

/// The endpoint; dropping it ends it.
#[derive(Debug)]
pub struct Endpoint {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Endpoint {
    /// Listens for agents of the registered clusters.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn bind<K: Kubernetes>(
        address: SocketAddr,
        registry: Registry,
        kubernetes: Arc<K>,
        metrics: Metrics,
    ) -> Result<Self, EndpointError> {
        let listener = Listener::bind(address, registry.certificates.clone())?;
        let address = listener.address();
        let task = tokio::spawn(serve(listener, registry, kubernetes, metrics));
        Ok(Self { address, task })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve<K: Kubernetes>(
    mut listener: Listener,
    registry: Registry,
    kubernetes: Arc<K>,
    metrics: Metrics,
) {
    while let Some(request) = listener.next().await {
        let Some(registration) = registry.get(request.request.cluster) else {
            metrics.joins.with_label_values(&["unknown_cluster"]).inc();
            continue;
        };
        let (kubernetes, metrics) = (kubernetes.clone(), metrics.clone());
        tokio::spawn(async move {
            let outcome = answer(request, registration, kubernetes.as_ref()).await;
            metrics.joins.with_label_values(&[outcome]).inc();
        });
    }
}

/// Answers one request; says what came of it.
async fn answer<K: Kubernetes>(
    request: Request,
    registration: Registration,
    kubernetes: &K,
) -> &'static str {
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
        return "busy";
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
            return "later";
        }
        Err(admission::No::Never {
            pod,
            category,
            message,
        }) => {
            tracing::warn!(cluster = %registration.cluster.name, %remote, pod, category, message, "join refused");
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
            return "refused";
        }
    };
    let chain_der = match admission::certificate(&request, &registration.authority) {
        Ok(leaf) => vec![leaf],
        Err(message) => {
            let category = "BadSigningRequest".to_owned();
            responder
                .finish(&JoinResponse::Refused { category, message })
                .await;
            return "refused";
        }
    };
    if responder
        .send(&JoinResponse::Certificate { chain_der })
        .await
        .is_err()
    {
        return "gone";
    }
    let (reply, map) = oneshot::channel();
    let (uid, key) = (candidate.uid, candidate.key);
    if registration
        .knocks
        .send(Knock::Admit { candidate, reply })
        .await
        .is_err()
    {
        responder
            .finish(&retry(RETRY_BUSY_MS, "this operator no longer leads"))
            .await;
        return "later";
    }
    tokio::select! {
        map = map => match map {
            Ok(map) => {
                responder.finish(&JoinResponse::Map(map.encode())).await;
                "admitted"
            }
            Err(_) => {
                responder.finish(&retry(RETRY_BUSY_MS, "this operator no longer leads")).await;
                "later"
            }
        },
        () = responder.gone() => {
            let _ = registration.knocks.send(Knock::Withdraw { uid, key }).await;
            "gone"
        }
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
