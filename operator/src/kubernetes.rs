//! [`Kubernetes`] against the real API server. Each call has a timeout of its own: kube repeats
//! some answers up to 15 times.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{DeleteParams, ListParams, PostParams, Preconditions};
use kube::{Api, Client, ResourceExt};
use slotmesh_api::GossipCell;
use slotmesh_api::names::{FIELD_MANAGER_MAP, LABEL_CLUSTER_UID};
use slotmesh_mesh::identity::Uid;
use slotmesh_mesh::map::Map;

use crate::inventory::{Nodes, pod_facts};
use crate::lease::Tenure;
use crate::record;
use crate::seam::{
    ApiFailure, ClusterKey, ClusterKeys, Kubernetes, PodFacts, RecordFailure, RecordVersion,
    Recorded, ReviewFailure, TokenFacts,
};

const CALL_TIMEOUT: Duration = Duration::from_secs(5);
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";
const NODE_NAME: &str = "authentication.kubernetes.io/node-name";

/// What the record of a cluster is written with.
#[derive(Clone, Debug)]
pub struct RecordContext {
    /// Controller reference to the cluster.
    pub owner: OwnerReference,
    /// Holds the seal key.
    pub keys: Arc<ClusterKeys>,
}

/// The API server, as the mesh half sees it.
#[derive(Clone)]
pub struct ApiServer {
    client: Client,
    tenure: Tenure,
    nodes: Arc<RwLock<Nodes>>,
    records: Arc<RwLock<BTreeMap<Uid, RecordContext>>>,
}

impl std::fmt::Debug for ApiServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiServer")
            .field("tenure", &self.tenure)
            .finish_non_exhaustive()
    }
}

impl ApiServer {
    /// Writes only while the tenure lasts.
    #[must_use]
    pub fn new(client: Client, tenure: Tenure) -> Self {
        Self {
            client,
            tenure,
            nodes: Arc::default(),
            records: Arc::default(),
        }
    }

    /// Nodes, from which zones and capacities are filled in.
    pub fn nodes(&self) -> Arc<RwLock<Nodes>> {
        self.nodes.clone()
    }

    /// What the record of a cluster is written with, from now on.
    pub fn set_record_context(&self, cluster: Uid, context: RecordContext) {
        self.records
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(cluster, context);
    }

    /// A cluster is gone.
    pub fn forget(&self, cluster: Uid) {
        self.records
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&cluster);
    }

    /// The highest era of a cluster's records.
    ///
    /// # Errors
    /// When the API server fails us.
    pub async fn highest_era(&self, cluster: &ClusterKey) -> Result<u32, RecordFailure> {
        let records = self.records_of(cluster).await?;
        let eras = records.iter().map(|record| record.spec.era);
        Ok(u32::try_from(eras.max().unwrap_or(0)).unwrap_or(0))
    }

    /// Seals every record below that era anew, because the key that sealed it is lost. Each by
    /// compare-and-swap; one that is done is left alone, so whoever is interrupted does it again.
    ///
    /// # Errors
    /// When the API server fails us, or a record is not sound.
    pub async fn reseal(&self, cluster: &ClusterKey, era: u32) -> Result<(), RecordFailure> {
        let seal = &self.context(cluster.uid)?.keys.seal;
        let cells: Api<GossipCell> = Api::namespaced(self.client.clone(), &cluster.namespace);
        let parameters = PostParams {
            field_manager: Some(FIELD_MANAGER_MAP.to_owned()),
            ..PostParams::default()
        };
        for record in self.records_of(cluster).await? {
            if u32::try_from(record.spec.era).is_ok_and(|found| found >= era) {
                continue;
            }
            let object = record::reseal(cluster, &record, era, seal)?;
            self.tenure
                .check()
                .map_err(|error| RecordFailure::Unavailable(error.to_string()))?;
            let name = record.name_any();
            let write = cells.replace(&name, &parameters, &object);
            in_time(tokio::time::timeout(CALL_TIMEOUT, write).await)?;
            tracing::warn!(%cluster, cell = name, era, epoch = object.spec.epoch, "the record is sealed with a new key: the loss of the old one was accepted");
        }
        Ok(())
    }

    async fn records_of(&self, cluster: &ClusterKey) -> Result<Vec<GossipCell>, RecordFailure> {
        let cells: Api<GossipCell> = Api::namespaced(self.client.clone(), &cluster.namespace);
        let selector = format!("{LABEL_CLUSTER_UID}={}", cluster.uid);
        let parameters = ListParams::default().labels(&selector);
        let listed = tokio::time::timeout(CALL_TIMEOUT, cells.list(&parameters)).await;
        Ok(in_time(listed)?.items)
    }

    fn context(&self, cluster: Uid) -> Result<RecordContext, RecordFailure> {
        let records = self.records.read().unwrap_or_else(PoisonError::into_inner);
        let gone =
            || RecordFailure::Unavailable("this operator no longer serves the cluster".into());
        records.get(&cluster).cloned().ok_or_else(gone)
    }
}

