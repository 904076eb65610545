//! Labels of children.

use std::collections::BTreeMap;

use slotmesh_api::names;

/// Labels of every child. There is no version among them: an upgrade must not change a pod template.
#[must_use]
pub fn of_child(cluster: &str, cluster_uid: &str, component: &str) -> BTreeMap<String, String> {
    let mut labels = selector(cluster, cluster_uid);
    for (key, value) in [
        ("app.kubernetes.io/component", component),
        ("app.kubernetes.io/part-of", names::PART_OF),
        ("app.kubernetes.io/managed-by", names::OPERATOR_NAME),
    ] {
        labels.insert(key.to_owned(), value.to_owned());
    }
    labels
}

/// Labels that select the agents of a cluster.
#[must_use]
pub fn selector(cluster: &str, cluster_uid: &str) -> BTreeMap<String, String> {
    [
        ("app.kubernetes.io/name", names::APP_NAME),
        ("app.kubernetes.io/instance", cluster),
        (names::LABEL_CLUSTER, cluster),
        (names::LABEL_CLUSTER_UID, cluster_uid),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .collect()
}
