//! Builds what was not found: with progress, whole or not at all, and once even if two runs want it.

use std::fs::{self, File, TryLockError};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use tokio::process::Command;

use super::Asset;

const KUBERNETES: &str = "v1.35.4";
const MAJOR: &str = "1";
const MINOR: &str = "35";
const MODULE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/kubernetes");
/// Raised when the environment or flags of the build change in another way than those below.
const RECIPE: &str = "1";
/// Time between two lines of progress.
const TICK: Duration = Duration::from_secs(15);
/// Time between two looks at the lock.
const LOCK_PAUSE: Duration = Duration::from_millis(200);
/// The weights of assets are seconds on that many cores.
const WEIGHED_CORES: f64 = 2.0;
/// Weight of the first assumption about the machine's speed beside what is seen.
const ASSUMED_WEIGHT: f64 = 50.0;
/// Lines of the log that an error shows.
const LOG_LINES: usize = 15;

/// Changes with whatever changes the binaries.
pub(super) fn key() -> Result<String> {
    let mut hash = Sha256::new();
    for file in ["go.mod", "go.sum"] {
        let path = Path::new(MODULE).join(file);
        hash.update(fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?);
    }
    // A home may be shared by machines.
    for part in [
        flags().as_str(),
        RECIPE,
        std::env::consts::OS,
        std::env::consts::ARCH,
    ] {
        hash.update(part);
        hash.update([0]);
    }
    Ok(hash
        .finalize()
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

/// Builds assets into a folder.
pub(super) async fn build_all(
    missing: &[&Asset],
    cache: &Path,
    say: &mut impl FnMut(&str),
) -> Result<()> {
    fs::create_dir_all(cache).with_context(|| format!("cannot make {}", cache.display()))?;
    let _lock = lock(cache, say).await?;
    // Another run may have built them while this one waited.
    let missing: Vec<&Asset> = missing
        .iter()
        .copied()
        .filter(|asset| !cache.join(asset.name).is_file())
        .collect();
    remove_parts(cache);
    let mut estimate = Estimate::of(&missing);
    if let Some(left) = estimate.left() {
        say(&format!(
            "building {} programs of Kubernetes {KUBERNETES} once, into {}: about {}",
            missing.len(),
            cache.display(),
            minutes(left),
        ));
    }
    for asset in missing {
        build(asset, cache, &estimate, say).await?;
        let elapsed = estimate.begun.elapsed();
        estimate.finished(asset, elapsed);
        let left = match estimate.left() {
            Some(left) => format!(", about {} left", minutes(left)),
            None => String::new(),
        };
        say(&format!(
            "built {} ({:.0} s so far{left})",
            asset.name,
            elapsed.as_secs_f64()
        ));
    }
    Ok(())
}

async fn lock(cache: &Path, say: &mut impl FnMut(&str)) -> Result<File> {
    let path = cache.join("lock");
    let file = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
    let mut told = false;
    loop {
        // Given back by the kernel when its holder ends, however that was.
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if told => {}
            Err(TryLockError::WouldBlock) => {
                say("another run builds the programs of Kubernetes: waiting for it");
                told = true;
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
        tokio::time::sleep(LOCK_PAUSE).await;
    }
}

/// Halves of earlier builds that were ended; the lock says that nobody is at one now.
fn remove_parts(cache: &Path) {
    for entry in fs::read_dir(cache).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().ends_with(".part") {
            let _ = fs::remove_file(entry.path());
        }
    }
}

async fn build(
    asset: &Asset,
    cache: &Path,
    estimate: &Estimate,
    say: &mut impl FnMut(&str),
) -> Result<()> {
    // With our number: a `go` that outlived a killed run may still write its own.
    let part = cache.join(format!("{}.{}.part", asset.name, std::process::id()));
    let log = cache.join(format!("{}.log", asset.name));
    let output = File::create(&log)?;
    // Unlike other children it has our own environment: fetching modules may need a proxy and its CA.
    let mut child = Command::new("go")
        .args(["build", "-trimpath", "-ldflags", &flags(), "-o"])
        .arg(&part)
        .arg(asset.package)
        .current_dir(MODULE)
        .env("CGO_ENABLED", "0")
        .env("GOFLAGS", "-mod=readonly")
        .env("GOWORK", "off")
        .env_remove("GOOS")
        .env_remove("GOARCH")
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .kill_on_drop(true)
        .spawn()
        .context("cannot run `go`: install Go 1.26 or later (https://go.dev/dl/), or set KUBEBUILDER_ASSETS to a folder with the binaries")?;
    let begun = Instant::now();
    let status = loop {
        match tokio::time::timeout(TICK, child.wait()).await {
            Ok(status) => break status?,
            Err(_) => say(&format!(
                "building {} for {:.0} s, about {} left in all",
                asset.name,
                begun.elapsed().as_secs_f64(),
                minutes(estimate.left_while(asset, begun.elapsed()))
            )),
        }
    };
    if !status.success() {
        let said = fs::read_to_string(&log).unwrap_or_default();
        let lines: Vec<&str> = said.lines().collect();
        let from = lines.len().saturating_sub(LOG_LINES);
        bail!(
            "`go build {}` failed in {MODULE}; {} ends:\n{}",
            asset.package,
            log.display(),
            lines.get(from..).unwrap_or_default().join("\n")
        );
    }
    fs::rename(&part, cache.join(asset.name))?;
    let _ = fs::remove_file(&log);
    Ok(())
}

/// Without the stamp a server calls itself v0.0.0, and version checks break.
fn flags() -> String {
    let stamp = "k8s.io/component-base/version";
    format!(
        "-s -w -X {stamp}.gitVersion={KUBERNETES} -X {stamp}.gitMajor={MAJOR} -X {stamp}.gitMinor={MINOR}"
    )
}

/// How long it takes yet: weights, times the speed of this machine as far as it is known. What was
/// assumed at first counts as so much weight already seen, because the first program also pays for
/// downloads and for Go's own library.
#[derive(Debug)]
pub(super) struct Estimate {
    begun: Instant,
    assumed: f64,
    weight_done: f64,
    weight_left: f64,
    elapsed: Duration,
}

impl Estimate {
    fn of(missing: &[&Asset]) -> Self {
        let cores = std::thread::available_parallelism().map_or(WEIGHED_CORES, |cores| {
            f64::from(u32::try_from(cores.get()).unwrap_or(2))
        });
        Self::with(missing, cores)
    }

    pub(super) fn with(missing: &[&Asset], cores: f64) -> Self {
        Self {
            begun: Instant::now(),
            assumed: WEIGHED_CORES / cores,
            weight_done: 0.0,
            weight_left: missing.iter().map(|asset| f64::from(asset.weight)).sum(),
            elapsed: Duration::ZERO,
        }
    }

    /// An asset is built, that long after the start of all.
    pub(super) fn finished(&mut self, asset: &Asset, elapsed: Duration) {
        self.weight_done += f64::from(asset.weight);
        self.weight_left -= f64::from(asset.weight);
        self.elapsed = elapsed;
    }

    /// What is left between two assets; none when nothing is.
    pub(super) fn left(&self) -> Option<Duration> {
        let left = self.weight_left * self.speed(0.0, Duration::ZERO);
        (self.weight_left > 0.5).then(|| Duration::from_secs_f64(left))
    }

    /// What is left when that asset has been built for that long.
    pub(super) fn left_while(&self, asset: &Asset, current: Duration) -> Duration {
        let weight = f64::from(asset.weight);
        // An asset that takes longer than thought tells of the speed before it is done.
        let speed = self
            .speed(0.0, Duration::ZERO)
            .max(self.speed(weight, current));
        let of_this = (weight * speed - current.as_secs_f64()).max(0.0);
        Duration::from_secs_f64((self.weight_left - weight).max(0.0) * speed + of_this)
    }

    /// Seconds for a unit of weight, if `weight` more had been done in `current`.
    fn speed(&self, weight: f64, current: Duration) -> f64 {
        let seconds = ASSUMED_WEIGHT * self.assumed + (self.elapsed + current).as_secs_f64();
        seconds / (ASSUMED_WEIGHT + self.weight_done + weight)
    }
}

fn minutes(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..=99 => format!("{seconds} s"),
        seconds => format!("{} min", (seconds + 30) / 60),
    }
}
