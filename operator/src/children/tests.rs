#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::Path;

use super::*;

fn children_of(agent: &AgentSpec) -> Result<Vec<Child>, PodOverridesError> {
    let owner = OwnerReference {
        api_version: "slotmesh.dev/v1alpha1".into(),
        kind: "GossipCluster".into(),
        name: "sessions".into(),
        uid: "6f1c2d3e-0000-4000-8000-000000000001".into(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    };
    let uid = owner.uid.clone();
    let parent = Parent {
        namespace: "team",
        name: "sessions",
        uid: &uid,
        owner,
        agent_image: agent.image.as_deref().unwrap_or("agent:1"),
        agent,
    };
    let trust = Trust {
        ca: "PEM",
        map_keys: "KEY",
        join_address: "10.0.0.1:7401",
    };
    let mut children = before_agents(&parent, &trust);
    children.push(agents(&parent)?);
    Ok(children)
}

fn children() -> Vec<Child> {
    children_of(&AgentSpec::default()).unwrap()
}

/// The DaemonSet that a spec, as a user writes it, gives.
fn daemon_set(agent: Value) -> Value {
    let agent: AgentSpec = serde_json::from_value(agent).unwrap();
    children_of(&agent).unwrap().pop().unwrap().object
}

/// The default DaemonSet with some places changed; None takes a place away.
fn default_with(changes: &[(&str, Option<Value>)]) -> Value {
    let mut set = daemon_set(json!({}));
    for (at, value) in changes {
        let (parent, name) = at.rsplit_once('/').unwrap();
        let parent = set.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        match value {
            Some(value) => parent.insert(name.to_owned(), value.clone()),
            None => parent.remove(name),
        };
    }
    set
}

/// A change here restarts every agent of every cluster on upgrade: make it on purpose only.
#[test]
fn the_pod_template_is_what_it_was() {
    let daemon_set = children().pop().unwrap();
    let found = serde_json::to_string_pretty(&daemon_set.object).unwrap() + "\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/children/daemonset.golden.json");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    let golden = std::fs::read_to_string(path).unwrap();
    assert_eq!(
        found, golden,
        "run with UPDATE_GOLDEN=1 if every agent is to restart on upgrade"
    );
}

#[test]
fn every_child_is_owned_labelled_and_unversioned() {
    for child in children() {
        let metadata = &child.object["metadata"];
        assert_eq!(
            metadata["ownerReferences"][0]["controller"], true,
            "{}",
            child.kind
        );
        assert_eq!(metadata["labels"]["slotmesh.dev/cluster"], "sessions");
        assert!(
            !child
                .object
                .to_string()
                .contains("app.kubernetes.io/version")
        );
        assert_eq!(child.object["kind"], child.kind);
    }
}

/// Fields that change nothing must not restart agents: neither empty ones nor defaults spelt out.
#[test]
fn an_empty_field_gives_the_same_bytes() {
    let default = daemon_set(json!({})).to_string();
    for agent in [
        json!({"imagePullSecrets": [], "nodeSelector": {}, "tolerations": []}),
        json!({"imagePullPolicy": "IfNotPresent", "update": {}}),
        json!({"update": {"type": "RollingUpdate", "maxSurge": "10%"}}),
        json!({"podOverrides": {}}),
        json!({"podOverrides": {"spec": {"containers": []}}}),
    ] {
        assert_eq!(daemon_set(agent.clone()).to_string(), default, "{agent}");
    }
}

