//! When a status is written again, and what it says.
#![allow(clippy::unwrap_used)]

use k8s_openapi::api::core::v1::PodStatus;

use super::*;

/// As a pod comes back from the API: with times in whole seconds, and with what others wrote.
fn after_writing(status: &Value) -> Pod {
    let mut status: PodStatus =
        serde_json::from_str(&serde_json::to_string(status).unwrap()).unwrap();
    let disruption = serde_json::from_value(json!({"type": "DisruptionTarget", "status": "True"}));
    status
        .conditions
        .get_or_insert_default()
        .push(disruption.unwrap());
    status.qos_class = Some("Burstable".into());
    Pod {
        status: Some(status),
        ..Pod::default()
    }
}

fn status(ready: &str, state: &Value) -> Value {
    json!({
        "phase": "Running",
        "podIP": "127.20.1.2",
        "conditions": [{"type": "Ready", "status": ready}],
        "containerStatuses": [{
            "name": "agent", "image": "agent", "imageID": "agent", "ready": ready == "True",
            "started": true, "restartCount": 1, "state": state, "lastState": terminated(137),
        }],
    })
}

#[test]
fn what_was_written_is_not_written_again() {
    for state in [
        running(),
        terminated(1),
        json!({"waiting": {"reason": "CrashLoopBackOff"}}),
    ] {
        let status = status("True", &state);
        assert!(!differs(&status, &after_writing(&status)), "{state}");
    }
}

#[test]
fn whatever_differs_is_written_again() {
    let wanted = status("True", &running());
    assert!(differs(&wanted, &Pod::default()));
    // As the node controller does to the pods of a node that was silent: it leaves the container alone.
    let mut silent = after_writing(&wanted);
    for condition in silent.status.iter_mut().flat_map(|s| &mut s.conditions) {
        for condition in condition {
            condition.status = "False".into();
        }
    }
    assert!(differs(&wanted, &silent));
    assert!(differs(
        &wanted,
        &after_writing(&status("True", &terminated(0)))
    ));
    let mut moved = after_writing(&wanted);
    moved.status.as_mut().unwrap().pod_ip = None;
    assert!(differs(&wanted, &moved));
}

#[test]
fn times_are_told_as_the_api_keeps_them() {
    let state = running().to_string();
    assert!(!state.contains('.'), "{state}");
    assert_eq!(now().subsec_nanosecond(), 0);
}

#[test]
fn a_phase_follows_the_container() {
    let told = |state: Value, restarts| Told {
        state,
        restarts,
        ..Told::default()
    };
    let waiting = json!({"waiting": {"reason": "CrashLoopBackOff"}});
    assert_eq!(told(waiting.clone(), 0).phase(), "Pending");
    assert_eq!(told(waiting, 1).phase(), "Running");
    assert_eq!(told(running(), 0).phase(), "Running");
    assert_eq!(told(terminated(0), 0).phase(), "Succeeded");
    assert_eq!(told(terminated(1), 3).phase(), "Failed");
}
