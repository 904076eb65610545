//! The operator's rights are exactly those agreed, cluster-wide and with namespaces; users get theirs
//! by aggregation, and nobody the right to write a record or a status.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use slotmesh_e2e::stage::{NAMESPACE, Stage};
use slotmesh_e2e::wait;

use super::{objects, render};
use crate::DEADLINE;

/// Group, resources, verbs.
type Rights = &'static [(&'static str, &'static str, &'static str)];

/// In every namespace that is served.
const SERVED: Rights = &[
    ("slotmesh.dev", "gossipclusters", "get list watch"),
    ("slotmesh.dev", "gossipclusters/status", "get update"),
    ("slotmesh.dev", "gossipclusters/finalizers", "update"),
    (
        "slotmesh.dev",
        "gossipcells",
        "get list watch create update delete",
    ),
    ("slotmesh.dev", "gossipcells/status", "update"),
    ("apps", "daemonsets", "get list watch create patch delete"),
    (
        "",
        "services serviceaccounts configmaps",
        "get list watch create patch delete",
    ),
    (
        "networking.k8s.io",
        "networkpolicies",
        "get list watch create patch delete",
    ),
    ("", "pods", "get list watch"),
    ("events.k8s.io", "events", "create patch"),
];
/// In no namespace.
const REVIEWS: Rights = &[("authentication.k8s.io", "tokenreviews", "create")];
const NODES: Rights = &[("", "nodes", "get list watch")];
/// In the operator's own namespace.
const OWN: Rights = &[
    ("", "secrets", "get list watch create delete"),
    ("coordination.k8s.io", "leases", "create"),
    (
        "coordination.k8s.io",
        "leases=slotmesh-operator",
        "get update",
    ),
];

pub async fn play(stage: &Stage) -> Result<()> {
    let everywhere = render(stage, None, &[], &[]).await?;
    let expected = set(&[SERVED, REVIEWS, NODES]);
    same(
        "ClusterRole",
        granted(&everywhere, "ClusterRole", "slotmesh-operator", None)?,
        expected,
    )?;
    same(
        "Role",
        granted(&everywhere, "Role", "slotmesh-operator", None)?,
        set(&[OWN]),
    )?;

    let values = [
        "watchNamespaces={default,kube-public}",
        "rbac.readNodes=false",
    ];
    let some = render(stage, None, &values, &[]).await?;
    same(
        "ClusterRole",
        granted(&some, "ClusterRole", "slotmesh-operator", None)?,
        set(&[REVIEWS]),
    )?;
    same(
        "Role",
        granted(&some, "Role", "slotmesh-operator", None)?,
        set(&[OWN]),
    )?;
    for namespace in ["default", "kube-public"] {
        let role = granted(&some, "Role", "slotmesh-operator-clusters", Some(namespace))?;
        same(namespace, role, set(&[SERVED]))?;
    }
    println!("  the operator's rights are those agreed, everywhere and in two namespaces alone");
    users(stage).await
}

fn same(role: &str, found: BTreeSet<String>, expected: BTreeSet<String>) -> Result<()> {
    let more: Vec<_> = found.difference(&expected).collect();
    let less: Vec<_> = expected.difference(&found).collect();
    ensure!(
        more.is_empty() && less.is_empty(),
        "{role}: too much {more:?}, missing {less:?}"
    );
    Ok(())
}

fn set(rights: &[Rights]) -> BTreeSet<String> {
    let mut set = BTreeSet::new();
    for (group, resources, verbs) in rights.iter().copied().flatten() {
        for resource in resources.split(' ') {
            for verb in verbs.split(' ') {
                set.insert(format!("{verb} {group}/{resource}"));
            }
        }
    }
    set
}

/// What the role of that kind and name grants; there must be one.
fn granted(
    manifest: &str,
    kind: &str,
    name: &str,
    namespace: Option<&str>,
) -> Result<BTreeSet<String>> {
    let objects = objects(manifest)?;
    let mut roles = objects.iter().filter(|object| {
        let metadata = &object["metadata"];
        object["kind"] == kind
            && metadata["name"] == name
            && namespace.is_none_or(|namespace| metadata["namespace"] == namespace)
    });
    let role = roles.next().with_context(|| format!("no {kind} {name}"))?;
    let texts = |value: &Value| -> Vec<String> {
        let items = value.as_array().into_iter().flatten();
        items
            .filter_map(|item| Some(item.as_str()?.to_owned()))
            .collect()
    };
    let mut set = BTreeSet::new();
    for rule in role["rules"].as_array().context("no rules")? {
        let names = texts(&rule["resourceNames"]);
        let names = names.into_iter().map(|name| format!("={name}"));
        let names: Vec<String> = if names.len() == 0 {
            vec![String::new()]
        } else {
            names.collect()
        };
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                for (name, verb) in names.iter().flat_map(|name| {
                    texts(&rule["verbs"])
                        .into_iter()
                        .map(move |verb| (name, verb))
                }) {
                    set.insert(format!("{verb} {group}/{resource}{name}"));
                }
            }
        }
    }
    Ok(set)
}

/// Users with the cluster's own roles, asked for what they may do.
async fn users(stage: &Stage) -> Result<()> {
    let all = [
        "get", "list", "watch", "create", "update", "patch", "delete",
    ];
    for (role, writes) in [("view", false), ("edit", true), ("admin", true)] {
        let user = format!("chart-{role}");
        let (user_flag, role_flag) = (format!("--user={user}"), format!("--clusterrole={role}"));
        let bind = [
            "create",
            "rolebinding",
            &user,
            &user_flag,
            &role_flag,
            "-n",
            NAMESPACE,
        ];
        stage.plane.kubectl(&bind).await?;
        let sees = ["get gossipclusters", "list gossipcells"];
        for question in sees {
            // Roles are aggregated by a controller.
            wait::until("an aggregated right", DEADLINE, async || {
                Ok(may(stage, &user, question).await?.then_some(()))
            })
            .await
            .with_context(|| format!("{role}: {question}"))?;
        }
        for verb in all {
            let reads = ["get", "list", "watch"].contains(&verb);
            let clusters = may(stage, &user, &format!("{verb} gossipclusters")).await?;
            ensure!(
                clusters == (reads || writes),
                "{role}: {verb} gossipclusters: {clusters}"
            );
            for kind in ["gossipcells", "gossipcells/status", "gossipclusters/status"] {
                let is = may(stage, &user, &format!("{verb} {kind}")).await?;
                ensure!(is == reads, "{role}: {verb} {kind}: {is}");
            }
        }
        let unbind = ["delete", "rolebinding", &user, "-n", NAMESPACE];
        stage.plane.kubectl(&unbind).await?;
    }
    println!(
        "  view reads both kinds, edit and admin write GossipClusters, nobody a record or a status"
    );
    Ok(())
}

async fn may(stage: &Stage, user: &str, question: &str) -> Result<bool> {
    let (verb, kind) = question.split_once(' ').context("no question")?;
    let (resource, sub) = kind.split_once('/').unwrap_or((kind, ""));
    let resource = format!("{resource}.slotmesh.dev");
    let subresource = format!("--subresource={sub}");
    let mut arguments = vec![
        "auth", "can-i", verb, &resource, "-n", NAMESPACE, "--as", user,
    ];
    if !sub.is_empty() {
        arguments.push(&subresource);
    }
    // The exit code says it too, and kubectl then fails.
    match stage.plane.kubectl(&arguments).await {
        Ok(answer) => Ok(answer.trim() == "yes"),
        Err(error) if format!("{error:#}").contains("failed (exit status: 1): \n") => Ok(false),
        Err(error) => Err(error),
    }
}
