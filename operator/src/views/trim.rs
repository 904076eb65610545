//! What is kept of a watched object.

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, PodStatus};
use kube::Resource;

/// Nobody here asks who wrote which field, and it is a good part of an object.
pub(super) fn trim<T: Resource>(object: &mut T) {
    object.meta_mut().managed_fields = None;
}

/// What [`crate::inventory`] and [`crate::versions`] read of a pod: there may be a thousand of them.
pub(super) fn trim_pod(pod: &mut Pod) {
    trim(pod);
    pod.metadata.annotations = None;
    pod.spec = pod.spec.take().map(|spec| PodSpec {
        node_name: spec.node_name,
        containers: spec
            .containers
            .into_iter()
            .map(|container| Container {
                name: container.name,
                image: container.image,
                ..Container::default()
            })
            .collect(),
        ..PodSpec::default()
    });
    pod.status = pod.status.take().map(|status| PodStatus {
        phase: status.phase,
        pod_ip: status.pod_ip,
        conditions: status.conditions.map(|mut conditions| {
            conditions.retain(|condition| condition.type_ == "Ready");
            conditions
        }),
        ..PodStatus::default()
    });
}
