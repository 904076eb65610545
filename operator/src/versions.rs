//! Which version of the agent the members run, read from the images of their pods.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use slotmesh_api::AgentVersion;

use crate::seam::MemberStatus;

/// Versions that a status names.
const VERSIONS_MAX: usize = 4;
/// Characters of a digest that tell images apart.
const DIGEST_SHOWN: usize = 12;

/// How many members run each version, the most common first. `pods` may hold those of others.
#[must_use]
pub fn count<'a>(
    members: &[MemberStatus],
    pods: impl Iterator<Item = &'a Pod>,
) -> Vec<AgentVersion> {
    let images: BTreeMap<&str, &str> = pods
        .filter_map(|pod| Some((pod.metadata.uid.as_deref()?, image_of(pod)?)))
        .collect();
    let mut counts = BTreeMap::<String, i32>::new();
    for member in members.iter().filter(|member| !member.failed) {
        if let Some(image) = images.get(member.uid.to_string().as_str()) {
            *counts.entry(version_of(image)).or_default() += 1;
        }
    }
    let mut versions: Vec<AgentVersion> = counts
        .into_iter()
        .map(|(version, members)| AgentVersion { version, members })
        .collect();
    versions.sort_by_key(|version| Reverse(version.members));
    versions.truncate(VERSIONS_MAX);
    versions
}

fn image_of(pod: &Pod) -> Option<&str> {
    let containers = &pod.spec.as_ref()?.containers;
    containers
        .iter()
        .find(|container| container.name == "agent")?
        .image
        .as_deref()
}

/// The tag of an image; without one, the beginning of its digest.
fn version_of(image: &str) -> String {
    let (name, digest) = match image.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (image, None),
    };
    // A colon before the last slash belongs to the registry's port.
    let last = name.rsplit('/').next().unwrap_or(name);
    match (last.split_once(':'), digest) {
        (Some((_, tag)), _) => tag.to_owned(),
        (None, Some(digest)) => {
            let hash = digest.split_once(':').map_or(digest, |(_, hash)| hash);
            hash.chars().take(DIGEST_SHOWN).collect()
        }
        (None, None) => "latest".to_owned(),
    }
}

#[cfg(test)]
mod tests;
