//! What process nodes do not do. A pod that asks for it is refused with words in its status: done half,
//! it would be a test of something else.

use k8s_openapi::api::core::v1::{Container, EnvVar, Pod, Probe};

use super::status::FIELDS;

/// What of a pod is not done here; none when all is.
pub(super) fn refusal(pod: &Pod) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let containers = spec.containers.len() + spec.init_containers.iter().flatten().count();
    if containers > 1 {
        return Some(format!("{containers} containers in one pod"));
    }
    of_container(spec.containers.first()?)
}

fn of_container(container: &Container) -> Option<String> {
    if container.env_from.iter().flatten().next().is_some() {
        return Some("envFrom".into());
    }
    if container.lifecycle.is_some() {
        return Some("lifecycle hooks".into());
    }
    if container.working_dir.is_some() {
        return Some("workingDir".into());
    }
    let mut mounts = container.volume_mounts.iter().flatten();
    if mounts.any(|mount| mount.sub_path.is_some() || mount.sub_path_expr.is_some()) {
        return Some("mounts of a part of a volume".into());
    }
    let mut variables = container.env.iter().flatten();
    if let Some(refused) = variables.find_map(of_variable) {
        return Some(refused);
    }
    let words = container.command.iter().flatten();
    let mut words = words.chain(container.args.iter().flatten());
    if let Some(word) = words.find(|word| refers(word)) {
        return Some(format!("references as in `{word}`"));
    }
    let probes = [
        &container.startup_probe,
        &container.readiness_probe,
        &container.liveness_probe,
    ];
    probes.into_iter().flatten().find_map(of_probe)
}

fn of_variable(variable: &EnvVar) -> Option<String> {
    let name = &variable.name;
    if let Some(value) = variable.value.as_ref().filter(|value| refers(value)) {
        return Some(format!("references as in {name}=`{value}`"));
    }
    let from = variable.value_from.as_ref()?;
    let Some(field) = &from.field_ref else {
        return Some(format!("the source of {name}"));
    };
    let path = &field.field_path;
    let in_a_map = ["metadata.labels['", "metadata.annotations['"];
    let known = FIELDS.contains(&path.as_str()) || in_a_map.iter().any(|map| path.starts_with(map));
    (!known).then(|| format!("the field {path} in {name}"))
}

/// Whether Kubernetes would put the value of a variable into it.
fn refers(text: &str) -> bool {
    text.contains("$(")
}

fn of_probe(probe: &Probe) -> Option<String> {
    let initial_delay = probe.initial_delay_seconds.unwrap_or(0);
    if initial_delay != 0 {
        return Some("initialDelaySeconds".into());
    }
    let known = probe.http_get.is_some() || probe.tcp_socket.is_some();
    (!known).then(|| "probes other than HTTP and TCP".into())
}

#[cfg(test)]
mod tests;
