//! Tries an installation as a user would: creates a GossipCluster, waits until it is Ready, asks an
//! agent who owns a key, and deletes it. `helm test` runs it in a pod.

mod locate;

use std::time::{Duration, Instant};

use clap::Parser;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, ObjectMeta, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Map, Value, json};
use slotmesh_api::conditions::types::READY;
use slotmesh_api::{GossipCluster, GossipClusterStatus, names};
use thiserror::Error;

use crate::config::non_empty;

/// What the names of its clusters begin with.
const NAME_PREFIX: &str = "slotmesh-check-";
/// Any key will do: each has an owner.
const KEY: &str = "user:42";
/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(500);
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Tries an installation: creates a GossipCluster, waits until it is Ready, asks an agent who owns a
/// key, and deletes the cluster again.
#[derive(Clone, Debug, Parser)]
#[command(name = "check-install")]
pub struct CheckInstall {
    /// Namespace of the cluster; the operator must serve it.
    #[arg(long, env = "SLOTMESH_CHECK_NAMESPACE", value_parser = non_empty)]
    pub namespace: String,

    /// Name of this pod: the cluster goes with it, however this check ends.
    #[arg(long, env = "SLOTMESH_CHECK_POD_NAME", requires = "pod_uid")]
    pub pod_name: Option<String>,

    /// UID of this pod.
    #[arg(long, env = "SLOTMESH_CHECK_POD_UID")]
    pub pod_uid: Option<String>,

    /// Spec of the cluster, JSON.
    #[arg(long, env = "SLOTMESH_CHECK_SPEC", default_value = "{}", value_parser = object)]
    pub spec: Map<String, Value>,

    /// How long it may take to become Ready and to answer, in seconds.
    #[arg(long, env = "SLOTMESH_CHECK_TIMEOUT_SECONDS", default_value_t = 240, value_parser = clap::value_parser!(u32).range(10..=3600))]
    pub timeout_seconds: u32,
}

/// Why the installation does not work.
#[derive(Debug, Error)]
pub enum CheckError {
    /// The API server refused a step.
    #[error("cannot {step}: {why}")]
    Api {
        /// What was tried.
        step: &'static str,
        /// The API server's words.
        why: String,
    },
    /// It never became Ready.
    #[error(
        "{cluster} was not Ready after {seconds} s: {said}. Look at the operator's log and at the events of namespace {namespace}"
    )]
    NotReady {
        /// Name of the cluster.
        cluster: String,
        /// Its namespace.
        namespace: String,
        /// How long was waited.
        seconds: u32,
        /// Its last words.
        said: String,
    },
    /// It is Ready, and no agent answers.
    #[error(
        "{cluster} is Ready, and no agent answers on port {port}: {said}. Does a NetworkPolicy keep pods of one namespace apart?",
        port = names::PORT_HTTP
    )]
    NoAnswer {
        /// Name of the cluster.
        cluster: String,
        /// The last complaint.
        said: String,
    },
}

/// Tries it, and prints what is done.
///
/// # Errors
/// With the step that failed. The cluster is deleted in any case.
pub async fn run(client: Client, check: &CheckInstall) -> Result<(), CheckError> {
    let begun = Instant::now();
    let print = |line: &str| println!("{:>7.1} s  {line}", begun.elapsed().as_secs_f64());
    let clusters: Api<GossipCluster> = Api::namespaced(client.clone(), &check.namespace);
    let name = create(&client, check).await?;
    print(&format!(
        "GossipCluster {}/{name} is created",
        check.namespace
    ));
    let tried = try_cluster(&client, &clusters, check, &name, &print).await;
    let deleted = delete(&clusters, &name).await;
    tried?;
    deleted?;
    print(&format!(
        "GossipCluster {}/{name} is deleted: the installation works",
        check.namespace
    ));
    Ok(())
}

