//! Which versions fit, and what is told of the time left.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::process::Command;
use std::time::Duration;

use super::build::Estimate;
use super::{ASSETS, Asset, fits, tells};

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

#[tokio::test]
async fn a_binary_is_asked_and_one_that_fails_does_not_fit() {
    let folder = tempfile::tempdir().unwrap();
    let helm = ASSETS.iter().find(|asset| asset.name == "helm").unwrap();
    let path = folder.path().join("helm");
    for (script, expected) in [
        ("#!/bin/sh\n[ \"$1\" = version ] && echo v4.1.2\n", true),
        ("#!/bin/sh\necho v4.2.0\n", false),
        ("not a program", false),
    ] {
        // Written by another process: a file open for writing here could be inherited by a child of a
        // test beside this one, and then not be run ("text file busy").
        let write = "printf '%s' \"$1\" > \"$2\" && chmod +x \"$2\"";
        let mut command = Command::new("sh");
        command.args(["-c", write, "sh", script]).arg(&path);
        assert!(command.status().unwrap().success());
        assert_eq!(fits(helm, &path).await, expected, "{script}");
    }
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
