//! Names, labels and keys of everything that belongs to a cluster.

/// All labels and annotations of ours begin with it.
pub const LABEL_PREFIX: &str = "slotmesh.dev/";
/// Label: name of the cluster that an object belongs to.
pub const LABEL_CLUSTER: &str = "slotmesh.dev/cluster";
/// Label: UID of the cluster that an object belongs to.
pub const LABEL_CLUSTER_UID: &str = "slotmesh.dev/cluster-uid";
/// Annotation of a `GossipCluster` whose keys are lost: its UID accepts that, and new keys are made.
pub const ANNOTATION_ACCEPT_KEY_LOSS: &str = "slotmesh.dev/accept-key-loss";
/// Annotation of the Lease: where the operator that leads answers joins, `ip:port`.
pub const ANNOTATION_JOIN_ADDRESS: &str = "slotmesh.dev/join-address";
/// `app.kubernetes.io/name` of agents.
pub const APP_NAME: &str = "slotmesh-agent";
/// `app.kubernetes.io/managed-by` and `part-of`.
pub const OPERATOR_NAME: &str = "slotmesh-operator";
/// `app.kubernetes.io/part-of`.
pub const PART_OF: &str = "slotmesh";

/// Field manager of children (server-side apply).
pub const FIELD_MANAGER: &str = "slotmesh-operator";
/// Field manager of the record (replace guarded by resourceVersion).
pub const FIELD_MANAGER_MAP: &str = "slotmesh-operator-map";
/// Field manager of statuses.
pub const FIELD_MANAGER_STATUS: &str = "slotmesh-operator-status";

/// Key in the trust ConfigMap: PEM bundle of the cluster's CA.
pub const TRUST_CA: &str = "ca.crt";
/// Key in the trust ConfigMap: Ed25519 keys that verify maps, base64, one a line.
pub const TRUST_MAP_KEYS: &str = "map-keys";
/// Key in the trust ConfigMap: `ip:port` of join endpoints, one a line.
pub const TRUST_JOIN_ADDRESS: &str = "join-address";

/// Mesh port of an agent (UDP).
pub const PORT_MESH: u16 = 7400;
/// Join port of the operator (UDP).
pub const PORT_JOIN: u16 = 7401;
/// Local API of an agent (TCP).
pub const PORT_HTTP: u16 = 7402;
/// Metrics of an agent (TCP).
pub const PORT_METRICS: u16 = 7403;

/// DaemonSet, ServiceAccount and NetworkPolicy of a cluster.
#[must_use]
pub fn agent(cluster: &str) -> String {
    format!("{cluster}-agent")
}

/// Service of a cluster.
#[must_use]
pub fn service(cluster: &str) -> String {
    cluster.to_owned()
}

/// ConfigMap from which agents learn whom to trust and where to join.
#[must_use]
pub fn trust(cluster: &str) -> String {
    format!("{cluster}-trust")
}

/// Name of a cell; `ordinal` tells the cells of a cluster apart. The five characters stem from
/// cluster UID and ordinal, so a restarted operator finds the same name again.
#[must_use]
pub fn cell(cluster: &str, cluster_uid: &str, ordinal: u32) -> String {
    format!("{cluster}-{}", suffix(cluster_uid, ordinal))
}

/// Secret with the CA of a cluster, in the operator's namespace.
#[must_use]
pub fn ca_secret(namespace: &str, cluster: &str, cluster_uid: &str) -> String {
    format!("{namespace}.{cluster}.{}-ca", uid_prefix(cluster_uid))
}

/// Secret with the map signing key and the seal key, in the operator's namespace.
#[must_use]
pub fn map_key_secret(namespace: &str, cluster: &str, cluster_uid: &str) -> String {
    format!("{namespace}.{cluster}.{}-map-key", uid_prefix(cluster_uid))
}

fn uid_prefix(uid: &str) -> String {
    uid.chars().take(8).collect()
}

/// Five characters from an alphabet without vowels (no words) and without look-alikes, as in the
/// names that Kubernetes generates. FNV-1a, 64 bit.
fn suffix(cluster_uid: &str, ordinal: u32) -> String {
    const ALPHABET: [char; 27] = [
        'b', 'c', 'd', 'f', 'g', 'h', 'j', 'k', 'l', 'm', 'n', 'p', 'q', 'r', 's', 't', 'v', 'w',
        'x', 'z', '2', '4', '5', '6', '7', '8', '9',
    ];
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in cluster_uid.bytes().chain(ordinal.to_be_bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    let mut name = String::with_capacity(5);
    for _ in 0..5 {
        let index = usize::try_from(hash % ALPHABET.len() as u64).unwrap_or(0);
        name.extend(ALPHABET.get(index));
        hash /= ALPHABET.len() as u64;
    }
    name
}
