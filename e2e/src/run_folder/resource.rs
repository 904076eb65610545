//! What a run makes that does not end with its processes.

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;

/// A thing with a name that the whole machine sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    /// A named network namespace, as `ip netns` makes it.
    NetworkNamespace(String),
    /// A network interface; of a veth pair one end is enough.
    Link(String),
}

impl Resource {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::NetworkNamespace(name) | Self::Link(name) => name,
        }
    }

    fn parse(line: &str) -> Option<Self> {
        match line.split_once(' ')? {
            ("netns", name) => Some(Self::NetworkNamespace(name.to_owned())),
            ("link", name) => Some(Self::Link(name.to_owned())),
            _ => None,
        }
    }

    /// Removes it; false when it is not there (any more).
    fn remove(&self) -> bool {
        let kind = match self {
            Self::NetworkNamespace(_) => "netns",
            Self::Link(_) => "link",
        };
        let output = Command::new("ip")
            .args([kind, "delete", self.name()])
            .output();
        output.is_ok_and(|output| output.status.success())
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NetworkNamespace(name) => write!(f, "netns {name}"),
            Self::Link(name) => write!(f, "link {name}"),
        }
    }
}

/// How the names of a run's resources begin: the owner's process number, which no living run shares.
pub(super) fn tag_of(run: &Path) -> String {
    let name = run.file_name().unwrap_or_default().to_string_lossy();
    let pid = name.split('-').next().unwrap_or_default();
    format!("sm{pid}")
}

/// Removes what a run registered; names of what was still there.
pub(super) fn remove_all(run: &Path) -> Vec<String> {
    let list = fs::read_to_string(run.join("resources")).unwrap_or_default();
    let own = format!("{}-", tag_of(run));
    list.lines()
        .filter_map(Resource::parse)
        .filter(|resource| resource.name().starts_with(&own) && resource.remove())
        .map(|resource| resource.to_string())
        .collect()
}