impl Kubernetes for ApiServer {
    async fn review_token(&self, token: &str, audience: Uid) -> Result<TokenFacts, ReviewFailure> {
        let review = TokenReview {
            spec: TokenReviewSpec {
                token: Some(token.to_owned()),
                audiences: Some(vec![audience.to_string()]),
            },
            ..TokenReview::default()
        };
        let reviews: Api<TokenReview> = Api::all(self.client.clone());
        let parameters = PostParams::default();
        let call = tokio::time::timeout(CALL_TIMEOUT, reviews.create(&parameters, &review));
        let reviewed = match call.await {
            Ok(Ok(reviewed)) => reviewed,
            Ok(Err(error)) => return Err(ReviewFailure::Unavailable(error.to_string())),
            Err(_) => return Err(ReviewFailure::Unavailable("no answer in time".into())),
        };
        token_facts(reviewed, audience)
    }

    async fn live_pod(&self, namespace: &str, name: &str) -> Result<Option<PodFacts>, ApiFailure> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let pod = match tokio::time::timeout(CALL_TIMEOUT, pods.get_opt(name)).await {
            Ok(Ok(pod)) => pod,
            Ok(Err(error)) => return Err(ApiFailure(error.to_string())),
            Err(_) => return Err(ApiFailure("no answer in time".into())),
        };
        let nodes = self.nodes.read().unwrap_or_else(PoisonError::into_inner);
        Ok(pod.and_then(|pod| pod_facts(&pod, &nodes)))
    }

    async fn list_records(&self, cluster: &ClusterKey) -> Result<BTreeSet<String>, RecordFailure> {
        let cells: Api<GossipCell> = Api::namespaced(self.client.clone(), &cluster.namespace);
        let selector = format!("{LABEL_CLUSTER_UID}={}", cluster.uid);
        let parameters = ListParams::default().labels(&selector);
        let listed = tokio::time::timeout(CALL_TIMEOUT, cells.list_metadata(&parameters)).await;
        let listed = in_time(listed)?;
        // A label proves nothing; whoever reads a record looks at its seal.
        Ok(listed.items.iter().map(ResourceExt::name_any).collect())
    }

    async fn read_record(
        &self,
        cluster: &ClusterKey,
        cell: &str,
    ) -> Result<Option<Recorded>, RecordFailure> {
        let context = self.context(cluster.uid)?;
        let cells: Api<GossipCell> = Api::namespaced(self.client.clone(), &cluster.namespace);
        match tokio::time::timeout(CALL_TIMEOUT, cells.get_opt(cell)).await {
            Ok(Ok(None)) => Ok(None),
            Ok(Ok(Some(cell))) => record::from_object(cluster, &cell, &context.keys.seal).map(Some),
            other => in_time(other).map(|_| None),
        }
    }

    async fn delete_record(
        &self,
        cluster: &ClusterKey,
        cell: &str,
        version: &RecordVersion,
    ) -> Result<(), RecordFailure> {
        let cells: Api<GossipCell> = Api::namespaced(self.client.clone(), &cluster.namespace);
        let parameters = DeleteParams::default().preconditions(Preconditions {
            resource_version: Some(version.0.clone()),
            uid: None,
        });
        self.tenure
            .check()
            .map_err(|error| RecordFailure::Unavailable(error.to_string()))?;
        let deleted = tokio::time::timeout(CALL_TIMEOUT, cells.delete(cell, &parameters)).await;
        match deleted {
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => Ok(()),
            other => in_time(other).map(drop),
        }
    }

    async fn write_record(
        &self,
        cluster: &ClusterKey,
        parent: Option<&RecordVersion>,
        map: &Map,
    ) -> Result<RecordVersion, RecordFailure> {
        let context = self.context(cluster.uid)?;
        let object = record::to_object(cluster, context.owner, parent, map, &context.keys.seal)?;
        let cells: Api<GossipCell> = Api::namespaced(self.client.clone(), &cluster.namespace);
        let parameters = PostParams {
            field_manager: Some(FIELD_MANAGER_MAP.to_owned()),
            ..PostParams::default()
        };
        self.tenure
            .check()
            .map_err(|error| RecordFailure::Unavailable(error.to_string()))?;
        let written = match parent {
            None => tokio::time::timeout(CALL_TIMEOUT, cells.create(&parameters, &object)).await,
            Some(_) => {
                let replace = cells.replace(&map.cell, &parameters, &object);
                tokio::time::timeout(CALL_TIMEOUT, replace).await
            }
        };
        let cell = in_time(written)?;
        let version = cell.metadata.resource_version.unwrap_or_default();
        Ok(RecordVersion(version))
    }
}

