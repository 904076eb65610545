#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use super::*;

/// In the form of the agents' template, with little in it.
fn template() -> Value {
    json!({
        "metadata": {"labels": {"app.kubernetes.io/name": "slotmesh-agent"}},
        "spec": {
            "serviceAccountName": "sessions-agent",
            "containers": [{
                "name": "agent",
                "image": "agent:1",
                "env": [{"name": "SLOTMESH_CLUSTER_NAME", "value": "sessions"}],
                "ports": [{"name": "mesh", "containerPort": 7400, "protocol": "UDP"}],
                "volumeMounts": [{"name": "trust", "mountPath": "/etc/slotmesh/trust"}],
            }],
            "volumes": [{"name": "trust", "configMap": {"name": "sessions-trust"}}],
        },
    })
}

fn agent(field: &str, value: Value) -> Value {
    json!({"spec": {"containers": [{"name": "agent", field: value}]}})
}

#[test]
fn nothing_merged_changes_nothing() {
    let nothing = [
        json!({}),
        json!({"metadata": {}, "spec": {}}),
        json!({"spec": {"containers": [], "affinity": null}}),
    ];
    for overrides in nothing {
        assert_eq!(merge(template(), &overrides).unwrap(), template());
    }
}

#[test]
fn overrides_are_merged_by_name() {
    let overrides = json!({
        "metadata": {"labels": {"team": "x"}, "annotations": {"a": "b"}},
        "spec": {
            "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [{"key": "gpu", "operator": "DoesNotExist"}]}],
            }}},
            "containers": [
                {"name": "agent", "env": [{"name": "SLOTMESH_LOG_LEVEL", "value": "debug"}]},
                {"name": "sidecar", "image": "proxy:1"},
            ],
            "volumes": [{"name": "scratch", "emptyDir": {}}],
        },
    });
    let merged = merge(template(), &overrides).unwrap();
    let mut expected = template();
    expected["metadata"]["labels"]["team"] = json!("x");
    expected["metadata"]["annotations"] = json!({"a": "b"});
    expected["spec"]["affinity"] = overrides["spec"]["affinity"].clone();
    let env = expected["spec"]["containers"][0]["env"]
        .as_array_mut()
        .unwrap();
    env.push(json!({"name": "SLOTMESH_LOG_LEVEL", "value": "debug"}));
    let containers = expected["spec"]["containers"].as_array_mut().unwrap();
    containers.push(json!({"name": "sidecar", "image": "proxy:1"}));
    let volumes = expected["spec"]["volumes"].as_array_mut().unwrap();
    volumes.push(json!({"name": "scratch", "emptyDir": {}}));
    assert_eq!(merged, expected);
}

#[test]
fn what_the_mesh_rests_on_is_refused_by_path() {
    let cases = [
        (
            json!({"spec": {"hostNetwork": true}}),
            "podOverrides.spec.hostNetwork",
        ),
        (
            json!({"spec": {"hostPID": true}}),
            "podOverrides.spec.hostPID",
        ),
        (
            json!({"spec": {"hostIPC": true}}),
            "podOverrides.spec.hostIPC",
        ),
        (
            json!({"spec": {"serviceAccountName": "x"}}),
            "podOverrides.spec.serviceAccountName",
        ),
        (
            json!({"spec": {"serviceAccount": "x"}}),
            "podOverrides.spec.serviceAccount",
        ),
        (
            json!({"spec": {"automountServiceAccountToken": true}}),
            "podOverrides.spec.automountServiceAccountToken",
        ),
        (
            json!({"spec": {"nodeName": "n"}}),
            "podOverrides.spec.nodeName",
        ),
        (
            json!({"metadata": {"labels": {"app.kubernetes.io/name": "x"}}}),
            "podOverrides.metadata.labels[app.kubernetes.io/name]",
        ),
        (
            json!({"metadata": {"labels": {"slotmesh.dev/anything": "x"}}}),
            "podOverrides.metadata.labels[slotmesh.dev/anything]",
        ),
        (
            json!({"metadata": {"finalizers": ["x"]}}),
            "podOverrides.metadata.finalizers",
        ),
        (
            json!({"spec": {"volumes": [{"name": "x"}, {"name": "trust", "emptyDir": {}}]}}),
            "podOverrides.spec.volumes[1].name",
        ),
        (
            agent(
                "env",
                json!([{"name": "A", "value": ""}, {"name": "SLOTMESH_MESH_PORT", "value": "1"}]),
            ),
            "podOverrides.spec.containers[0].env[1].name",
        ),
        (
            agent("ports", json!([{"containerPort": 7400, "protocol": "UDP"}])),
            "podOverrides.spec.containers[0].ports[0]",
        ),
        (
            agent("ports", json!([{"name": "mesh", "containerPort": 1}])),
            "podOverrides.spec.containers[0].ports[0]",
        ),
        (
            agent(
                "volumeMounts",
                json!([{"name": "x", "mountPath": "/etc/slotmesh/trust/ca.crt"}]),
            ),
            "podOverrides.spec.containers[0].volumeMounts[0].mountPath",
        ),
        (
            agent("args", json!(["--mesh-port=1"])),
            "podOverrides.spec.containers[0].args",
        ),
        (
            agent("command", json!(["sh"])),
            "podOverrides.spec.containers[0].command",
        ),
    ];
    for (overrides, expected) in cases {
        match merge(template(), &overrides) {
            Err(PodOverridesError::Refused { path, because }) => {
                assert_eq!(path, expected);
                assert!(!because.is_empty());
            }
            other => panic!("{overrides}: {other:?}"),
        }
    }
}

