//! At the operator's join port, with tokens and requests that prove nothing.

mod cases;

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::events::v1::Event;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use slotmesh_api::names;
use slotmesh_e2e::stage::{NAMESPACE, Stage};
use slotmesh_e2e::strangers::{Cluster, request_token};
use slotmesh_e2e::wait;
use slotmesh_mesh::join::JoinResponse;
use slotmesh_transport::join::Joining;

use crate::DEADLINE;
use cases::{Case, token_cases};

/// Pods that look like agents of the honest cluster and are not.
struct Impostors {
    /// With the agents' ServiceAccount and the cluster's UID as label, but made by hand.
    by_hand: (String, String),
    /// With the agents' ServiceAccount alone.
    unlabelled: (String, String),
    /// With the namespace's default ServiceAccount.
    other_account: (String, String),
}

pub async fn try_all(stage: &Stage, honest: &Cluster, other: &Cluster) -> Result<()> {
    let impostors = Impostors::make(stage, honest).await?;
    let before = refusals(stage).await?;
    let mut told = BTreeSet::new();
    let mut asked = 0.0;
    let mut cases = token_cases(stage, honest, other, &impostors).await?;
    // The last one is asked about again: its review is still in the API server's cache when the pod
    // is gone.
    let gone = cases.last().cloned().context("no cases")?;
    for case in cases.drain(..) {
        told.insert(case.refused(honest).await?);
        asked += 1.0;
    }
    delete_pod(stage, &impostors.by_hand.0).await?;
    let gone = Case {
        what: "the token of a pod that was deleted a moment ago",
        category: "PodGone",
        says: "does not exist",
        ..gone
    };
    told.insert(gone.refused(honest).await?);
    asked += 1.0;
    told.insert(gone_for_long(honest, gone, &mut asked).await?);

    let after = refusals(stage).await?;
    ensure!(
        (after - before - asked).abs() < 0.5,
        "{asked} requests were refused, the operator counts {}",
        after - before
    );
    println!("  counted by the operator: {asked} refused");
    all_told(stage, honest, &told).await?;
    for (name, _) in [&impostors.unlabelled, &impostors.other_account] {
        delete_pod(stage, name).await?;
    }
    Ok(())
}

/// The API server forgets its review of a token some seconds after the pod; then it refuses itself.
async fn gone_for_long(honest: &Cluster, case: Case, asked: &mut f64) -> Result<(String, String)> {
    let case = Case {
        what: "the same token once the API server has forgotten that it was good",
        category: "TokenRefused",
        says: "not valid for this cluster",
        // Nothing is proved any more: all that is known is what the request says of itself.
        pod: case.request.pod_uid.to_string(),
        ..case
    };
    wait::until("the API server to forget a review", DEADLINE, async || {
        *asked += 1.0;
        let (category, _) = case.ask(honest).await?;
        Ok((category == case.category).then_some(()))
    })
    .await?;
    *asked += 1.0;
    case.refused(honest).await
}

/// Each pod and category is an event of the cluster, told once.
async fn all_told(
    stage: &Stage,
    honest: &Cluster,
    told: &BTreeSet<(String, String)>,
) -> Result<()> {
    let events: Api<Event> = Api::namespaced(stage.plane.client(), NAMESPACE);
    wait::until("an event for each refusal", DEADLINE, async || {
        let list = events.list(&ListParams::default()).await?;
        let notes: Vec<String> = list
            .items
            .into_iter()
            .filter(|event| event.reason.as_deref() == Some("JoinRefused"))
            .filter(|event| {
                let about = event
                    .regarding
                    .as_ref()
                    .and_then(|about| about.name.clone());
                about.as_deref() == Some(honest.name.as_str())
            })
            .filter_map(|event| event.note)
            .collect();
        for (pod, category) in told {
            let begin = format!("{pod} may not join ({category})");
            let found = notes.iter().filter(|note| note.starts_with(&begin));
            let count = found.count();
            ensure!(
                count == 1,
                "{count} of {} events begin with `{begin}`",
                notes.len()
            );
        }
        Ok(Some(()))
    })
    .await?;
    println!(
        "  {} events JoinRefused, one for each pod and reason",
        told.len()
    );
    Ok(())
}

/// The same client with a pod's own token and address is admitted: what refused the others was not
/// the client. The real agent is deposed by it, and joins again.
pub async fn the_honest_one_is_admitted(stage: &Stage, cluster: &Cluster) -> Result<()> {
    let agent = &cluster.agents[0];
    let pod = Some((agent.name.as_str(), agent.uid.as_str()));
    let account = names::agent(&cluster.name);
    let token = request_token(stage, &account, &cluster.uid.to_string(), pod).await?;
    let request = cluster.request(&agent.uid, token)?;
    let roots = cluster.roots.clone();
    let mut joining = Joining::start(agent.ip, cluster.operator()?, roots, &request).await?;
    for expected in ["a certificate", "a map"] {
        match (expected, joining.next().await?) {
            ("a certificate", JoinResponse::Certificate { .. })
            | ("a map", JoinResponse::Map(_)) => {}
            (_, other) => bail!("{expected} was expected, not {other:?}"),
        }
    }
    let admitted = agent.incarnations().await?.get(&agent.uid).copied();
    joining.finish().await;
    wait::until("the real agent to join again", DEADLINE, async || {
        let now = agent.incarnations().await?.get(&agent.uid).copied();
        let joined = agent.metric("slotmesh_agent_joined").await? > 0.0;
        Ok((joined && now > admitted).then_some(()))
    })
    .await?;
    println!(
        "  the same client with a pod's own token and address is admitted; the pod's agent, deposed by it, joins again"
    );
    Ok(())
}

/// Requests that the leader has refused so far.
async fn refusals(stage: &Stage) -> Result<f64> {
    const NAME: &str = r#"slotmesh_operator_joins_total{outcome="refused"}"#;
    // None yet is no metric yet.
    Ok(stage.leader().await?.metric(NAME).await.unwrap_or(0.0))
}

impl Impostors {
    async fn make(stage: &Stage, honest: &Cluster) -> Result<Self> {
        let uid = honest.uid.to_string();
        let account = names::agent(&honest.name);
        let labels = json!({names::LABEL_CLUSTER_UID: uid});
        Ok(Self {
            by_hand: make_pod(stage, "by-hand", &account, labels).await?,
            unlabelled: make_pod(stage, "unlabelled", &account, json!({})).await?,
            other_account: make_pod(stage, "other-account", "default", json!({})).await?,
        })
    }
}

/// A pod that no node takes: it has an identity, and no process.
async fn make_pod(
    stage: &Stage,
    name: &str,
    account: &str,
    labels: serde_json::Value,
) -> Result<(String, String)> {
    let pods: Api<Pod> = Api::namespaced(stage.plane.client(), NAMESPACE);
    let pod = serde_json::from_value(json!({
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "serviceAccountName": account,
            "automountServiceAccountToken": false,
            "nodeSelector": {"slotmesh.dev/nowhere": "true"},
            "containers": [{"name": "main", "image": "none"}],
        },
    }))?;
    let made = pods.create(&PostParams::default(), &pod).await?;
    Ok((name.to_owned(), made.uid().context("a pod without UID")?))
}

async fn delete_pod(stage: &Stage, name: &str) -> Result<()> {
    let pods: Api<Pod> = Api::namespaced(stage.plane.client(), NAMESPACE);
    let now = DeleteParams::default().grace_period(0);
    pods.delete(name, &now).await?;
    wait::until("a pod to go", DEADLINE, async || {
        Ok(pods.get_opt(name).await?.is_none().then_some(()))
    })
    .await
}
