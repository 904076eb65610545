//! `agent.podOverrides`: what a user merges over the agents' pod template, and what the mesh rests on
//! and nobody may change.

use k8s_openapi::DeepMerge;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::{Map, Value, json};
use slotmesh_api::names;
use thiserror::Error;

/// The agent's own container.
pub(super) const CONTAINER: &str = "agent";
/// Environment of the agent that is the operator's to set, but for what begins with [`ENV_OF_LOGS`].
const ENV_PREFIX: &str = "SLOTMESH_";
/// Environment that only says how the agent logs: anybody may set it.
const ENV_OF_LOGS: &str = "SLOTMESH_LOG_";
/// Fields of a pod that nobody may set, and why.
const REFUSED_IN_POD: [(&str, &str); 7] = [
    (
        "hostNetwork",
        "agents of several clusters share a node, each with an address of its own",
    ),
    ("hostPID", "agents run without rights on their node"),
    ("hostIPC", "agents run without rights on their node"),
    ("serviceAccountName", SERVICE_ACCOUNT),
    ("serviceAccount", SERVICE_ACCOUNT),
    ("automountServiceAccountToken", SERVICE_ACCOUNT),
    ("nodeName", "a DaemonSet places its own pods"),
];
const SERVICE_ACCOUNT: &str = "agents prove who they are by their own ServiceAccount's token";

/// Why overrides are not merged. Each message names the path below `spec.agent`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PodOverridesError {
    /// It does not parse.
    #[error("spec.agent.{path} is no part of a pod template: {message}")]
    Malformed {
        /// Where.
        path: String,
        /// What the parser says.
        message: String,
    },
    /// A field that a pod template does not have.
    #[error("spec.agent.{path} is not a field of a pod template (core/v1 PodTemplateSpec)")]
    Unknown {
        /// Where.
        path: String,
    },
    /// What the mesh rests on.
    #[error("spec.agent.{path} must not be set: {because}")]
    Refused {
        /// Where.
        path: String,
        /// Why.
        because: String,
    },
}

/// The template with the overrides merged over it.
///
/// # Errors
/// When the overrides do not parse, or touch what the mesh rests on.
pub(super) fn merge(template: Value, overrides: &Value) -> Result<Value, PodOverridesError> {
    const ROOT: &str = "podOverrides";
    refuse(&template, overrides, ROOT)?;
    let parsed = parse(overrides, ROOT)?;
    let malformed = |error: serde_json::Error| PodOverridesError::Malformed {
        path: ROOT.to_owned(),
        message: error.to_string(),
    };
    let back = serde_json::to_value(&parsed).map_err(malformed)?;
    if let Some(path) = lost(overrides, &back, ROOT.to_owned()) {
        return Err(PodOverridesError::Unknown { path });
    }
    let mut merged: PodTemplateSpec = serde_json::from_value(template).map_err(malformed)?;
    merged.merge_from(parsed);
    serde_json::to_value(&merged).map_err(malformed)
}

/// Parses overrides. The parser does not tell where it failed, so each field is tried alone.
fn parse(overrides: &Value, root: &str) -> Result<PodTemplateSpec, PodOverridesError> {
    let whole = serde_json::from_value::<PodTemplateSpec>(overrides.clone());
    whole.map_err(|error| {
        let alone = |part: &str, (name, value): (&String, &Value)| {
            let only = json!({part: {name.as_str(): value}});
            serde_json::from_value::<PodTemplateSpec>(only)
                .err()
                .map(|error| PodOverridesError::Malformed {
                    path: format!("{root}.{part}.{name}"),
                    message: error.to_string(),
                })
        };
        ["metadata", "spec"]
            .into_iter()
            .flat_map(|part| fields(&overrides[part]).map(move |field| (part, field)))
            .find_map(|(part, field)| alone(part, field))
            .unwrap_or_else(|| PodOverridesError::Malformed {
                path: root.to_owned(),
                message: error.to_string(),
            })
    })
}