#[test]
fn a_field_that_a_template_does_not_have_is_refused_by_path() {
    let cases = [
        (
            json!({"affinity": {}, "spce": {"x": 1}}),
            "podOverrides.spce",
        ),
        (
            json!({"spec": {"afinity": {"x": 1}}}),
            "podOverrides.spec.afinity",
        ),
        (
            agent("envs", json!([{"name": "A"}])),
            "podOverrides.spec.containers[0].envs",
        ),
        (
            json!({"spec": {"tolerations": [{"key": "a"}, {"keys": "b"}]}}),
            "podOverrides.spec.tolerations[1].keys",
        ),
    ];
    for (overrides, expected) in cases {
        let path = expected.to_owned();
        assert_eq!(
            merge(template(), &overrides),
            Err(PodOverridesError::Unknown { path }),
            "{overrides}"
        );
    }
}

#[test]
fn what_does_not_parse_names_the_field() {
    let cases = [
        (
            json!({"spec": {"priority": "high", "hostname": "x"}}),
            "podOverrides.spec.priority",
        ),
        (
            json!({"metadata": {"labels": {"a": 1}}}),
            "podOverrides.metadata.labels",
        ),
        (
            json!({"spec": {"containers": [{"image": "x"}]}}),
            "podOverrides.spec.containers[0].name",
        ),
        (json!({"spec": []}), "podOverrides"),
        (json!("text"), "podOverrides"),
    ];
    for (overrides, expected) in cases {
        let found = merge(template(), &overrides);
        assert!(
            matches!(&found, Err(PodOverridesError::Malformed { path, .. }) if path == expected),
            "{overrides}: {found:?}"
        );
    }
}

/// `kubectl explain` teaches what is refused, or somebody finds out by a cluster that is Stalled.
#[test]
fn what_is_refused_is_explained() {
    let (_, crd) = slotmesh_api::crds::all()
        .into_iter()
        .find(|(_, crd)| crd.spec.names.kind == "GossipCluster")
        .unwrap();
    let schema = serde_json::to_value(&crd.spec.versions[0].schema).unwrap();
    let field = "/openAPIV3Schema/properties/spec/properties/agent/properties/podOverrides";
    let text = schema.pointer(field).unwrap()["description"]
        .as_str()
        .unwrap();
    let refused = REFUSED_IN_POD.map(|(name, _)| name);
    for name in refused.into_iter().chain(["command", "args", ENV_PREFIX]) {
        assert!(
            text.contains(&format!("`{name}`")),
            "{name} is not in: {text}"
        );
    }
    let logs = text.split('`').filter(|word| word.starts_with(ENV_OF_LOGS));
    assert!(logs.count() > 0, "what may be set of it: {text}");
}
