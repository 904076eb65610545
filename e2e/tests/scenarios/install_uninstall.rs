//! SlotMesh is uninstalled under a running cluster: what must stay stays, and works on without any
//! operator. Installed again it takes over what is there. A cluster that is deleted then leaves
//! nothing behind.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use slotmesh_api::names;
use slotmesh_e2e::lookups::LookUps;
use slotmesh_e2e::measure::{self, Failure};
use slotmesh_e2e::stage::{Agent, NAMESPACE, OPERATOR_NAMESPACE, RELEASE, Stage};
use slotmesh_e2e::wait;

use crate::{DEADLINE, Scene};

const MEMBERS: u8 = 4;
const CRDS: [&str; 2] = ["gossipcells.slotmesh.dev", "gossipclusters.slotmesh.dev"];
/// What a cluster consists of, beside its pods and what the DaemonSet controller keeps for itself.
const CHILDREN: [&str; 6] = [
    "daemonset.apps",
    "serviceaccount",
    "service",
    "networkpolicy.networking.k8s.io",
    "configmap",
    "secret",
];

pub async fn play(stage: &mut Stage) -> Result<()> {
    let scene = Scene::set(stage, "kept", MEMBERS).await?;
    let uids = uids_of_what_stays(stage, scene.name).await?;
    let incarnations = scene.agents[0].incarnations().await?;
    let victim = &scene.agents[MEMBERS as usize - 1];
    let survivors = scene.others(victim);
    let look_ups = LookUps::start(survivors.iter().copied());

    let begun = Instant::now();
    stage.uninstall().await?;
    println!("  helm uninstall: {:.1} s", seconds(begun));
    only_the_release_went(stage).await?;
    let same = uids_of_what_stays(stage, scene.name).await?;
    ensure!(same == uids, "it changed: {uids:?} -> {same:?}");
    println!(
        "  the CRDs, the cluster, its {} agents and its keys stay",
        MEMBERS
    );

    let epoch = survivors[0].locate("user:42").await?.epoch;
    verdict_without_operator(&scene, victim, &survivors).await?;

    let begun = Instant::now();
    stage.install().await?;
    let installed = seconds(begun);
    // The status still says Ready: what shows that somebody leads is that the killed agent is admitted.
    let old = incarnations.get(&victim.uid);
    wait::until("the killed agent to be admitted", DEADLINE, async || {
        let now = survivors[0].incarnations().await?;
        Ok((now.get(&victim.uid) > old).then_some(()))
    })
    .await?;
    let admitted = seconds(begun);
    stage.wait_ready(scene.name, MEMBERS.into()).await?;
    println!(
        "  helm install takes over the kept CRDs: {installed:.1} s, the killed agent is admitted after {admitted:.1} s"
    );
    let tally = look_ups.stop().await?;
    println!("  {tally}");
    tally.ensure_served()?;
    went_on(stage, &scene, victim, &incarnations, epoch).await?;
    let same = uids_of_what_stays(stage, scene.name).await?;
    ensure!(same == uids, "it was made anew: {uids:?} -> {same:?}");

    nothing_is_left(stage, scene.name).await?;
    scene.nodes.remove().await;
    Ok(())
}

/// UIDs of everything that an uninstallation must not touch.
async fn uids_of_what_stays(stage: &Stage, cluster: &str) -> Result<BTreeMap<String, String>> {
    let format =
        r#"jsonpath={range .items[*]}{.kind}/{.metadata.name}{" "}{.metadata.uid}{"\n"}{end}"#;
    let mut text = String::new();
    let crds = ["get", "crd", "-l", "app.kubernetes.io/part-of=slotmesh"];
    let label = format!("{}={cluster}", names::LABEL_CLUSTER);
    let children =
        "daemonsets,pods,serviceaccounts,services,networkpolicies,configmaps,secrets,gcell";
    let labelled = ["get", children, "-A", "-l", &label];
    let clusters = ["get", "gossip", "-n", NAMESPACE];
    for query in [&crds[..], &labelled[..], &clusters[..]] {
        let query = [query, &["-o", format]].concat();
        text += &stage.plane.kubectl(&query).await?;
    }
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    let found: BTreeMap<String, String> = pairs
        .map(|(name, uid)| (name.to_owned(), uid.to_owned()))
        .collect();
    for crd in CRDS {
        let name = format!("CustomResourceDefinition/{crd}");
        ensure!(found.contains_key(&name), "no {name} in {found:?}");
    }
    ensure!(
        found.contains_key(&format!("GossipCluster/{cluster}")),
        "no {cluster} in {found:?}"
    );
    let keys = found.keys().filter(|name| name.starts_with("Secret/"));
    ensure!(keys.count() == 2, "not two Secrets in {found:?}");
    Ok(found)
}