async fn try_cluster(
    client: &Client,
    clusters: &Api<GossipCluster>,
    check: &CheckInstall,
    name: &str,
    print: &impl Fn(&str),
) -> Result<(), CheckError> {
    let deadline = Instant::now() + Duration::from_secs(check.timeout_seconds.into());
    let mut said = String::new();
    loop {
        let cluster = in_time("read the GossipCluster", clusters.get(name)).await?;
        let (ready, now) = standing(&cluster.status.unwrap_or_default());
        if now != said {
            print(&now);
            said = now;
        }
        if ready {
            break;
        }
        if Instant::now() >= deadline {
            return Err(CheckError::NotReady {
                cluster: name.to_owned(),
                namespace: check.namespace.clone(),
                seconds: check.timeout_seconds,
                said,
            });
        }
        tokio::time::sleep(PAUSE).await;
    }
    let pods: Api<Pod> = Api::namespaced(client.clone(), &check.namespace);
    let agents = ListParams::default().labels(&format!("{}={name}", names::LABEL_CLUSTER));
    loop {
        let pods = in_time("list the agents' pods", pods.list(&agents)).await?;
        match locate::ask_any(&pods.items, KEY).await {
            Ok(answer) => {
                print(&format!(
                    "{} says that {KEY} belongs to {} (slot {}, epoch {})",
                    answer.agent, answer.owner, answer.slot, answer.epoch
                ));
                return Ok(());
            }
            Err(said) if Instant::now() >= deadline => {
                return Err(CheckError::NoAnswer {
                    cluster: name.to_owned(),
                    said,
                });
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// Creates the cluster; its name.
async fn create(client: &Client, check: &CheckInstall) -> Result<String, CheckError> {
    let resource = ApiResource::erase::<GossipCluster>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &check.namespace, &resource);
    let object = DynamicObject {
        metadata: ObjectMeta {
            generate_name: Some(NAME_PREFIX.to_owned()),
            owner_references: owner(check).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        data: json!({"spec": check.spec}),
        ..DynamicObject::new("", &resource)
    };
    let parameters = PostParams::default();
    let created = in_time("create a GossipCluster", api.create(&parameters, &object)).await?;
    Ok(created.name_any())
}

async fn delete(clusters: &Api<GossipCluster>, name: &str) -> Result<(), CheckError> {
    let parameters = DeleteParams::default();
    let deletion = clusters.delete(name, &parameters);
    in_time("delete the GossipCluster", deletion)
        .await
        .map(drop)
}

/// Our pod, so that the cluster goes with it.
fn owner(check: &CheckInstall) -> Option<OwnerReference> {
    Some(OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Pod".to_owned(),
        name: check.pod_name.clone()?,
        uid: check.pod_uid.clone()?,
        ..OwnerReference::default()
    })
}

/// Whether the cluster is Ready, and how it stands in one line.
fn standing(status: &GossipClusterStatus) -> (bool, String) {
    let is_true = |kind: &str| {
        let mut conditions = status.conditions.iter();
        conditions.any(|condition| condition.type_ == kind && condition.status == "True")
    };
    let at_rest = |kind: &str, state: &str| (kind == READY) == (state == "True");
    let words: Vec<String> = status
        .conditions
        .iter()
        .filter(|condition| !at_rest(&condition.type_, &condition.status))
        .map(|condition| {
            let (kind, state) = (&condition.type_, &condition.status);
            format!(
                "{kind}={state}, {}: {}",
                condition.reason, condition.message
            )
        })
        .collect();
    let members = status.members.unwrap_or(0);
    let said = match (is_true(READY), words.is_empty()) {
        (true, _) => format!("Ready with {members} members"),
        (false, true) => {
            "no status yet; does an operator run, and serve this namespace?".to_owned()
        }
        (false, false) => words.join("; "),
    };
    (is_true(READY), said)
}

async fn in_time<T>(
    step: &'static str,
    call: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, CheckError> {
    let answer = tokio::time::timeout(CALL_TIMEOUT, call).await;
    let why = match answer {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "the API server did not answer in time".to_owned(),
    };
    Err(CheckError::Api { step, why })
}

fn object(text: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(text).map_err(|error| format!("not a JSON object: {error}"))
}

#[cfg(test)]
mod tests;
