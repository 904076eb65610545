//! A policy of the API server that keeps the operator from making something, for stories in which it is
//! killed between two writes: milliseconds lie between them, so it has to be held up.

use anyhow::Result;
use serde_json::{Value, json};
use slotmesh_e2e::stage::{OPERATOR_USER, Stage};
use slotmesh_e2e::wait;

use crate::DEADLINE;

const NAME: &str = "slotmesh-e2e-not-yet";
const MESSAGE: &str = "not yet";

/// Resources of a group that are held up.
pub type Rule<'a> = (&'a str, &'a [&'a str]);

/// Lets nobody create objects of these resources but those of which the expression (CEL) holds.
pub async fn set(stage: &Stage, rules: &[Rule<'_>], expression: &str) -> Result<()> {
    let metadata = json!({"name": NAME});
    let rule = |(group, resources): &Rule<'_>| {
        json!({
            "apiGroups": [group],
            "apiVersions": ["*"],
            "operations": ["CREATE"],
            "resources": resources,
        })
    };
    let rules: Vec<Value> = rules.iter().map(rule).collect();
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": metadata,
        "spec": {
            "matchConstraints": {"resourceRules": rules},
            "validations": [{"expression": expression, "message": MESSAGE}],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": metadata,
        "spec": {"policyName": NAME, "validationActions": ["Deny"]},
    });
    for object in [policy, binding] {
        let apply = ["apply", "-f", "-"];
        stage
            .plane
            .kubectl_with_input(&apply, &object.to_string())
            .await?;
    }
    Ok(())
}

/// Waits until the policy refuses that object.
pub async fn wait_for(stage: &Stage, refused: &Value) -> Result<()> {
    let create = [
        "create",
        "-f",
        "-",
        "--dry-run=server",
        "--as",
        OPERATOR_USER,
    ];
    wait::until("the policy to act", DEADLINE, async || {
        let tried = stage
            .plane
            .kubectl_with_input(&create, &refused.to_string())
            .await;
        let complaint = tried
            .err()
            .map(|error| format!("{error:#}"))
            .unwrap_or_default();
        Ok(complaint.contains(MESSAGE).then_some(()))
    })
    .await
}

/// Takes it away; it acts for some moments more.
pub async fn lift(stage: &Stage) -> Result<()> {
    let kinds = "validatingadmissionpolicies,validatingadmissionpolicybindings";
    let delete = ["delete", kinds, NAME, "--wait=false", "--ignore-not-found"];
    stage.plane.kubectl(&delete).await.map(drop)
}