/// Of the release nothing is left but what it was told to keep.
async fn only_the_release_went(stage: &Stage) -> Result<()> {
    let release = format!("app.kubernetes.io/instance={RELEASE}");
    let kinds =
        "deployments,pods,serviceaccounts,roles,rolebindings,clusterroles,clusterrolebindings";
    let query = ["get", kinds, "-A", "-l", &release, "-o", "name"];
    wait::until("the release's objects to go", DEADLINE, async || {
        let left = stage.plane.kubectl(&query).await?;
        ensure!(left.is_empty(), "still there: {}", left.replace('\n', " "));
        Ok(Some(()))
    })
    .await
}

/// A member is killed while no operator exists: the others agree on it all the same.
async fn verdict_without_operator(
    scene: &Scene,
    victim: &Agent,
    survivors: &[&Agent],
) -> Result<()> {
    let at = measure::unix_seconds();
    measure::bring_down(&scene.nodes, victim, Failure::Kill)?;
    let verdict = measure::verdict_over(survivors, victim, at).await?;
    println!(
        "  no operator: an agent is killed, verdict on the last survivor after {:.2} s",
        verdict - at
    );
    // Its node starts it again; it may join once there is an operator.
    scene
        .nodes
        .change(NAMESPACE, &victim.name, |verbs| verbs.held = false)
}

/// After the second installation: the same pods, the same processes but for the one that was killed,
/// and higher epochs.
async fn went_on(
    stage: &Stage,
    scene: &Scene,
    victim: &Agent,
    incarnations: &BTreeMap<String, u64>,
    epoch: u64,
) -> Result<()> {
    let agents = stage.agents(scene.name).await?;
    ensure!(agents == scene.agents, "other pods: {agents:?}");
    let restarts = stage.restarts(scene.name).await?;
    let now = agents[0].locate("user:42").await?.epoch;
    ensure!(now > epoch, "epoch {epoch} -> {now}");
    let lists = agents[0].incarnations().await?;
    for agent in &agents {
        let killed = i32::from(agent == victim);
        ensure!(
            restarts.get(&agent.uid) == Some(&killed),
            "{} restarted: {restarts:?}",
            agent.name
        );
        let (before, after) = (incarnations.get(&agent.uid), lists.get(&agent.uid));
        let as_expected = if agent == victim {
            after > before
        } else {
            after == before
        };
        ensure!(
            as_expected && after.is_some(),
            "{}: incarnation {before:?} -> {after:?}",
            agent.name
        );
    }
    println!(
        "  no agent restarted or joined anew but the killed one; epoch {epoch} -> {now}, as a change of the same record"
    );
    Ok(())
}

/// The cluster is deleted: children and keys go, whatever kinds there are.
pub async fn nothing_is_left(stage: &Stage, cluster: &str) -> Result<()> {
    let resources = [
        "api-resources",
        "--namespaced",
        "--verbs=list",
        "-o",
        "name",
    ];
    let kinds = stage.plane.kubectl(&resources).await?;
    let kinds: Vec<&str> = kinds.lines().filter(|kind| !is_virtual(kind)).collect();
    let (all, label) = (
        kinds.join(","),
        format!("{}={}", names::LABEL_CLUSTER, cluster),
    );
    let query = ["get", &all, "-A", "-l", &label, "-o", "name"];
    let before = stage.plane.kubectl(&query).await?;
    for child in CHILDREN
        .into_iter()
        .chain(["gossipcell.slotmesh.dev", "pod"])
    {
        let prefix = format!("{child}/");
        ensure!(
            before.lines().any(|name| name.starts_with(&prefix)),
            "the listing finds no {child}: {before}"
        );
    }
    let begun = Instant::now();
    let delete = ["delete", "gossip", cluster, "-n", NAMESPACE];
    stage.plane.kubectl(&delete).await?;
    let secrets = [
        "get",
        "secrets",
        "-n",
        OPERATOR_NAMESPACE,
        "-l",
        &label,
        "-o",
        "name",
    ];
    wait::until("the cluster's keys to go", DEADLINE, async || {
        let left = stage.plane.kubectl(&secrets).await?;
        Ok(left.is_empty().then_some(()))
    })
    .await?;
    let keys = seconds(begun);
    wait::until(
        "everything else of the cluster to go",
        DEADLINE,
        async || {
            let left = stage.plane.kubectl(&query).await?;
            ensure!(left.is_empty(), "still there: {}", left.replace('\n', " "));
            Ok(Some(()))
        },
    )
    .await
    .context("is something not owned by the cluster?")?;
    println!(
        "  the cluster is deleted: its keys are gone after {keys:.1} s, all of its {} objects of {} kinds after {:.1} s",
        before.lines().count(),
        kinds.len(),
        seconds(begun)
    );
    Ok(())
}

/// Kinds that can be listed but hold no objects of their own.
fn is_virtual(kind: &str) -> bool {
    kind.ends_with(".metrics.k8s.io")
}

fn seconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64()
}
