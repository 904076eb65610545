//! Where redis-server comes from: PATH, or Debian's package, fetched once into the cache.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};
use tokio::process::Command;

use crate::run_folder::cache_folder;

/// The server, its tools, and the libraries that a machine without Redis may lack.
const PACKAGES: [&str; 7] = [
    "redis-server",
    "redis-tools",
    "libjemalloc2",
    "liblua5.1-0",
    "liblzf1",
    "lua-bitop",
    "lua-cjson",
];
/// Oldest version whose lines and options are understood.
const MAJOR_MIN: u32 = 7;
const HOW: &str = "install Debian's package redis-server, or put redis-server 7 or newer on PATH";

/// A server that runs here.
#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) binary: PathBuf,
    /// Where its libraries are, if not where the system has them.
    pub(super) libraries: Option<PathBuf>,
    /// Name and number.
    pub(super) version: String,
}

/// Finds one, or fetches it.
///
/// # Errors
/// Says how to get one.
pub(super) async fn find() -> Result<Server> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    for folder in std::env::split_paths(&path) {
        let binary = folder.join("redis-server");
        if binary.is_file() {
            match look(binary, None).await {
                Ok(server) => return Ok(server),
                Err(error) => println!("  not taken: {error:#}"),
            }
        }
    }
    let cache = cache_folder()?.join("peers/redis");
    if let Ok(server) = unpacked(&cache).await {
        return Ok(server);
    }
    println!(
        "  fetching {} once, into {}",
        PACKAGES.join(", "),
        cache.display()
    );
    fetch(&cache).await.context(HOW)?;
    unpacked(&cache).await.context(HOW)
}

async fn unpacked(cache: &Path) -> Result<Server> {
    let libraries = cache.join(format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH));
    look(cache.join("usr/bin/redis-server"), Some(libraries)).await
}

/// Its version, if it runs here and is new enough.
async fn look(binary: PathBuf, libraries: Option<PathBuf>) -> Result<Server> {
    let mut command = Command::new(&binary);
    if let Some(libraries) = &libraries {
        command.env("LD_LIBRARY_PATH", libraries);
    }
    let output = command
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .await
        .with_context(|| format!("cannot run {}", binary.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let number =
        version(&text).with_context(|| format!("{} does not say its version", binary.display()))?;
    let major = number.split('.').next().and_then(|text| text.parse().ok());
    ensure!(
        major.is_some_and(|major: u32| major >= MAJOR_MIN),
        "{} is of version {number}; {MAJOR_MIN} or newer is needed",
        binary.display()
    );
    Ok(Server {
        version: format!("Redis {number}"),
        binary,
        libraries,
    })
}

/// `Redis server v=7.0.15 sha=...`
fn version(text: &str) -> Option<String> {
    let mut words = text.split_whitespace();
    words.find_map(|word| word.strip_prefix("v=").map(str::to_owned))
}

/// Whole or not at all: unpacked beside, then renamed.
async fn fetch(cache: &Path) -> Result<()> {
    let part = cache.with_extension("part");
    // Half of an earlier attempt.
    let _ = std::fs::remove_dir_all(&part);
    std::fs::create_dir_all(&part)?;
    run(Command::new("apt-get")
        .args(["-q", "download"])
        .args(PACKAGES)
        .current_dir(&part))
    .await?;
    for entry in std::fs::read_dir(&part)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            run(Command::new("dpkg-deb").arg("-x").args([&path, &part])).await?;
            std::fs::remove_file(&path)?;
        }
    }
    let _ = std::fs::remove_dir_all(cache);
    std::fs::rename(&part, cache)
        .with_context(|| format!("cannot move {} into its place", part.display()))
}

async fn run(command: &mut Command) -> Result<()> {
    let name = command.as_std().get_program().to_owned();
    let name = name.to_string_lossy();
    let output = command
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("cannot run {name}"))?;
    if !output.status.success() {
        bail!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_found() {
        let text = "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64";
        assert_eq!(version(text).as_deref(), Some("7.0.15"));
        assert_eq!(version("redis-server: not found"), None);
    }
}