fn token_facts(review: TokenReview, audience: Uid) -> Result<TokenFacts, ReviewFailure> {
    let refused = |reason: &str| ReviewFailure::NotAuthenticated(reason.to_owned());
    let status = review
        .status
        .ok_or_else(|| refused("the review has no status"))?;
    if status.authenticated != Some(true) {
        return Err(refused(
            status.error.as_deref().unwrap_or("no reason was given"),
        ));
    }
    // An API server that knows nothing of audiences answers without them.
    if !status
        .audiences
        .unwrap_or_default()
        .contains(&audience.to_string())
    {
        return Err(refused("it is for another audience"));
    }
    let user = status
        .user
        .ok_or_else(|| refused("the review names no user"))?;
    let extra = user.extra.unwrap_or_default();
    let first = |key: &str| extra.get(key).and_then(|values| values.first()).cloned();
    let username = user.username.unwrap_or_default();
    let mut parts = username
        .strip_prefix("system:serviceaccount:")
        .unwrap_or_default()
        .split(':');
    let (Some(namespace), Some(service_account), None) = (parts.next(), parts.next(), parts.next())
    else {
        return Err(refused("it is no ServiceAccount's"));
    };
    let pod_uid = first(POD_UID).and_then(|uid| uid.parse().ok());
    Ok(TokenFacts {
        pod_name: first(POD_NAME).ok_or(ReviewFailure::NoPodClaim)?,
        pod_uid: pod_uid.ok_or(ReviewFailure::NoPodClaim)?,
        node_name: first(NODE_NAME),
        namespace: namespace.to_owned(),
        service_account: service_account.to_owned(),
    })
}

/// What a call came to, if it came in time.
fn in_time<T>(
    answer: Result<Result<T, kube::Error>, tokio::time::error::Elapsed>,
) -> Result<T, RecordFailure> {
    match answer {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(failure(error)),
        Err(_) => Err(RecordFailure::Unavailable("no answer in time".into())),
    }
}

fn failure(error: kube::Error) -> RecordFailure {
    match error {
        kube::Error::Api(status) if matches!(status.code, 404 | 409) => {
            RecordFailure::Conflict(status.message.clone())
        }
        kube::Error::Api(status) if matches!(status.code, 400 | 413 | 422) => {
            RecordFailure::Invalid(status.message.clone())
        }
        kube::Error::Api(status) if status.code == 403 => {
            RecordFailure::Forbidden(status.message.clone())
        }
        error => RecordFailure::Unavailable(error.to_string()),
    }
}
