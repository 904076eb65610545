use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use slotmesh_mesh::identity::Uid;

use super::*;

fn owner(kind: &str, name: &str, uid: Uid) -> OwnerReference {
    OwnerReference {
        api_version: "slotmesh.dev/v1alpha1".into(),
        kind: kind.into(),
        name: name.into(),
        uid: uid.to_string(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

fn checked(owners: Vec<OwnerReference>) -> Result<(), ApplyError> {
    let cluster = ClusterKey {
        namespace: "team".into(),
        name: "sessions".into(),
        uid: Uid::from_bytes([1; 16]),
    };
    let child = Child {
        api_version: "v1",
        kind: "Service",
        plural: "services",
        name: "sessions".into(),
        object: json!({}),
    };
    let resource = resource_of(child.api_version, child.kind, child.plural);
    let mut found = DynamicObject::new("sessions", &resource);
    found.metadata.owner_references = Some(owners);
    check_owner(&cluster, &child, &found)
}

#[test]
fn only_what_the_cluster_controls_is_touched() {
    let ours = owner("GossipCluster", "sessions", Uid::from_bytes([1; 16]));
    assert!(checked(vec![ours.clone()]).is_ok());

    let held = OwnerReference {
        controller: None,
        ..ours
    };
    for others in [
        vec![],
        vec![held],
        vec![owner("Deployment", "sessions", Uid::from_bytes([2; 16]))],
        vec![owner("GossipCluster", "other", Uid::from_bytes([2; 16]))],
    ] {
        let found = checked(others);
        assert!(
            matches!(found, Err(ApplyError::Conflict { .. })),
            "{found:?}"
        );
    }
}

/// The garbage collector is at it; no human is needed.
#[test]
fn what_a_deleted_cluster_of_this_name_left_is_waited_for() {
    let found = checked(vec![owner(
        "GossipCluster",
        "sessions",
        Uid::from_bytes([9; 16]),
    )]);
    assert!(
        matches!(found, Err(ApplyError::Leftover { .. })),
        "{found:?}"
    );
}

#[test]
fn answers_of_the_api_server_are_told_apart() {
    let of = |code, message: &str| {
        let status = Status {
            code,
            message: message.into(),
            ..Status::default()
        };
        refused("Service", "sessions".into(), &status)
    };
    assert!(matches!(of(403, "no"), ApplyError::Forbidden { .. }));
    let ends = "namespace team is being terminated";
    assert!(matches!(of(403, ends), ApplyError::Api { .. }));
    assert!(matches!(of(422, "no"), ApplyError::Invalid { .. }));
    assert!(matches!(of(500, "no"), ApplyError::Api { .. }));
}

#[test]
fn a_merge_of_ours_is_forgotten_and_nothing_else_is() {
    let entry = |manager: &str, operation: &str, subresource: Option<&str>| ManagedFieldsEntry {
        manager: Some(manager.into()),
        operation: Some(operation.into()),
        subresource: subresource.map(str::to_owned),
        ..ManagedFieldsEntry::default()
    };
    let kept = vec![
        entry(FIELD_MANAGER, "Apply", None),
        entry(FIELD_MANAGER, "Update", Some("status")),
        entry("kubectl-patch", "Update", None),
    ];
    let mut stored = DynamicObject::new("sessions", &resource_of("v1", "Service", "services"));
    stored.metadata.resource_version = Some("7".into());
    stored.metadata.managed_fields = Some(kept.clone());
    assert_eq!(without_update(&stored), None);

    let merge = entry(FIELD_MANAGER, "Update", None);
    stored.metadata.managed_fields = Some([vec![merge], kept.clone()].concat());
    let expected = json!({"metadata": {"resourceVersion": "7", "managedFields": kept}});
    assert_eq!(without_update(&stored), Some(expected));
}
