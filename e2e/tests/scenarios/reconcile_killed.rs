//! Both operators are killed (kill -9) at each step in which a new cluster comes to be: before its keys,
//! between them, before each of its children, and before its first map. Whoever leads next goes on from
//! there; in the end the cluster is like any other, with one set of keys, children and record.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use slotmesh_api::names;
use slotmesh_e2e::record::Record;
use slotmesh_e2e::stage::{NAMESPACE, OPERATOR_NAMESPACE, Stage};
use slotmesh_e2e::wait;

use crate::{DEADLINE, policy, scene, told};

const CLUSTER: &str = "built";
const NODES: u8 = 3;

/// What is made, in this order: resource, end of the object's name.
const STEPS: [(&str, &str); 8] = [
    ("secrets", "-ca"),
    ("secrets", "-map-key"),
    ("serviceaccounts", "-agent"),
    ("configmaps", "-trust"),
    ("services", CLUSTER),
    ("networkpolicies", "-agent"),
    ("daemonsets", "-agent"),
    ("gossipcells", ""),
];
const RULES: [policy::Rule<'_>; 4] = [
    (
        "",
        &["secrets", "serviceaccounts", "configmaps", "services"],
    ),
    ("networking.k8s.io", &["networkpolicies"]),
    ("apps", &["daemonsets"]),
    ("slotmesh.dev", &["gossipcells"]),
];

pub async fn play(stage: &mut Stage) -> Result<()> {
    let nodes = stage.add_nodes(CLUSTER, NODES).await?;
    let pods = stage.operator_pods().await?;
    policy::set(stage, &RULES, &all_but_the_first(0)).await?;
    let account = json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": format!("{CLUSTER}-agent"), "namespace": NAMESPACE},
    });
    policy::wait_for(stage, &account).await?;
    stage.apply_cluster(CLUSTER, &json!({})).await?;
    let begun = Instant::now();
    for (made, (resource, ending)) in STEPS.iter().enumerate() {
        wait::until(
            &format!("the operator to get as far as the {resource} {ending}"),
            DEADLINE,
            async || {
                // Before anything is made, all there is to see is that somebody has looked.
                let seen = stage.cluster(CLUSTER).await?.status.is_some();
                Ok((seen && count(stage).await? >= made).then_some(()))
            },
        )
        .await?;
        stage.hold_operators(&pods).await?;
        let found = count(stage).await?;
        ensure!(found == made, "killed with {found} made instead of {made}");
        policy::set(stage, &RULES, &all_but_the_first(made + 1)).await?;
        stage.return_operators(&pods)?;
    }
    policy::lift(stage).await?;
    stage.wait_ready(CLUSTER, NODES.into()).await?;
    println!(
        "  operators killed before each of {} things that they make; Ready after {:.1} s",
        STEPS.len(),
        begun.elapsed().as_secs_f64()
    );
    one_of_everything(stage).await?;
    let restarts = stage.restarts(CLUSTER).await?;
    ensure!(restarts.values().all(|count| *count == 0), "{restarts:?}");
    told::ensure_never_frozen(stage, CLUSTER).await?;
    scene::delete_cluster(stage, CLUSTER).await?;
    nodes.remove().await;
    Ok(())
}

/// The expression that holds of all but the objects of later steps.
fn all_but_the_first(allowed: usize) -> String {
    let refused: Vec<String> = STEPS
        .iter()
        .skip(allowed)
        .map(|(resource, ending)| {
            format!(
                "(request.resource.resource == '{resource}' && object.metadata.name.endsWith('{ending}'))"
            )
        })
        .collect();
    let refused = if refused.is_empty() {
        "false".to_owned()
    } else {
        refused.join(" || ")
    };
    // The record has a name that the API server generates.
    let mine = format!(
        "(has(object.metadata.name) ? object.metadata.name : object.metadata.generateName).contains('{CLUSTER}')"
    );
    let refused = refused.replace(" && object.metadata.name.endsWith('')", "");
    format!("!({mine}) || !({refused})")
}

/// How many of the steps are done.
async fn count(stage: &Stage) -> Result<usize> {
    let mut done = 0;
    for (resource, ending) in STEPS {
        let namespace = match resource {
            "secrets" => OPERATOR_NAMESPACE,
            _ => NAMESPACE,
        };
        let get = ["get", resource, "-n", namespace, "-o", "name"];
        let names = stage.plane.kubectl(&get).await?;
        let is_it = |name: &str| name.contains(CLUSTER) && name.ends_with(ending);
        done += usize::from(names.lines().any(is_it));
    }
    Ok(done)
}

/// Nothing was made twice on the way.
async fn one_of_everything(stage: &Stage) -> Result<()> {
    let mine = format!("{}={CLUSTER}", names::LABEL_CLUSTER);
    let get = ["get", "secrets", "-n", OPERATOR_NAMESPACE, "-l", &mine];
    let get = [get.as_slice(), &["-o", "name"]].concat();
    let keys = stage.plane.kubectl(&get).await?;
    ensure!(keys.lines().count() == 2, "keys: {keys}");
    let record = Record::whole(stage, CLUSTER).await?;
    ensure!(record.cells.len() == 1, "{:?}", record.cells);
    let agents = stage.agents(CLUSTER).await?;
    let agent = agents.first().context("no agents")?;
    let lists = agent.incarnations().await?.len();
    ensure!(lists == usize::from(NODES), "{lists} members");
    println!("  one record, two keys, {lists} members; no agent was started twice");
    Ok(())
}
