//! Who may join: the decision about one request.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use slotmesh_api::names;
use slotmesh_mesh::identity::Uid;
use slotmesh_mesh::join::JoinRequest;
use slotmesh_transport::authority::{Authority, key_of_request};

use crate::life::Candidate;
use crate::seam::{ClusterKey, Kubernetes, PodFacts, ReviewFailure, TokenFacts};

/// The pod has no address yet, or the DaemonSet is not known yet: that comes within moments.
const RETRY_SOON_MS: u32 = 200;
/// The API server does not answer.
const RETRY_UNAVAILABLE_MS: u32 = 1000;

/// Not admitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum No {
    /// Not now.
    Later { after_ms: u32, reason: String },
    /// Not as it stands.
    Never {
        pod: String,
        category: &'static str,
        message: String,
    },
}

/// Whether an agent may join: token, live pod and request have to agree.
pub(super) async fn admit<K: Kubernetes>(
    request: &JoinRequest,
    remote: IpAddr,
    cluster: &ClusterKey,
    daemon_set: Option<Uid>,
    kubernetes: &K,
) -> Result<Candidate, No> {
    let unknown = || request.pod_uid.to_string();
    let key = key_of_request(&request.csr_der)
        .map_err(|error| never(unknown(), "BadSigningRequest", error.to_string()))?;
    let token = kubernetes
        .review_token(&request.token, cluster.uid)
        .await
        .map_err(|error| match error {
            ReviewFailure::NotAuthenticated(_) => {
                never(unknown(), "TokenRefused", error.to_string())
            }
            ReviewFailure::NoPodClaim => never(unknown(), "TokenWithoutPod", error.to_string()),
            ReviewFailure::Unavailable(_) => later(RETRY_UNAVAILABLE_MS, error.to_string()),
        })?;
    check_token(&token, request, cluster)?;
    let pod = kubernetes
        .live_pod(&cluster.namespace, &token.pod_name)
        .await
        .map_err(|error| later(RETRY_UNAVAILABLE_MS, error.to_string()))?
        .ok_or_else(|| {
            never(
                token.pod_name.clone(),
                "PodGone",
                "the pod does not exist any more".into(),
            )
        })?;
    check_pod(&pod, &token, cluster, daemon_set)?;
    let Some(ip) = pod.ip else {
        return Err(later(RETRY_SOON_MS, "the pod has no address yet".into()));
    };
    if !is_from(remote, ip) {
        let message = format!("the request comes from {remote}, the pod's address is {ip}");
        return Err(never(pod.name, "WrongAddress", message));
    }
    Ok(Candidate {
        uid: pod.uid,
        key,
        name: pod.name,
        node: pod.node,
        zone: pod.zone,
        address: SocketAddr::new(ip, names::PORT_MESH),
        client_address: SocketAddr::new(ip, names::PORT_HTTP),
        capacity: pod.capacity,
    })
}

/// The certificate of an admitted agent.
pub(super) fn certificate(
    request: &JoinRequest,
    authority: &Authority,
    lifetime: Duration,
) -> Result<Vec<u8>, String> {
    authority
        .issue(
            &request.csr_der,
            request.cluster,
            request.pod_uid,
            SystemTime::now(),
            lifetime,
        )
        .map(|(leaf, _)| leaf.to_vec())
        .map_err(|error| error.to_string())
}

fn check_token(token: &TokenFacts, request: &JoinRequest, cluster: &ClusterKey) -> Result<(), No> {
    let expected = names::agent(&cluster.name);
    if token.pod_uid != request.pod_uid {
        let message = format!(
            "the token belongs to pod {}, the request names {}",
            token.pod_uid, request.pod_uid
        );
        return Err(never(token.pod_name.clone(), "WrongPod", message));
    }
    if token.namespace != cluster.namespace || token.service_account != expected {
        let message = format!(
            "the token is of ServiceAccount {}/{}; agents of this cluster run as {}/{expected}",
            token.namespace, token.service_account, cluster.namespace
        );
        return Err(never(
            token.pod_name.clone(),
            "WrongServiceAccount",
            message,
        ));
    }
    Ok(())
}

fn check_pod(
    pod: &PodFacts,
    token: &TokenFacts,
    cluster: &ClusterKey,
    daemon_set: Option<Uid>,
) -> Result<(), No> {
    let no = |category, message: &str| Err(never(pod.name.clone(), category, message.to_owned()));
    if pod.uid != token.pod_uid {
        return no("PodGone", "another pod has that name now");
    }
    if pod.deleting || pod.finished {
        return no("PodEnding", "the pod is being deleted or has finished");
    }
    if pod.cluster_uid_label != Some(cluster.uid) {
        return no(
            "WrongCluster",
            "the pod's label slotmesh.dev/cluster-uid does not name this cluster",
        );
    }
    if pod.daemon_set_uid.is_none() || (daemon_set.is_some() && pod.daemon_set_uid != daemon_set) {
        return no(
            "WrongController",
            "the pod is not controlled by this cluster's DaemonSet",
        );
    }
    if token
        .node_name
        .as_ref()
        .is_some_and(|node| *node != pod.node)
    {
        return no(
            "WrongNode",
            "the token names another node than the one that the pod runs on",
        );
    }
    // Until it is known whose pods are this cluster's, nobody is let in on the word of a label.
    if daemon_set.is_none() {
        let reason = "the operator does not know this cluster's DaemonSet yet";
        return Err(later(RETRY_SOON_MS, reason.into()));
    }
    Ok(())
}

/// IPv4 addresses may arrive in their IPv6 form.
fn is_from(remote: IpAddr, pod: IpAddr) -> bool {
    remote.to_canonical() == pod.to_canonical()
}

fn never(pod: String, category: &'static str, mut message: String) -> No {
    message.truncate(message.floor_char_boundary(slotmesh_mesh::limits::REASON_BYTES_MAX));
    No::Never {
        pod,
        category,
        message,
    }
}

fn later(after_ms: u32, mut reason: String) -> No {
    reason.truncate(reason.floor_char_boundary(slotmesh_mesh::limits::REASON_BYTES_MAX));
    No::Later { after_ms, reason }
}
