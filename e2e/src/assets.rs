//! The binaries of Kubernetes: found, or built once from pinned Go modules.
//!
//! `KUBEBUILDER_ASSETS` comes first, then what was built before, then `PATH`; the first and the last are
//! asked for their version. What is missing is built from `e2e/kubernetes/` into the user's cache, keyed
//! by everything that goes into a build.

mod build;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::process::Command;

use crate::run_folder::cache_folder;

/// Longest time for a binary to tell its version.
const TELL: Duration = Duration::from_secs(10);

/// The user's own folder of binaries, as envtest knows it too.
const CHOSEN: &str = "KUBEBUILDER_ASSETS";

/// One binary: where it comes from, how it tells a version that fits, and how long it takes to build
/// relative to those before it (seconds on two cores, measured; the first of Kubernetes pays for the
/// packages that all share).
struct Asset {
    name: &'static str,
    package: &'static str,
    version_arguments: &'static [&'static str],
    // Minor versions must be equal: `v1.35` does not fit `v1.3`.
    fits: &'static str,
    weight: u32,
}

const ASSETS: [Asset; 6] = [
    Asset {
        name: "etcd",
        package: "go.etcd.io/etcd/server/v3",
        version_arguments: &["--version"],
        fits: "etcd Version: 3.6",
        weight: 17,
    },
    Asset {
        name: "kube-apiserver",
        package: "k8s.io/kubernetes/cmd/kube-apiserver",
        version_arguments: &["--version"],
        fits: "Kubernetes v1.35",
        weight: 238,
    },
    Asset {
        name: "kube-controller-manager",
        package: "k8s.io/kubernetes/cmd/kube-controller-manager",
        version_arguments: &["--version"],
        fits: "Kubernetes v1.35",
        weight: 58,
    },
    Asset {
        name: "kube-scheduler",
        package: "k8s.io/kubernetes/cmd/kube-scheduler",
        version_arguments: &["--version"],
        fits: "Kubernetes v1.35",
        weight: 4,
    },
    Asset {
        name: "kubectl",
        package: "k8s.io/kubernetes/cmd/kubectl",
        version_arguments: &["version", "--client"],
        fits: "Client Version: v1.35",
        weight: 21,
    },
    Asset {
        name: "helm",
        package: "helm.sh/helm/v4/cmd/helm",
        version_arguments: &["version", "--short"],
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
    pub async fn ensure(mut say: impl FnMut(&str)) -> Result<Self> {
        let cache = cache_folder()?.join("kubernetes").join(build::key()?);
        let sources = Sources::of_environment(cache, &mut say);
        let mut paths = BTreeMap::new();
        let mut missing = Vec::new();
        for asset in &ASSETS {
            match sources.find(asset, &mut say).await {
                Some(path) => drop(paths.insert(asset.name, path)),
                None => missing.push(asset),
            }
        }
        if !missing.is_empty() {
            build::build_all(&missing, &sources.cache, &mut say).await?;
        }
        for asset in missing {
            paths.insert(asset.name, sources.cache.join(asset.name));
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

/// Where binaries are looked for.
struct Sources {
    chosen: Option<PathBuf>,
    cache: PathBuf,
    path: Vec<PathBuf>,
}

impl Sources {
    fn of_environment(cache: PathBuf, say: &mut impl FnMut(&str)) -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let chosen = std::env::var_os(CHOSEN).filter(|folder| !folder.is_empty());
        let chosen = chosen.map(PathBuf::from);
        if let Some(folder) = chosen.as_ref().filter(|folder| !folder.is_dir()) {
            let folder = folder.display();
            say(&format!(
                "{CHOSEN} names {folder}, which is no folder: not used"
            ));
        }
        Self {
            chosen,
            cache,
            path: std::env::split_paths(&path).collect(),
        }
    }

    /// Whatever the user chose is said if it is not used. It need not be all: envtest's folder holds no
    /// controllers.
    async fn find(&self, asset: &Asset, say: &mut impl FnMut(&str)) -> Option<PathBuf> {
        let chosen = self.chosen.as_ref().map(|folder| folder.join(asset.name));
        if let Some(chosen) = chosen.filter(|chosen| chosen.exists()) {
            match fits(asset, &chosen).await {
                Ok(()) => return Some(chosen),
                Err(why) => say(&format!("{CHOSEN}/{} {why}: not used", asset.name)),
            }
        }
        // Renamed into place whole under a key of its inputs: it need not be asked.
        let built = self.cache.join(asset.name);
        if built.is_file() {
            return Some(built);
        }
        for folder in &self.path {
            let candidate = folder.join(asset.name);
            if candidate.is_file() && fits(asset, &candidate).await.is_ok() {
                return Some(candidate);
            }
        }
        None
    }
}

/// Asks a binary for its version; why it does not fit.
async fn fits(asset: &Asset, path: &Path) -> Result<(), String> {
    let output = Command::new(path)
        .args(asset.version_arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", std::env::temp_dir())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let said = match tokio::time::timeout(TELL, output).await {
        Ok(Ok(output)) => String::from_utf8_lossy(&output.stdout).into_owned(),
        Ok(Err(error)) => return Err(format!("cannot be run ({error})")),
        Err(_) => return Err(format!("says nothing within {} s", TELL.as_secs())),
    };
    if tells(&said, asset.fits) {
        return Ok(());
    }
    let (begin, version) = asset.fits.rsplit_once(' ').unwrap_or(("", asset.fits));
    let line = said.lines().find(|line| line.starts_with(begin));
    let told = line.and_then(|line| line.get(begin.len()..));
    let told = told.map_or("nothing of its version", str::trim);
    Err(format!("says {told}, {version} is needed"))
}

/// Whether that version is told: at the start of a line, and not as the start of a longer number.
fn tells(said: &str, version: &str) -> bool {
    said.lines()
        .filter_map(|line| line.strip_prefix(version))
        .any(|rest| !rest.starts_with(|next: char| next.is_ascii_digit()))
}
