//! Each thing that is not done is refused, and what the project's own pods use is not.
#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use super::*;

fn refused(spec: &Value) -> Option<String> {
    let pod = serde_json::from_value(json!({"metadata": {"name": "a"}, "spec": spec}));
    refusal(&pod.unwrap())
}

fn container(part: &Value) -> Option<String> {
    let mut container = json!({"name": "a", "image": "b"});
    for (name, value) in part.as_object().unwrap() {
        container
            .as_object_mut()
            .unwrap()
            .insert(name.clone(), value.clone());
    }
    refused(&json!({"containers": [container]}))
}

#[test]
fn what_is_not_done_is_refused() {
    let source = |source: Value| json!({"env": [{"name": "A", "valueFrom": source}]});
    for (part, word) in [
        (
            json!({"envFrom": [{"secretRef": {"name": "a"}}]}),
            "envFrom",
        ),
        (
            json!({"lifecycle": {"preStop": {"sleep": {"seconds": 1}}}}),
            "lifecycle",
        ),
        (json!({"workingDir": "/tmp"}), "workingDir"),
        (
            json!({"volumeMounts": [{"name": "a", "mountPath": "/a", "subPath": "b"}]}),
            "part of a volume",
        ),
        (
            source(json!({"secretKeyRef": {"name": "a", "key": "b"}})),
            "source of A",
        ),
        (
            source(json!({"configMapKeyRef": {"name": "a", "key": "b"}})),
            "source of A",
        ),
        (
            source(json!({"resourceFieldRef": {"resource": "limits.cpu"}})),
            "source of A",
        ),
        (
            source(json!({"fieldRef": {"fieldPath": "status.podIPs"}})),
            "status.podIPs in A",
        ),
        (json!({"env": [{"name": "A", "value": "$(B)"}]}), "A=`$(B)`"),
        (json!({"args": ["--name=$(B)"]}), "`--name=$(B)`"),
        (json!({"command": ["a", "$(B)"]}), "`$(B)`"),
        (
            json!({"readinessProbe": {"exec": {"command": ["a"]}}}),
            "probes",
        ),
        (json!({"livenessProbe": {"grpc": {"port": 1}}}), "probes"),
        (
            json!({"startupProbe": {"httpGet": {"port": 1}, "initialDelaySeconds": 1}}),
            "initialDelaySeconds",
        ),
    ] {
        let said = container(&part).unwrap_or_default();
        assert!(said.contains(word), "{part}: {said:?} without {word:?}");
    }
    let two = json!({"containers": [{"name": "a"}], "initContainers": [{"name": "b"}]});
    assert!(refused(&two).unwrap().contains("2 containers"));
}

#[test]
fn every_known_field_and_probe_is_taken() {
    let fields = FIELDS
        .iter()
        .copied()
        .chain(["metadata.labels['a']", "metadata.annotations['b']"]);
    let env: Vec<Value> = fields
        .map(|path| json!({"name": "A", "valueFrom": {"fieldRef": {"fieldPath": path}}}))
        .chain([json!({"name": "B", "value": "$"}), json!({"name": "C"})])
        .collect();
    let part = json!({
        "env": env,
        "args": ["--cost=$5", "--empty="],
        "readinessProbe": {"tcpSocket": {"port": "a"}},
        "livenessProbe": {"httpGet": {"port": 1}},
        "volumeMounts": [{"name": "a", "mountPath": "/a"}],
    });
    assert_eq!(container(&part), None);
}
