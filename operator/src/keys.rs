//! The keys of a cluster: made once, kept as Secrets in the operator's own namespace, deleted with the
//! cluster. They never lie where a tenant can read them.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client};
use slotmesh_api::names;
use slotmesh_mesh::identity::Keypair;
use slotmesh_mesh::seal::SealKey;
use slotmesh_transport::authority::Authority;
use thiserror::Error;

use crate::ca::CaKey;
use crate::seam::{ClusterKey, ClusterKeys};

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
    /// A record exists, its keys do not.
    #[error(
        "Secret {secret} is missing, though the cluster has a record: restore it from a backup"
    )]
    Lost {
        /// Which.
        secret: String,
    },
    /// A Secret does not hold what it should.
    #[error("Secret {secret} does not hold a valid {what}: restore it from a backup")]
    Malformed {
        /// Which.
        secret: String,
        /// Which entry.
        what: &'static str,
    },
    /// No key can be made.
    #[error("no key can be made: {0}")]
    Generate(String),
}

impl From<kube::Error> for KeysError {
    fn from(error: kube::Error) -> Self {
        Self::Api(Box::new(error))
    }
}

/// The keys of a cluster, made where there are none and nothing depends on them yet.
///
/// # Errors
/// [`KeysError::Lost`] when a record exists without its keys.
pub async fn get_or_create(
    client: &Client,
    namespace: &str,
    cluster: &ClusterKey,
    has_record: bool,
) -> Result<ClusterKeys, KeysError> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let (ca_name, map_name) = secret_names(cluster);
    let ca = get_or(&secrets, &ca_name, cluster, has_record, || new_ca(cluster)).await?;
    let map = get_or(&secrets, &map_name, cluster, has_record, new_map_keys).await?;
    let text = |entry| {
        entry_of(&ca, &ca_name, entry).and_then(|bytes| {
            String::from_utf8(bytes).map_err(|_| KeysError::Malformed {
                secret: ca_name.clone(),
                what: entry,
            })
        })
    };
    let seed = |entry| {
        entry_of(&map, &map_name, entry).and_then(|bytes| {
            bytes.try_into().map_err(|_| KeysError::Malformed {
                secret: map_name.clone(),
                what: entry,
            })
        })
    };
    Ok(ClusterKeys {
        ca: CaKey::from_pem(&text(CA_CERTIFICATE)?, &text(CA_KEY)?),
        map: Keypair::from_seed(seed(MAP_KEY)?),
        seal: SealKey::from_bytes(seed(SEAL_KEY)?),
    })
}

/// Deletes the keys of a cluster that is gone.
///
/// # Errors
/// When the API server fails us.
pub async fn delete(
    client: &Client,
    namespace: &str,
    cluster: &ClusterKey,
) -> Result<(), KeysError> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let (ca_name, map_name) = secret_names(cluster);
    for name in [ca_name, map_name] {
        match in_time(secrets.delete(&name, &DeleteParams::default())).await {
            Ok(_) => tracing::info!(secret = name, "keys deleted with their cluster"),
            Err(KeysError::Api(error)) if is_code(&error, 404) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn secret_names(cluster: &ClusterKey) -> (String, String) {
    let uid = cluster.uid.to_string();
    (
        names::ca_secret(&cluster.namespace, &cluster.name, &uid),
        names::map_key_secret(&cluster.namespace, &cluster.name, &uid),
    )
}

async fn get_or(
    secrets: &Api<Secret>,
    name: &str,
    cluster: &ClusterKey,
    has_record: bool,
    make: impl FnOnce() -> Result<BTreeMap<String, ByteString>, KeysError>,
) -> Result<Secret, KeysError> {
    if let Some(found) = in_time(secrets.get_opt(name)).await? {
        return Ok(found);
    }
    if has_record {
        return Err(KeysError::Lost {
            secret: name.to_owned(),
        });
    }
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(crate::children::labels::of_child(
                &cluster.name,
                &cluster.uid.to_string(),
                "keys",
            )),
            ..ObjectMeta::default()
        },
        data: Some(make()?),
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    };
    match in_time(secrets.create(&PostParams::default(), &secret)).await {
        // Somebody was faster: what is there counts, nothing is ever overwritten.
        Err(KeysError::Api(error)) if is_code(&error, 409) => in_time(secrets.get(name)).await,
        result => result,
    }
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

fn new_map_keys() -> Result<BTreeMap<String, ByteString>, KeysError> {
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

fn entry_of(secret: &Secret, name: &str, what: &'static str) -> Result<Vec<u8>, KeysError> {
    let entry = secret.data.as_ref().and_then(|data| data.get(what));
    entry
        .map(|bytes| bytes.0.clone())
        .ok_or_else(|| KeysError::Malformed {
            secret: name.to_owned(),
            what,
        })
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