#[test]
fn each_field_of_the_agent_has_its_place() {
    const POD: &str = "/spec/template/spec";
    const AGENT: &str = "/spec/template/spec/containers/0";
    let at = |parent: &str, name: &str| format!("{parent}/{name}");
    let resources = json!({"requests": {"cpu": 1, "memory": "64Mi"}, "limits": {"memory": "1Gi"}});
    let stored = json!({"requests": {"cpu": "1", "memory": "64Mi"}, "limits": {"memory": "1Gi"}});
    let toleration = json!([{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}]);
    let cases = [
        (
            json!({"image": "agent:2"}),
            at(AGENT, "image"),
            json!("agent:2"),
        ),
        (
            json!({"imagePullPolicy": "Always"}),
            at(AGENT, "imagePullPolicy"),
            json!("Always"),
        ),
        (
            json!({"imagePullSecrets": [{"name": "pull"}]}),
            at(POD, "imagePullSecrets"),
            json!([{"name": "pull"}]),
        ),
        (
            json!({"resources": resources}),
            at(AGENT, "resources"),
            stored,
        ),
        (
            json!({"nodeSelector": {"disk": "ssd"}}),
            at(POD, "nodeSelector"),
            json!({"disk": "ssd"}),
        ),
        (
            json!({"tolerations": toleration}),
            at(POD, "tolerations"),
            toleration.clone(),
        ),
        (
            json!({"priorityClassName": "high"}),
            at(POD, "priorityClassName"),
            json!("high"),
        ),
        (
            json!({"update": {"maxSurge": 2}}),
            "/spec/updateStrategy/rollingUpdate/maxSurge".to_owned(),
            json!(2),
        ),
        (
            json!({"update": {"type": "OnDelete"}}),
            "/spec/updateStrategy".to_owned(),
            json!({"type": "OnDelete"}),
        ),
        (
            json!({"podOverrides": {"spec": {"dnsPolicy": "Default"}}}),
            at(POD, "dnsPolicy"),
            json!("Default"),
        ),
    ];
    for (agent, place, value) in cases {
        let expected = default_with(&[(&place, Some(value))]);
        assert_eq!(daemon_set(agent.clone()), expected, "{agent}");
    }
}

#[test]
fn overrides_lie_over_the_fields_beside_them() {
    let found = daemon_set(json!({
        "nodeSelector": {"disk": "ssd"},
        "podOverrides": {
            "metadata": {"annotations": {"team": "x"}},
            "spec": {
                "nodeSelector": {"disk": "nvme"},
                "terminationGracePeriodSeconds": 60,
                "containers": [{"name": "agent", "env": [{"name": "SLOTMESH_LOG_LEVEL", "value": "debug"}]}],
            },
        },
    }));
    let mut env = daemon_set(json!({}))["spec"]["template"]["spec"]["containers"][0]["env"].clone();
    env.as_array_mut()
        .unwrap()
        .push(json!({"name": "SLOTMESH_LOG_LEVEL", "value": "debug"}));
    let pod = "/spec/template/spec";
    let expected = default_with(&[
        (
            "/spec/template/metadata/annotations",
            Some(json!({"team": "x"})),
        ),
        (
            &format!("{pod}/nodeSelector"),
            Some(json!({"disk": "nvme"})),
        ),
        (
            &format!("{pod}/terminationGracePeriodSeconds"),
            Some(json!(60)),
        ),
        (&format!("{pod}/containers/0/env"), Some(env)),
    ]);
    assert_eq!(found, expected);
}

/// What the real template rests on is what the rules of overrides protect.
#[test]
fn overrides_cannot_reach_what_the_template_sets() {
    let template = daemon_set(json!({}))["spec"]["template"].clone();
    let agent = &template["spec"]["containers"][0];
    let of_agent = |field: &str| {
        let items = agent[field].as_array().unwrap().iter();
        items
            .map(|item| json!({"spec": {"containers": [{"name": "agent", field: [item]}]}}))
            .collect::<Vec<_>>()
    };
    let labels = template["metadata"]["labels"].as_object().unwrap();
    let mut overrides = [of_agent("env"), of_agent("ports"), of_agent("volumeMounts")].concat();
    overrides.extend(
        labels
            .keys()
            .map(|l| json!({"metadata": {"labels": {l.as_str(): "x"}}})),
    );
    let volumes = template["spec"]["volumes"].as_array().unwrap();
    overrides.extend(volumes.iter().map(|v| json!({"spec": {"volumes": [v]}})));
    for overrides in overrides {
        let agent = AgentSpec {
            pod_overrides: Some(overrides.clone()),
            ..AgentSpec::default()
        };
        let found = children_of(&agent);
        assert!(
            matches!(found, Err(PodOverridesError::Refused { .. })),
            "{overrides}"
        );
    }
}
