//! Specs of a GossipCluster, and what the API server is to say of each: accepted, or refused with words
//! that name the reason.

use serde_json::{Value, json};

/// What it is, the spec, and the words of the refusal.
pub type Case = (&'static str, Value, Option<&'static str>);

/// Rules that are no bound of one field, or that a bound alone does not tell.
pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        ("an empty spec", json!({}), None),
        (
            "an unknown field",
            json!({"pause": true}),
            Some("unknown field"),
        ),
        ("paused", json!({"paused": true}), None),
        ("paused by a word", json!({"paused": "yes"}), Some("paused")),
        (
            "an interval of 99",
            json!({"health": {"heartbeatIntervalMilliseconds": 99}}),
            Some("100"),
        ),
        (
            "an interval of 5001",
            json!({"health": {"heartbeatIntervalMilliseconds": 5001}}),
            Some("5000"),
        ),
        (
            "a long image",
            json!({"agent": {"image": "x".repeat(513)}}),
            Some("512"),
        ),
        (
            "an empty image",
            json!({"agent": {"image": ""}}),
            Some("agent.image"),
        ),
        (
            "every field absent in its part",
            json!({"agent": {"update": {}}, "health": {}, "balancing": {}, "cells": {}}),
            None,
        ),
        (
            "parts that are null",
            json!({"agent": null, "balancing": null, "cells": null}),
            None,
        ),
        (
            "an unknown mode",
            json!({"balancing": {"mode": "Manual"}}),
            Some("balancing.mode"),
        ),
        (
            "a share of 0",
            json!({"balancing": {"maxUnhealthyPercent": 0}}),
            Some("maxUnhealthyPercent"),
        ),
        (
            "cells of 7",
            json!({"cells": {"maxMembers": 7}}),
            Some("maxMembers"),
        ),
    ];
    cases.extend(surges());
    cases.extend(resources());
    cases.extend(overrides());
    cases
}

fn surges() -> Vec<Case> {
    let of = |surge: Value| json!({"agent": {"update": {"maxSurge": surge}}});
    let refused = Some("maxSurge must be 1 to 100");
    vec![
        ("a surge of 1", of(json!(1)), None),
        ("a surge of 100", of(json!(100)), None),
        ("a surge of 1%", of(json!("1%")), None),
        ("a surge of 100%", of(json!("100%")), None),
        ("a surge that is null", of(Value::Null), None),
        ("a surge of 0", of(json!(0)), refused),
        ("a surge of 101", of(json!(101)), refused),
        ("a surge below 0", of(json!(-1)), refused),
        ("a surge beyond 32 bits", of(json!(1_u64 << 40)), refused),
        ("a surge of 0%", of(json!("0%")), refused),
        ("a surge of 101%", of(json!("101%")), refused),
        ("a surge of 010%", of(json!("010%")), refused),
        ("a surge as text", of(json!("10")), refused),
        ("a surge of nothing", of(json!("")), refused),
    ]
}

fn resources() -> Vec<Case> {
    let of = |cpu: Value| json!({"agent": {"resources": {"requests": {"cpu": cpu}}}});
    let refused = Some("requests");
    vec![
        ("1 CPU", of(json!(1)), None),
        ("20m of CPU", of(json!("20m")), None),
        ("half a CPU", of(json!("0.5")), None),
        ("64Mi", of(json!("64Mi")), None),
        ("no number at all", of(json!("much")), refused),
        ("less than nothing", of(json!("-1")), refused),
    ]
}

fn overrides() -> Vec<Case> {
    let of = |overrides: Value| json!({"agent": {"podOverrides": overrides}});
    vec![
        (
            "overrides",
            of(json!({"metadata": {"labels": {"a": "b"}}, "spec": {"hostNetwork": false}})),
            None,
        ),
        ("overrides as text", of(json!("x")), Some("podOverrides")),
        ("overrides as a list", of(json!([])), Some("podOverrides")),
    ]
}

/// A spec in which every field is set.
pub fn whole() -> Value {
    json!({
        "paused": false,
        "agent": {
            "image": "x",
            "imagePullPolicy": "Always",
            "imagePullSecrets": [{"name": "pull"}],
            "resources": {"requests": {"cpu": "20m"}, "limits": {"memory": "128Mi"}},
            "nodeSelector": {"disk": "ssd"},
            "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}],
            "priorityClassName": "high",
            "update": {"type": "RollingUpdate", "maxSurge": "10%"},
            "podOverrides": {"metadata": {"annotations": {"a": "b"}}},
        },
        "health": {"heartbeatIntervalMilliseconds": 200},
        "balancing": {"mode": "Automatic", "maxUnhealthyPercent": 40},
        "cells": {"mode": "Automatic", "maxMembers": 250},
    })
}
