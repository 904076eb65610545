//! What is written to the API, and by whom, from the API server's own audit log.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

/// Reads are not noted: they are many, and change nothing.
const POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
    verbs: [create, update, patch, delete, deletecollection]
  - level: None
";

/// A request that changes something, or tried to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Who: `system:serviceaccount:<namespace>:<name>`, `system:node:<name>`, ...
    pub user: String,
    /// create, update, patch, delete or deletecollection.
    pub verb: String,
    /// Plural, with the subresource behind a slash.
    pub resource: String,
    /// Empty for what has none.
    pub namespace: String,
    /// Empty where the server makes the name, and for whole collections.
    pub name: String,
    /// HTTP status of the answer.
    pub status: u16,
}

impl std::fmt::Display for Write {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            user,
            verb,
            resource,
            namespace,
            name,
            status,
        } = self;
        write!(
            f,
            "{verb} {resource} {namespace}/{name} by {user} ({status})"
        )
    }
}

/// Writes the policy; flags of the API server.
pub(super) fn arguments(folder: &Path, log: &Path) -> Result<[String; 3]> {
    let policy = folder.join("audit-policy.yaml");
    fs::write(&policy, POLICY).with_context(|| format!("cannot write {}", policy.display()))?;
    Ok([
        format!("--audit-policy-file={}", policy.display()),
        format!("--audit-log-path={}", log.display()),
        // Noted before it is answered: whoever has the answer finds it in the log.
        "--audit-log-mode=blocking-strict".into(),
    ])
}

/// All writes of a log.
pub(super) fn read(log: &Path) -> Result<Vec<Write>> {
    let text = match fs::read_to_string(log) {
        // Made with the first write.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        text => text.with_context(|| format!("cannot read {}", log.display()))?,
    };
    parse(&text).with_context(|| format!("{} is no audit log", log.display()))
}

fn parse(text: &str) -> Result<Vec<Write>> {
    // What comes after the last end of a line is still being written.
    let whole = text
        .rsplit_once('\n')
        .map_or("", |(whole, _)| whole)
        .lines();
    whole
        .map(|line| Ok(serde_json::from_str::<Event>(line)?.into()))
        .collect()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    verb: String,
    user: User,
    #[serde(default)]
    object_ref: Object,
    #[serde(default)]
    response_status: Status,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Object {
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    code: u16,
}

impl From<Event> for Write {
    fn from(event: Event) -> Self {
        let object = event.object_ref;
        let slash = if object.subresource.is_empty() {
            ""
        } else {
            "/"
        };
        Self {
            user: event.user.username,
            verb: event.verb,
            resource: format!("{}{slash}{}", object.resource, object.subresource),
            namespace: object.namespace,
            name: object.name,
            status: event.response_status.code,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const LINE: &str = r#"{"kind":"Event","level":"Metadata","stage":"ResponseComplete","requestURI":"/apis/x","verb":"update","user":{"username":"system:serviceaccount:a:b","groups":[]},"objectRef":{"resource":"gossipclusters","namespace":"default","name":"c","apiGroup":"slotmesh.dev","subresource":"status"},"responseStatus":{"metadata":{},"code":200}}"#;

    #[test]
    fn writes_are_read_from_whole_lines() {
        let half = LINE.get(..50).unwrap();
        let found = parse(&format!("{LINE}\n{half}")).unwrap();
        let told: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            ["update gossipclusters/status default/c by system:serviceaccount:a:b (200)"]
        );
    }

    #[test]
    fn what_is_no_event_is_refused() {
        assert!(parse("{}\n").is_err());
        assert!(parse("").unwrap().is_empty());
    }
}
