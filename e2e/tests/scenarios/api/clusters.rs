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
            Some("unknown field \"spec.pause\""),
        ),
        ("paused", json!({"paused": true}), None),
        (
            "paused by a word",
            json!({"paused": "yes"}),
            Some("spec.paused in body must be of type boolean"),
        ),
        (
            "an interval of 99",
            json!({"health": {"heartbeatIntervalMilliseconds": 99}}),
            Some(
                "spec.health.heartbeatIntervalMilliseconds in body should be greater than or equal to 100",
            ),
        ),
        (
            "an interval of 5001",
            json!({"health": {"heartbeatIntervalMilliseconds": 5001}}),
            Some(
                "spec.health.heartbeatIntervalMilliseconds in body should be less than or equal to 5000",
            ),
        ),
        (
            "a long image",
            json!({"agent": {"image": "x".repeat(513)}}),
            Some("spec.agent.image: Too long: may not be more than 512 "),
        ),
        (
            "an empty image",
            json!({"agent": {"image": ""}}),
            Some("spec.agent.image in body should be at least 1 chars long"),
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
            Some("spec.balancing.mode: Unsupported value: \"Manual\""),
        ),
        (
            "a share of 0",
            json!({"balancing": {"maxUnhealthyPercent": 0}}),
            Some("spec.balancing.maxUnhealthyPercent in body should be greater than or equal to 1"),
        ),
        (
            "cells of 7",
            json!({"cells": {"maxMembers": 7}}),
            Some("spec.cells.maxMembers in body should be greater than or equal to 8"),
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
    let mut cases = Vec::new();
    for (part, refused) in [
        ("requests", "spec.agent.resources.requests.cpu"),
        ("limits", "spec.agent.resources.limits.cpu"),
    ] {
        let of = |cpu: Value| json!({"agent": {"resources": {part: {"cpu": cpu}}}});
        let refused = Some(refused);
        cases.extend([
            ("1 CPU", of(json!(1)), None),
            ("20m of CPU", of(json!("20m")), None),
            ("half a CPU", of(json!("0.5")), None),
            ("64Mi", of(json!("64Mi")), None),
            ("no number at all", of(json!("much")), refused),
            ("less than nothing", of(json!("-1")), refused),
        ]);
    }
    cases
}

fn overrides() -> Vec<Case> {
    let of = |overrides: Value| json!({"agent": {"podOverrides": overrides}});
    let refused = Some("spec.agent.podOverrides in body must be of type object");
    vec![
        (
            "overrides",
            of(json!({"metadata": {"labels": {"a": "b"}}, "spec": {"hostNetwork": false}})),
            None,
        ),
        ("overrides as text", of(json!("x")), refused),
        ("overrides as a list", of(json!([])), refused),
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
            "tolerations": [{"key": "gpu", "operator": "Equal", "value": "a", "effect": "NoExecute", "tolerationSeconds": 60}],
            "priorityClassName": "high",
            "update": {"type": "RollingUpdate", "maxSurge": "10%"},
            "podOverrides": {"metadata": {"annotations": {"a": "b"}}},
        },
        "health": {"heartbeatIntervalMilliseconds": 200},
        "balancing": {"mode": "Automatic", "maxUnhealthyPercent": 40},
        "cells": {"mode": "Automatic", "maxMembers": 250},
    })
}

/// A status in which every field is set.
pub fn whole_status() -> Value {
    json!({
        "observedGeneration": 1,
        "mode": "Affinity",
        "epoch": 10,
        "members": 3,
        "desiredMembers": 3,
        "failedMembers": 0,
        "owners": 3,
        "servedSlots": 16384,
        "cellCount": 1,
        "wireVersion": 1,
        "agentVersions": [{"version": "0.1.0", "members": 3}],
        "cells": [{
            "name": "c-a", "epoch": 10, "members": 3, "slots": 16384,
            "convergence": {
                "epoch": 10, "members": 3, "appliedMembers": 3,
                "halfMilliseconds": 1, "ninetyNinePercentMilliseconds": 2, "allMilliseconds": 3,
            },
        }],
        "plan": {"cause": "Rebalance", "parentEpoch": 10, "slots": 1, "moves": 1, "doneSlots": 0},
        "conditions": [{
            "type": "Ready", "status": "True", "reason": "AllSlotsServed", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1,
        }],
    })
}
