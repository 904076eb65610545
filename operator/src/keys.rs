//! The keys of a cluster: made once, kept as Secrets in the operator's own namespace, deleted with the
//! cluster. They never lie where a tenant can read them.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, ListParams, PartialObjectMeta, PostParams, Preconditions};
use kube::{Api, Client, ResourceExt};
use slotmesh_api::names::{self, ANNOTATION_ACCEPT_KEY_LOSS, OPERATOR_NAME};
use slotmesh_mesh::identity::Keypair;
use slotmesh_mesh::seal::SealKey;
use slotmesh_transport::authority::Authority;
use thiserror::Error;

use crate::ca::CaKey;
use crate::children::labels;
use crate::lease::{Deposed, Tenure};
use crate::seam::{ClusterKey, ClusterKeys};

/// `app.kubernetes.io/component` of Secrets with keys.
const COMPONENT_KEYS: &str = "keys";
/// Annotation of a Secret whose seal key took the place of a lost one: records of lower eras were
/// sealed with that, and are sealed anew under this era, once.
const ANNOTATION_SEALS_FROM_ERA: &str = "slotmesh.dev/seals-from-era";
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
const CA_CERTIFICATE: &str = "ca.crt";
const CA_KEY: &str = "ca.key";
const MAP_KEY: &str = "map.key";
const SEAL_KEY: &str = "seal.key";

/// Why there are no keys.
#[derive(Debug, Error)]
pub enum KeysError {
    /// The API server failed us.
    #[error("the API server refused: {0}")]
    Api(#[source] Box<kube::Error>),
    /// It did not answer.
    #[error("the API server did not answer in time")]
    TimedOut,
    /// This operator must not write any more.
    #[error(transparent)]
    Deposed(#[from] Deposed),
    /// A record exists, its keys do not.
    #[error("Secret {secret} is missing, though the cluster has a record: {}", recovery(.cluster))]
    Lost {
        /// Which.
        secret: String,
        /// Whose.
        cluster: ClusterKey,
    },
    /// A Secret does not hold what it should.
    #[error("Secret {secret} holds no valid {what}: {}", recovery(.cluster))]
    Malformed {
        /// Which.
        secret: String,
        /// Which entry.
        what: &'static str,
        /// Whose.
        cluster: ClusterKey,
    },
    /// No key can be made.
    #[error("no key can be made: {0}")]
    Generate(String),
}

/// What a person can do about lost keys.
fn recovery(cluster: &ClusterKey) -> String {
    let ClusterKey {
        namespace,
        name,
        uid,
    } = cluster;
    format!(
        "restore it from a backup; or, if there is none, accept the loss, and every agent joins anew: kubectl -n {namespace} annotate gossipcluster {name} {ANNOTATION_ACCEPT_KEY_LOSS}={uid}"
    )
}

impl From<kube::Error> for KeysError {
    fn from(error: kube::Error) -> Self {
        Self::Api(Box::new(error))
    }
}

/// What to do about keys that are not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Make them: nothing depends on them yet.
    Make,
    /// A record depends on them: a person has to know.
    Complain,
    /// A person accepted the loss: new ones take their place, and records go on under this era.
    Replace {
        /// Above those of all records.
        era: u32,
    },
}

/// Where keys lie.
#[derive(Clone, Debug)]
pub struct KeyStore {
    secrets: Api<Secret>,
    tenure: Tenure,
}

impl KeyStore {
    /// The Secrets of the operator's own namespace, written while it leads.
    #[must_use]
    pub fn new(client: Client, namespace: &str, tenure: Tenure) -> Self {
        Self {
            secrets: Api::namespaced(client, namespace),
            tenure,
        }
    }

