#![allow(clippy::unwrap_used)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use slotmesh_api::GossipClusterStatus;

use super::standing;

fn status(conditions: &[(&str, &str)]) -> GossipClusterStatus {
    let conditions = conditions.iter().map(|(kind, state)| Condition {
        type_: (*kind).to_owned(),
        status: (*state).to_owned(),
        reason: "Because".to_owned(),
        message: format!("it is {state}"),
        last_transition_time: Time(jiff::Timestamp::UNIX_EPOCH),
        observed_generation: None,
    });
    GossipClusterStatus {
        members: Some(3),
        conditions: conditions.collect(),
        ..GossipClusterStatus::default()
    }
}

#[test]
fn only_a_ready_cluster_stands_well() {
    let (ready, said) = standing(&status(&[("Ready", "True"), ("Degraded", "True")]));
    assert!(ready);
    assert_eq!(said, "Ready with 3 members");
    let (ready, _) = standing(&status(&[("Ready", "Unknown")]));
    assert!(!ready);
}

#[test]
fn one_that_is_not_says_what_keeps_it() {
    let (ready, said) = standing(&status(&[
        ("Ready", "False"),
        ("Stalled", "True"),
        ("Frozen", "False"),
    ]));
    assert!(!ready);
    assert_eq!(
        said,
        "Ready=False, Because: it is False; Stalled=True, Because: it is True"
    );
}

#[test]
fn without_a_status_the_operator_is_asked_for() {
    let (ready, said) = standing(&status(&[]));
    assert!(!ready);
    assert!(said.contains("does an operator run"), "{said}");
}
