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
    let total: f64 = all.iter().map(|asset| f64::from(asset.weight)).sum();
    let mut estimate = Estimate::with(&all, 2.0);
    assert_eq!(
        estimate.left(Duration::ZERO),
        Some(Duration::from_secs_f64(total))
    );
    // The first took twice as long as on the machine of the weights.
    estimate.finished_after(all[0], Duration::from_secs(2 * u64::from(all[0].weight)));
    let left = 2.0 * (total - f64::from(all[0].weight));
    assert_eq!(
        estimate.left(Duration::ZERO),
        Some(Duration::from_secs_f64(left))
    );
    assert_eq!(
        estimate.left(Duration::from_secs(100)),
        Some(Duration::from_secs_f64(left - 100.0))
    );
    for asset in &all[1..] {
        estimate.finished_after(asset, Duration::from_secs(400));
    }
    assert_eq!(estimate.left(Duration::ZERO), None);
}