/// The first path of what was given that was not understood: the parser passes over what it does not
/// know, and a misspelt field would do nothing and say nothing.
fn lost(given: &Value, understood: &Value, path: String) -> Option<String> {
    match (given, understood) {
        (Value::Object(given), Value::Object(understood)) => given
            .iter()
            .filter(|(_, value)| !is_empty(value))
            .find_map(|(name, value)| {
                let path = format!("{path}.{name}");
                match understood.get(name) {
                    Some(understood) => lost(value, understood, path),
                    None => Some(path),
                }
            }),
        (Value::Array(given), Value::Array(understood)) => given
            .iter()
            .zip(understood)
            .enumerate()
            .find_map(|(index, (given, understood))| {
                lost(given, understood, format!("{path}[{index}]"))
            }),
        _ => None,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

/// Complains about the first thing that the mesh rests on.
fn refuse(template: &Value, overrides: &Value, root: &str) -> Result<(), PodOverridesError> {
    let refused = |path: String, because: &str| {
        Err(PodOverridesError::Refused {
            path,
            because: because.to_owned(),
        })
    };
    for (name, _) in fields(at(overrides, "/metadata")) {
        if !matches!(name.as_str(), "labels" | "annotations") {
            let path = format!("{root}.metadata.{name}");
            return refused(path, "pods take labels and annotations only");
        }
    }
    for (name, _) in fields(at(overrides, "/metadata/labels")) {
        let of_ours = at(template, "/metadata/labels").get(name).is_some();
        if of_ours || name.starts_with(names::LABEL_PREFIX) {
            let path = format!("{root}.metadata.labels[{name}]");
            return refused(path, "agents are found by this label");
        }
    }
    for (name, because) in REFUSED_IN_POD {
        if at(overrides, "/spec")
            .get(name)
            .is_some_and(|v| !v.is_null())
        {
            return refused(format!("{root}.spec.{name}"), because);
        }
    }
    for (index, volume) in items(at(overrides, "/spec/volumes")).enumerate() {
        if has(at(template, "/spec/volumes"), "name", &volume["name"]) {
            let path = format!("{root}.spec.volumes[{index}].name");
            return refused(path, "this volume is the operator's; take another name");
        }
    }
    for (index, container) in items(at(overrides, "/spec/containers")).enumerate() {
        let path = format!("{root}.spec.containers[{index}]");
        match container["name"].as_str() {
            None | Some("") => {
                let path = format!("{path}.name");
                let message = "it is missing; the agent's container is named agent".to_owned();
                return Err(PodOverridesError::Malformed { path, message });
            }
            Some(CONTAINER) => {
                refuse_in_container(at(template, "/spec/containers/0"), container, &path)?
            }
            Some(_) => {}
        }
    }
    Ok(())
}

fn refuse_in_container(ours: &Value, given: &Value, path: &str) -> Result<(), PodOverridesError> {
    let refused = |path: String, because: &str| {
        Err(PodOverridesError::Refused {
            path,
            because: because.to_owned(),
        })
    };
    for name in ["command", "args"] {
        if !is_empty(&given[name]) {
            let path = format!("{path}.{name}");
            return refused(path, "the agent is set up by its environment");
        }
    }
    for (index, variable) in items(&given["env"]).enumerate() {
        let name = variable["name"].as_str().unwrap_or_default();
        if name.starts_with(ENV_PREFIX) && !name.starts_with(ENV_OF_LOGS) {
            let because = format!("{name} is the operator's to set");
            return refused(format!("{path}.env[{index}].name"), &because);
        }
    }
    for (index, port) in items(&given["ports"]).enumerate() {
        let taken = has(&ours["ports"], "name", &port["name"])
            || has(&ours["ports"], "containerPort", &port["containerPort"]);
        if taken {
            let path = format!("{path}.ports[{index}]");
            return refused(
                path,
                "this port is the mesh's; take another name and number",
            );
        }
    }
    for (index, mount) in items(&given["volumeMounts"]).enumerate() {
        let at = mount["mountPath"].as_str().unwrap_or_default();
        let inside = |of: &str| {
            at.strip_prefix(of)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if items(&ours["volumeMounts"])
            .filter_map(|m| m["mountPath"].as_str())
            .any(inside)
        {
            let path = format!("{path}.volumeMounts[{index}].mountPath");
            return refused(path, "what agents trust is mounted there");
        }
    }
    Ok(())
}

fn at<'a>(value: &'a Value, pointer: &str) -> &'a Value {
    value.pointer(pointer).unwrap_or(&Value::Null)
}

fn fields(object: &Value) -> impl Iterator<Item = (&String, &Value)> {
    object.as_object().into_iter().flat_map(Map::iter)
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// Whether the list has an item in which that field has that value.
fn has(list: &Value, field: &str, value: &Value) -> bool {
    !value.is_null() && items(list).any(|item| &item[field] == value)
}

#[cfg(test)]
mod tests;