    /// The keys of a cluster.
    ///
    /// # Errors
    /// [`KeysError::Lost`] and [`KeysError::Malformed`] when a person has to decide.
    pub async fn provide(
        &self,
        cluster: &ClusterKey,
        missing: Missing,
    ) -> Result<ClusterKeys, KeysError> {
        let (ca_name, map_name) = secret_names(cluster);
        let ca = Entry {
            name: ca_name,
            cluster,
            read: read_ca,
            make: new_ca,
        };
        let map = Entry {
            name: map_name,
            cluster,
            read: read_map_keys,
            make: new_map_keys,
        };
        let (ca, (map, seal, seals_from_era)) = (
            self.get_or(&ca, missing).await?,
            self.get_or(&map, missing).await?,
        );
        Ok(ClusterKeys {
            ca,
            map,
            seal,
            seals_from_era,
        })
    }

    async fn get_or<T>(&self, entry: &Entry<'_, T>, missing: Missing) -> Result<T, KeysError> {
        if let Some(found) = in_time(self.secrets.get_opt(&entry.name)).await? {
            match (entry.read)(&found, entry.cluster) {
                Err(KeysError::Malformed { .. }) if matches!(missing, Missing::Replace { .. }) => {
                    self.remove(&found).await?;
                }
                result => return result,
            }
        }
        if missing == Missing::Complain {
            return Err(KeysError::Lost {
                secret: entry.name.clone(),
                cluster: entry.cluster.clone(),
            });
        }
        let annotations = match missing {
            Missing::Replace { era } => Some(BTreeMap::from([(
                ANNOTATION_SEALS_FROM_ERA.to_owned(),
                era.to_string(),
            )])),
            Missing::Make | Missing::Complain => None,
        };
        let uid = entry.cluster.uid.to_string();
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some(entry.name.clone()),
                labels: Some(labels::of_child(&entry.cluster.name, &uid, COMPONENT_KEYS)),
                annotations,
                ..ObjectMeta::default()
            },
            data: Some((entry.make)(entry.cluster)?),
            type_: Some("Opaque".to_owned()),
            ..Secret::default()
        };
        self.tenure.check()?;
        let created = in_time(self.secrets.create(&PostParams::default(), &secret)).await;
        let there = match created {
            // Somebody was faster: what is there counts, nothing is ever overwritten.
            Err(KeysError::Api(error)) if is_code(&error, 409) => {
                in_time(self.secrets.get(&entry.name)).await?
            }
            result => result?,
        };
        tracing::info!(cluster = %entry.cluster, secret = entry.name, replaced = missing != Missing::Make, "keys made");
        (entry.read)(&there, entry.cluster)
    }

    /// Deletes the keys of a cluster that is gone.
    ///
    /// # Errors
    /// When the API server fails us.
    pub async fn delete(&self, cluster: &ClusterKey) -> Result<(), KeysError> {
        let (ca_name, map_name) = secret_names(cluster);
        for name in [ca_name, map_name] {
            self.tenure.check()?;
            match in_time(self.secrets.delete(&name, &DeleteParams::default())).await {
                Ok(_) => {
                    tracing::info!(%cluster, secret = name, "keys deleted with their cluster");
                }
                Err(KeysError::Api(error)) if is_code(&error, 404) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// All Secrets that hold keys of clusters.
    ///
    /// # Errors
    /// When the API server fails us.
    pub async fn list(&self) -> Result<Vec<PartialObjectMeta<Secret>>, KeysError> {
        let selector = format!(
            "app.kubernetes.io/component={COMPONENT_KEYS},app.kubernetes.io/managed-by={OPERATOR_NAME}"
        );
        let parameters = ListParams::default().labels(&selector);
        Ok(in_time(self.secrets.list_metadata(&parameters))
            .await?
            .items)
    }

    /// Deletes exactly this Secret, not one that took its name since.
    ///
    /// # Errors
    /// When the API server fails us.
    pub async fn remove<K: ResourceExt>(&self, secret: &K) -> Result<(), KeysError> {
        let parameters = DeleteParams::default().preconditions(Preconditions {
            uid: secret.uid(),
            resource_version: None,
        });
        self.tenure.check()?;
        match in_time(self.secrets.delete(&secret.name_any(), &parameters)).await {
            Err(KeysError::Api(error)) if is_code(&error, 404) => Ok(()),
            result => result.map(drop),
        }
    }
}

/// One Secret of a cluster: how it is read and made.
struct Entry<'a, T> {
    name: String,
    cluster: &'a ClusterKey,
    read: fn(&Secret, &ClusterKey) -> Result<T, KeysError>,
    make: fn(&ClusterKey) -> Result<BTreeMap<String, ByteString>, KeysError>,
}

pub(crate) fn secret_names(cluster: &ClusterKey) -> (String, String) {
    let uid = cluster.uid.to_string();
    (
        names::ca_secret(&cluster.namespace, &cluster.name, &uid),
        names::map_key_secret(&cluster.namespace, &cluster.name, &uid),
    )
}

fn read_ca(secret: &Secret, cluster: &ClusterKey) -> Result<CaKey, KeysError> {
    let text = |what| {
        let bytes = entry_of(secret, cluster, what)?;
        String::from_utf8(bytes).map_err(|_| malformed(secret, cluster, what))
    };
    let (certificate, key) = (text(CA_CERTIFICATE)?, text(CA_KEY)?);
    Authority::from_pem(&certificate, &key)
        .map_err(|_| malformed(secret, cluster, "pair of ca.crt and ca.key"))?;
    Ok(CaKey::from_pem(&certificate, &key))
}

type MapKeys = (Keypair, SealKey, Option<u32>);

fn read_map_keys(secret: &Secret, cluster: &ClusterKey) -> Result<MapKeys, KeysError> {
    let seed = |what| {
        let bytes = entry_of(secret, cluster, what)?;
        bytes
            .try_into()
            .map_err(|_| malformed(secret, cluster, what))
    };
    let era = secret.annotations().get(ANNOTATION_SEALS_FROM_ERA);
    Ok((
        Keypair::from_seed(seed(MAP_KEY)?),
        SealKey::from_bytes(seed(SEAL_KEY)?),
        era.and_then(|era| era.parse().ok()),
    ))
}

fn new_ca(cluster: &ClusterKey) -> Result<BTreeMap<String, ByteString>, KeysError> {
    let authority = Authority::generate(cluster.uid, SystemTime::now())
        .map_err(|error| KeysError::Generate(error.to_string()))?;
    Ok(BTreeMap::from([
        (
            CA_CERTIFICATE.to_owned(),
            ByteString(authority.certificate_pem().into()),
        ),
        (CA_KEY.to_owned(), ByteString(authority.key_pem().into())),
    ]))
}

fn new_map_keys(_: &ClusterKey) -> Result<BTreeMap<String, ByteString>, KeysError> {
    let random = || {
        let mut bytes = vec![0; 32];
        getrandom::fill(&mut bytes).map_err(|error| KeysError::Generate(error.to_string()))?;
        Ok::<_, KeysError>(ByteString(bytes))
    };
    Ok(BTreeMap::from([
        (MAP_KEY.to_owned(), random()?),
        (SEAL_KEY.to_owned(), random()?),
    ]))
}

fn entry_of(
    secret: &Secret,
    cluster: &ClusterKey,
    what: &'static str,
) -> Result<Vec<u8>, KeysError> {
    let entry = secret.data.as_ref().and_then(|data| data.get(what));
    entry
        .map(|bytes| bytes.0.clone())
        .ok_or_else(|| malformed(secret, cluster, what))
}

fn malformed(secret: &Secret, cluster: &ClusterKey, what: &'static str) -> KeysError {
    KeysError::Malformed {
        secret: secret.name_any(),
        what,
        cluster: cluster.clone(),
    }
}

async fn in_time<T>(call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, KeysError> {
    let answer = tokio::time::timeout(CALL_TIMEOUT, call)
        .await
        .map_err(|_| KeysError::TimedOut)?;
    Ok(answer?)
}

fn is_code(error: &kube::Error, code: u16) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == code)
}

#[cfg(test)]
mod tests;
