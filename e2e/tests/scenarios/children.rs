//! Every child of a cluster is deleted, then edited: it comes back within seconds, and no agent notices.
//! What others add stays. An object of somebody else is never taken over; overrides that touch what the
//! mesh rests on are refused; a paused cluster is left alone.

use std::time::Instant;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use slotmesh_e2e::stage::{NAMESPACE, Stage};
use slotmesh_e2e::wait;

use crate::told::condition;
use crate::{DEADLINE, Scene};

/// A child, a place in it that is the operator's, and what somebody writes there.
struct Child {
    kind: &'static str,
    name: &'static str,
    place: &'static str,
    edit: Value,
}

fn children() -> Vec<Child> {
    let child = |kind, name, place, edit| Child {
        kind,
        name,
        place,
        edit,
    };
    vec![
        child(
            "serviceaccount",
            "kept-agent",
            "/automountServiceAccountToken",
            json!(true),
        ),
        child("configmap", "kept-trust", "/data/ca.crt", json!("none")),
        child("service", "kept", "/spec/ports/0/port", json!(80)),
        child("networkpolicy", "kept-agent", "/spec/ingress", json!([])),
        child("daemonset", "kept-agent", "/spec/minReadySeconds", json!(1)),
        // Without this label the operator's watch does not see it any more.
        child(
            "service",
            "kept",
            "/metadata/labels/app.kubernetes.io~1name",
            json!("other"),
        ),
    ]
}

pub async fn play(stage: &mut Stage) -> Result<()> {
    let scene = Scene::set(stage, "kept", 2).await?;
    let restarts = stage.restarts(scene.name).await?;
    let (other, all) = {
        let mut all = children();
        (all.pop(), all)
    };
    for child in &all {
        child.is_deleted(stage).await?;
    }
    for child in all.iter().chain(&other) {
        child.is_edited(stage).await?;
    }
    stage.wait_ready(scene.name, 2).await?;
    ensure!(
        stage.restarts(scene.name).await? == restarts,
        "an agent was replaced or started again"
    );
    println!("  no agent was replaced or started again");
    what_others_add_stays(stage).await?;
    a_bad_override_is_refused(stage).await?;
    a_paused_cluster_is_left_alone(stage).await?;
    ensure!(
        stage.restarts(scene.name).await? == restarts,
        "an agent was replaced or started again"
    );
    a_name_that_is_taken_is_left_to_its_owner(stage).await?;
    scene.strike(stage).await
}

impl Child {
    async fn get(&self, stage: &Stage) -> Result<Value> {
        get(stage, self.kind, self.name).await
    }

    async fn is_deleted(&self, stage: &Stage) -> Result<()> {
        let before = self.get(stage).await?;
        let at = Instant::now();
        // Its pods stay, for the next DaemonSet with the same selector.
        let mut delete = vec!["delete", self.kind, self.name, "-n", NAMESPACE];
        delete.extend(["--cascade=orphan", "--wait=false"]);
        stage.plane.kubectl(&delete).await?;
        let what = format!("{} {} to be made again", self.kind, self.name);
        wait::until(&what, DEADLINE, async || {
            let now = self.get(stage).await?;
            let again = now["metadata"]["uid"] != before["metadata"]["uid"];
            Ok((again && now.pointer(self.place) == before.pointer(self.place)).then_some(()))
        })
        .await?;
        println!(
            "  {} {} deleted: back after {:.2} s",
            self.kind,
            self.name,
            at.elapsed().as_secs_f64()
        );
        Ok(())
    }

    async fn is_edited(&self, stage: &Stage) -> Result<()> {
        let before = self.get(stage).await?;
        let patch = json!([{"op": "replace", "path": self.place, "value": self.edit}]).to_string();
        let at = Instant::now();
        let mut edit = vec!["patch", self.kind, self.name, "-n", NAMESPACE];
        edit.extend(["--type=json", "-p", &patch]);
        stage.plane.kubectl(&edit).await?;
        let what = format!(
            "{} {} of {} to be as it was",
            self.place, self.kind, self.name
        );
        let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
        wait::until(&what, DEADLINE, async || {
            let now = self.get(stage).await?;
            let back = now.pointer(self.place) == before.pointer(self.place);
            Ok((back && version(&now) != version(&before)).then_some(()))
        })
        .await?;
        println!(
            "  {} {}: {} edited: back after {:.2} s",
            self.kind,
            self.name,
            self.place,
            at.elapsed().as_secs_f64()
        );
        Ok(())
    }
}

