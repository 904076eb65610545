//! The folder of one run: logs, keys, data. It is removed at the end; what a crashed run left behind
//! is found by the next one, named, and cleaned.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A run's folder, removed when dropped (unless it is kept).
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    keep: bool,
}

impl RunFolder {
    /// Cleans what crashed runs left, and makes a folder for this one.
    ///
    /// # Errors
    /// When the cache folder cannot be written.
    pub fn create() -> Result<Self> {
        for line in clean_leftovers()? {
            eprintln!("{line}");
        }
        let name = format!(
            "{}-{}",
            std::process::id(),
            start_time(std::process::id()).unwrap_or(0)
        );
        let path = runs_folder()?.join(name);
        fs::create_dir_all(path.join("logs"))
            .with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self { path, keep: false })
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves it in place at the end, for somebody to look at.
    pub fn keep(&mut self) {
        self.keep = true;
    }

    /// Where the output of a child goes.
    #[must_use]
    pub fn log_file(&self, name: &str) -> PathBuf {
        self.path.join("logs").join(format!("{name}.log"))
    }

    /// Remembers a child, so that a later run can end it if we crash.
    ///
    /// # Errors
    /// When the list cannot be written.
    pub fn note_child(&self, pid: i32, name: &str) -> Result<()> {
        let started = u32::try_from(pid).ok().and_then(start_time).unwrap_or(0);
        let mut list = fs::File::options()
            .create(true)
            .append(true)
            .open(self.path.join("children"))?;
        Ok(writeln!(list, "{pid} {started} {name}")?)
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        if !self.keep {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// The user's cache folder of this project.
///
/// # Errors
/// When the user has no home.
pub fn cache_folder() -> Result<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
    Ok(base
        .context("neither XDG_CACHE_HOME nor HOME is set: no place for caches")?
        .join("slotmesh"))
}

fn runs_folder() -> Result<PathBuf> {
    Ok(cache_folder()?.join("runs"))
}

/// Ends and removes what crashed runs left; one line for each thing.
///
/// # Errors
/// When the cache folder cannot be read.
pub fn clean_leftovers() -> Result<Vec<String>> {
    let folder = runs_folder()?;
    let mut done = Vec::new();
    let Ok(entries) = fs::read_dir(&folder) else {
        return Ok(done);
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if name
            .split_once('-')
            .is_some_and(|(pid, started)| is_running(pid, started))
        {
            continue;
        }
        let children = fs::read_to_string(path.join("children")).unwrap_or_default();
        for line in children.lines() {
            let mut parts = line.splitn(3, ' ');
            let (Some(pid), Some(started), Some(child)) =
                (parts.next(), parts.next(), parts.next())
            else {
                continue;
            };
            // The start time tells our child from a stranger that got its number.
            if let Ok(number) = pid.parse()
                && is_running(pid, started)
            {
                let _ = kill(Pid::from_raw(number), Signal::SIGKILL);
                done.push(format!("ended {child} (pid {pid}), left by a crashed run"));
            }
        }
        fs::remove_dir_all(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        done.push(format!("removed {}, left by a crashed run", path.display()));
    }
    Ok(done)
}

fn is_running(pid: &str, started: &str) -> bool {
    let now = pid.parse().ok().and_then(start_time);
    now.is_some_and(|now| now.to_string() == started)
}

/// When a process started, in clock ticks since boot (field 22 of /proc/PID/stat).
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let after_name = stat.rsplit_once(") ")?.1;
    after_name.split(' ').nth(19)?.parse().ok()
}
