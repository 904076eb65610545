//! The binaries of Kubernetes: found, or built once from pinned Go modules.
//!
//! `KUBEBUILDER_ASSETS` and `PATH` are searched for binaries of a fitting version. What is missing is
//! built from `e2e/kubernetes/` into the user's cache, keyed by its `go.mod` and `go.sum`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::run_folder::cache_folder;

const KUBERNETES: &str = "v1.35.4";
const MODULE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/kubernetes");

/// One binary: where it comes from, how to ask its version, and how long it takes to build relative
/// to the others (seconds on two cores, measured).
struct Asset {
    name: &'static str,
    package: &'static str,
    version_argument: &'static [&'static str],
    fits: &'static str,
    weight: u32,
}

const ASSETS: [Asset; 6] = [
    Asset {
        name: "etcd",
        package: "go.etcd.io/etcd/server/v3",
        version_argument: &["--version"],
        fits: "etcd Version: 3.6.",
        weight: 17,
    },
    Asset {
        name: "kube-apiserver",
        package: "k8s.io/kubernetes/cmd/kube-apiserver",
        version_argument: &["--version"],
        fits: "Kubernetes v1.35.",
        weight: 238,
    },
    Asset {
        name: "kube-controller-manager",
        package: "k8s.io/kubernetes/cmd/kube-controller-manager",
        version_argument: &["--version"],
        fits: "Kubernetes v1.35.",
        weight: 58,
    },
    Asset {
        name: "kube-scheduler",
        package: "k8s.io/kubernetes/cmd/kube-scheduler",
        version_argument: &["--version"],
        fits: "Kubernetes v1.35.",
        weight: 4,
    },
    Asset {
        name: "kubectl",
        package: "k8s.io/kubernetes/cmd/kubectl",
        version_argument: &["version", "--client"],
        fits: "Client Version: v1.35.",
        weight: 21,
    },
    Asset {
        name: "helm",
        package: "helm.sh/helm/v4/cmd/helm",
        version_argument: &["version", "--short"],
        fits: "v4.1",
        weight: 40,
    },
];

/// Paths of all binaries.
#[derive(Clone, Debug)]
pub struct Assets {
    paths: BTreeMap<&'static str, PathBuf>,
}

impl Assets {
    /// Finds or builds them; `say` is told how it goes.
    ///
    /// # Errors
    /// When something is missing that cannot be built.
    pub fn ensure(mut say: impl FnMut(&str)) -> Result<Self> {
        let mut paths = BTreeMap::new();
        let mut missing = Vec::new();
        let cache = cache_folder()?.join("kubernetes").join(key()?);
        for asset in &ASSETS {
            let found = [cache.join(asset.name)]
                .into_iter()
                .chain(candidates(asset.name))
                .find(|path| fits(asset, path));
            match found {
                Some(path) => drop(paths.insert(asset.name, path)),
                None => missing.push(asset),
            }
        }
        let mut left: u32 = missing.iter().map(|asset| asset.weight).sum();
        if left > 0 {
            say(&format!(
                "building {} programs of Kubernetes {KUBERNETES} once, about {} min on 2 cores",
                missing.len(),
                left.div_ceil(60)
            ));
        }
        let (begun, total) = (Instant::now(), left);
        for asset in missing {
            let path = cache.join(asset.name);
            build(asset, &path)?;
            left -= asset.weight;
            let done = f64::from(total - left);
            let rest = begun.elapsed().as_secs_f64() / done * f64::from(left);
            say(&format!(
                "built {} ({:.0} s so far, about {rest:.0} s left)",
                asset.name,
                begun.elapsed().as_secs_f64()
            ));
            paths.insert(asset.name, path);
        }
        Ok(Self { paths })
    }

    /// Path of one of them.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn path(&self, name: &str) -> Result<&Path> {
        self.paths
            .get(name)
            .map(PathBuf::as_path)
            .with_context(|| format!("no binary {name}"))
    }
}

fn candidates(name: &str) -> Vec<PathBuf> {
    let assets = std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    assets
        .into_iter()
        .chain(std::env::split_paths(&path))
        .map(|folder| folder.join(name))
        .collect()
}

fn fits(asset: &Asset, path: &Path) -> bool {
    if !path.is_file() {
        return false;
    }
    let output = Command::new(path)
        .args(asset.version_argument)
        .env_remove("KUBECONFIG")
        .output();
    output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(asset.fits))
}

/// Changes with whatever changes the binaries.
fn key() -> Result<String> {
    let mut hash = Sha256::new();
    for file in ["go.mod", "go.sum"] {
        let path = Path::new(MODULE).join(file);
        hash.update(
            std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?,
        );
    }
    hash.update(KUBERNETES);
    Ok(hash
        .finalize()
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

fn build(asset: &Asset, path: &Path) -> Result<()> {
    let folder = path.parent().context("no cache folder")?;
    std::fs::create_dir_all(folder)?;
    let part = folder.join(format!("{}.part-{}", asset.name, std::process::id()));
    let stamp = "k8s.io/component-base/version";
    let flags = format!(
        "-s -w -X {stamp}.gitVersion={KUBERNETES} -X {stamp}.gitMajor=1 -X {stamp}.gitMinor=35"
    );
    let status = Command::new("go")
        .args(["build", "-trimpath", "-mod=readonly", "-ldflags", &flags, "-o"])
        .arg(&part)
        .arg(asset.package)
        .current_dir(MODULE)
        .env("CGO_ENABLED", "0")
        .status()
        .context("cannot run `go`: install Go 1.26 or later, or point KUBEBUILDER_ASSETS at the binaries")?;
    if !status.success() {
        bail!(
            "`go build {}` failed in {MODULE}; its output is above",
            asset.package
        );
    }
    // Renamed whole, so that two runs at once do no harm.
    Ok(std::fs::rename(&part, path)?)
}
