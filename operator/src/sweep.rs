//! Keys whose cluster is gone. The reconciler deletes a cluster's keys with the cluster; what went while
//! no operator looked is swept here: keys are deleted when two looks in a row, an interval apart, ask
//! the API for their cluster and are told that it does not exist (or that another one has its name).
//! An answer that fails, for lack of rights too, is no look.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::api::PartialObjectMeta;
use kube::{Api, Client, ResourceExt};
use slotmesh_api::GossipCluster;
use slotmesh_api::names::{LABEL_CLUSTER, LABEL_CLUSTER_UID};
use tokio::time::MissedTickBehavior;

use crate::keys::{KeyStore, KeysError, secret_names};
use crate::seam::ClusterKey;

const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// UIDs of Secrets whose cluster was gone at the last look.
#[derive(Debug, Default)]
struct Looks {
    gone: BTreeSet<String>,
}

impl Looks {
    /// A look is over: which Secrets to delete, because their cluster was gone at the one before, too.
    fn conclude(&mut self, gone: BTreeSet<String>) -> BTreeSet<String> {
        let before = std::mem::replace(&mut self.gone, gone);
        self.gone.intersection(&before).cloned().collect()
    }
}

/// Sweeps for as long as this operator leads.
pub async fn keep_sweeping(client: Client, keys: KeyStore, interval: Duration) {
    let mut looks = Looks::default();
    let mut pace = tokio::time::interval(interval);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        pace.tick().await;
        if let Err(error) = sweep(&client, &keys, &mut looks).await {
            tracing::warn!(%error, "keys whose cluster is gone were not looked for; trying again later");
        }
    }
}

async fn sweep(client: &Client, keys: &KeyStore, looks: &mut Looks) -> Result<(), KeysError> {
    let mut gone = Vec::new();
    for secret in keys.list().await? {
        if let Some(cluster) = cluster_of(&secret)
            && is_gone(client, &cluster).await
        {
            gone.push((secret, cluster));
        }
    }
    let uids = gone.iter().filter_map(|(secret, _)| secret.uid()).collect();
    let doomed = looks.conclude(uids);
    for (secret, cluster) in gone {
        if secret.uid().is_some_and(|uid| doomed.contains(&uid)) {
            keys.remove(&secret).await?;
            tracing::info!(%cluster, secret = secret.name_any(), "keys deleted: their cluster is gone");
        }
    }
    Ok(())
}

/// Whose keys a Secret holds. Name and labels have to agree, or it is not ours to delete.
fn cluster_of(secret: &PartialObjectMeta<Secret>) -> Option<ClusterKey> {
    let name = secret.name_any();
    let cluster = ClusterKey {
        namespace: name.split_once('.')?.0.to_owned(),
        name: secret.labels().get(LABEL_CLUSTER)?.clone(),
        uid: secret.labels().get(LABEL_CLUSTER_UID)?.parse().ok()?,
    };
    let (ca, map_key) = secret_names(&cluster);
    (name == ca || name == map_key).then_some(cluster)
}

async fn is_gone(client: &Client, cluster: &ClusterKey) -> bool {
    let clusters: Api<GossipCluster> = Api::namespaced(client.clone(), &cluster.namespace);
    let look = clusters.get_metadata_opt(&cluster.name);
    match tokio::time::timeout(CALL_TIMEOUT, look).await {
        Ok(Ok(found)) => {
            let uid = found.as_ref().and_then(ResourceExt::uid);
            uid != Some(cluster.uid.to_string())
        }
        Ok(Err(error)) => {
            tracing::debug!(%cluster, %error, "whether the cluster of some keys exists is not known");
            false
        }
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeMap;

    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
    use kube::api::PartialObjectMetaExt;
    use slotmesh_mesh::identity::Uid;

    use super::*;
    use crate::children::labels;

    fn set(uids: &[&str]) -> BTreeSet<String> {
        uids.iter().map(|uid| (*uid).to_owned()).collect()
    }

    #[test]
    fn keys_go_when_two_looks_in_a_row_miss_their_cluster() {
        let mut looks = Looks::default();
        assert_eq!(looks.conclude(set(&["a", "b"])), set(&[]));
        assert_eq!(looks.conclude(set(&["b", "c"])), set(&["b"]));
        assert_eq!(
            looks.conclude(set(&["a"])),
            set(&[]),
            "a was there in between"
        );
        assert_eq!(looks.conclude(set(&["a"])), set(&["a"]));
    }

    fn secret(name: &str, labels: BTreeMap<String, String>) -> PartialObjectMeta<Secret> {
        let metadata = ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(labels),
            ..ObjectMeta::default()
        };
        metadata.into_response_partial()
    }

    #[test]
    fn only_what_name_and_labels_agree_on_is_ours() {
        let cluster = ClusterKey {
            namespace: "team".into(),
            name: "my.sessions".into(),
            uid: Uid::from_bytes([7; 16]),
        };
        let uid = cluster.uid.to_string();
        let ours = || labels::of_child(&cluster.name, &uid, "keys");
        let (ca, map_key) = secret_names(&cluster);
        for name in [ca.as_str(), &map_key] {
            assert_eq!(cluster_of(&secret(name, ours())), Some(cluster.clone()));
        }
        for foreign in ["team.my.sessions.07070707-tls", "other", "a.b.07070707-ca"] {
            assert_eq!(cluster_of(&secret(foreign, ours())), None, "{foreign}");
        }
        assert_eq!(cluster_of(&secret(&ca, BTreeMap::new())), None);
        let another = labels::of_child("another", &uid, "keys");
        assert_eq!(cluster_of(&secret(&ca, another)), None);
    }
}
