//! Which versions fit, and what is told of the time left.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::build::Estimate;
use super::{ASSETS, Asset, Sources, fits, tells};

#[test]
fn only_the_same_minor_version_fits() {
    for (said, version, fits) in [
        ("Kubernetes v1.35.4\n", "Kubernetes v1.35", true),
        ("Kubernetes v1.350.0\n", "Kubernetes v1.35", false),
        ("Kubernetes v1.36.0\n", "Kubernetes v1.35", false),
        (
            "Client Version: v1.32.4-dispatcher\nKustomize Version: v5.5.0\n",
            "Client Version: v1.35",
            false,
        ),
        (
            "Client Version: v1.35.0\nKustomize Version: v5.7.1\n",
            "Client Version: v1.35",
            true,
        ),
        ("v4.1\n", "v4.1", true),
        ("v4.1.0+g4b1c2d3\n", "v4.1", true),
        ("v4.10.0\n", "v4.1", false),
        ("v3.14.1\n", "v4.1", false),
        (
            "etcd Version: 3.6.6\nGit SHA: 1\n",
            "etcd Version: 3.6",
            true,
        ),
        ("etcd Version: 3.5.6\n", "etcd Version: 3.6", false),
        ("", "v4.1", false),
    ] {
        assert_eq!(tells(said, version), fits, "{said:?} for {version}");
    }
}

/// A program that only tells a version.
fn put(folder: &Path, name: &str, script: &str) -> PathBuf {
    let path = folder.join(name);
    // Written by another process: a file open for writing here could be inherited by a child of a
    // test beside this one, and then not be run ("text file busy").
    let write = "mkdir -p \"$3\" && printf '%s' \"$1\" > \"$2\" && chmod +x \"$2\"";
    let mut command = Command::new("sh");
    command.args(["-c", write, "sh", script]);
    assert!(command.arg(&path).arg(folder).status().unwrap().success());
    path
}

fn asset(name: &str) -> &'static Asset {
    ASSETS.iter().find(|asset| asset.name == name).unwrap()
}

const HELM: &str = "#!/bin/sh\n[ \"$1\" = version ] && echo v4.1.2\n";
const NEWER_HELM: &str = "#!/bin/sh\necho v4.2.0\n";

#[tokio::test]
async fn a_binary_is_asked_and_one_that_fails_does_not_fit() {
    let folder = tempfile::tempdir().unwrap();
    let path = put(folder.path(), "helm", HELM);
    assert_eq!(fits(asset("helm"), &path).await, Ok(()));
    for (name, script, why) in [
        ("helm", NEWER_HELM, "says v4.2.0, v4.1 is needed"),
        (
            "helm",
            "#!/bin/sh\n",
            "says nothing of its version, v4.1 is needed",
        ),
        (
            "etcd",
            "#!/bin/sh\necho 'etcd Version: 3.5.6'; echo 'Git SHA: 1'\n",
            "says 3.5.6, 3.6 is needed",
        ),
    ] {
        let path = put(folder.path(), name, script);
        assert_eq!(fits(asset(name), &path).await, Err(why.to_owned()));
    }
    let path = put(folder.path(), "helm", "not a program");
    let why = fits(asset("helm"), &path).await.unwrap_err();
    assert!(why.starts_with("cannot be run"), "{why}");
}

#[tokio::test]
async fn what_the_user_chose_comes_first_then_what_was_built_then_the_path() {
    let folder = tempfile::tempdir().unwrap();
    let [chosen, cache, path] = ["chosen", "cache", "path"].map(|name| folder.path().join(name));
    let sources = Sources {
        chosen: Some(chosen.clone()),
        cache: cache.clone(),
        path: vec![path.clone()],
    };
    let find = async || {
        let mut said = Vec::new();
        let mut say = |line: &str| said.push(line.to_owned());
        (sources.find(asset("helm"), &mut say).await, said)
    };
    assert_eq!(find().await, (None, vec![]));
    let on_path = put(&path, "helm", HELM);
    assert_eq!(find().await, (Some(on_path.clone()), vec![]));
    let built = put(&cache, "helm", "whole by its name, and not asked");
    assert_eq!(find().await, (Some(built.clone()), vec![]));
    let own = put(&chosen, "helm", HELM);
    assert_eq!(find().await, (Some(own), vec![]));
    put(&chosen, "helm", NEWER_HELM);
    let line = "KUBEBUILDER_ASSETS/helm says v4.2.0, v4.1 is needed: not used";
    assert_eq!(find().await, (Some(built), vec![line.to_owned()]));
    put(&path, "helm", NEWER_HELM);
    std::fs::remove_dir_all(&cache).unwrap();
    assert_eq!(find().await, (None, vec![line.to_owned()]));
}

#[test]
fn the_time_left_follows_the_speed_of_the_machine() {
    let all: Vec<&Asset> = ASSETS.iter().collect();
    let total: u32 = all.iter().map(|asset| asset.weight).sum();
    let seconds = |estimate: &Estimate| estimate.left().unwrap().as_secs();

    // As fast as the machine of the weights: nothing but the weights, throughout.
    let mut estimate = Estimate::with(&all, 2.0);
    assert_eq!(seconds(&estimate), u64::from(total));
    let first = all[0];
    let half = Duration::from_secs(u64::from(first.weight) / 2);
    let left = estimate.left_while(first, half);
    assert_eq!(left, Duration::from_secs(u64::from(total)) - half);
    estimate.finished(first, Duration::from_secs(u64::from(first.weight)));
    assert_eq!(seconds(&estimate), u64::from(total - first.weight));

    // Half as fast: known better with each asset, never below what is seen.
    let mut estimate = Estimate::with(&all, 2.0);
    let mut done = 0;
    for asset in &all[..5] {
        let slow = Duration::from_secs(2 * u64::from(asset.weight));
        assert!(
            estimate.left_while(asset, slow)
                >= Duration::from_secs(u64::from(total - done - asset.weight))
        );
        done += asset.weight;
        estimate.finished(asset, Duration::from_secs(2 * u64::from(done)));
    }
    let last = f64::from(all[5].weight);
    let left = estimate.left().unwrap().as_secs_f64();
    assert!(left > 1.8 * last && left < 2.0 * last, "{left} for {last}");
    estimate.finished(all[5], Duration::from_secs(2 * u64::from(total)));
    assert_eq!(estimate.left(), None);
}