/// An annotation of somebody else stays, and costs no write; that the operator has looked at it is seen
/// by an edit beside it that it takes back.
async fn what_others_add_stays(stage: &Stage) -> Result<()> {
    let annotate = ["annotate", "service", "kept", "team=x", "-n", NAMESPACE];
    stage.plane.kubectl(&annotate).await?;
    let annotated = get(stage, "service", "kept").await?;
    for child in children() {
        if child.kind == "configmap" {
            child.is_edited(stage).await?;
        }
    }
    let now = get(stage, "service", "kept").await?;
    ensure!(now == annotated, "the Service was written: {now}");
    println!("  an annotation of somebody else stays, and the Service is not written for it");
    Ok(())
}

async fn a_bad_override_is_refused(stage: &Stage) -> Result<()> {
    let before = get(stage, "daemonset", "kept-agent").await?;
    let spec = json!({"agent": {"podOverrides": {"spec": {"hostNetwork": true}}}});
    stage.apply_cluster("kept", &spec).await?;
    let message = condition(stage, "kept", "Stalled", "InvalidPodOverrides").await?;
    println!("  {message}");
    ensure!(
        message.contains("podOverrides.spec.hostNetwork"),
        "{message}"
    );
    ensure!(get(stage, "daemonset", "kept-agent").await?["spec"] == before["spec"]);
    stage.apply_cluster("kept", &json!({})).await?;
    condition(stage, "kept", "Stalled", "AsExpected").await?;
    Ok(())
}

async fn a_paused_cluster_is_left_alone(stage: &Stage) -> Result<()> {
    let surge = "/spec/updateStrategy/rollingUpdate/maxSurge";
    let spec = |paused| json!({"paused": paused, "agent": {"update": {"maxSurge": 2}}});
    stage.apply_cluster("kept", &spec(true)).await?;
    let message = condition(stage, "kept", "Reconciling", "SpecNotApplied").await?;
    println!("  {message}");
    ensure!(message.contains("DaemonSet kept-agent"), "{message}");
    let set = get(stage, "daemonset", "kept-agent").await?;
    ensure!(set.pointer(surge) == Some(&json!("10%")), "{set}");
    stage.apply_cluster("kept", &spec(false)).await?;
    wait::until("the DaemonSet to follow the spec", DEADLINE, async || {
        let set = get(stage, "daemonset", "kept-agent").await?;
        Ok((set.pointer(surge) == Some(&json!(2))).then_some(()))
    })
    .await?;
    condition(stage, "kept", "Reconciling", "AsExpected").await?;
    Ok(())
}

async fn a_name_that_is_taken_is_left_to_its_owner(stage: &Stage) -> Result<()> {
    let create = ["create", "configmap", "taken-trust", "-n", NAMESPACE];
    stage.plane.kubectl(&create).await?;
    let theirs = get(stage, "configmap", "taken-trust").await?;
    stage.apply_cluster("taken", &json!({})).await?;
    let message = condition(stage, "taken", "Stalled", "NameConflict").await?;
    println!("  {message}");
    ensure!(message.contains("ConfigMap taken-trust"), "{message}");
    ensure!(get(stage, "configmap", "taken-trust").await? == theirs);
    let delete = ["delete", "configmap", "taken-trust", "-n", NAMESPACE];
    stage.plane.kubectl(&delete).await?;
    condition(stage, "taken", "Stalled", "AsExpected").await?;
    stage.wait_ready("taken", 2).await?;
    crate::scene::delete_cluster(stage, "taken").await
}

async fn get(stage: &Stage, kind: &str, name: &str) -> Result<Value> {
    let get = ["get", kind, name, "-n", NAMESPACE, "-o", "json"];
    Ok(serde_json::from_str(&stage.plane.kubectl(&get).await?)?)
}
