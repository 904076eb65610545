//! Finding and ending what a crashed run left behind.

use std::fmt;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{resource, runs_folder};

/// Longest wait for killed processes to be gone.
const END: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(5);
/// Many times what it takes to make a run folder.
const MAKING: Duration = Duration::from_secs(60);

/// Ends and removes what crashed runs left; one line for each thing.
///
/// # Errors
/// When the cache folder cannot be read, or something cannot be removed.
pub fn clean_leftovers() -> Result<Vec<String>> {
    clean_leftovers_in(&runs_folder()?)
}

pub(super) fn clean_leftovers_in(runs: &Path) -> Result<Vec<String>> {
    let mut done = Vec::new();
    let entries = match fs::read_dir(runs) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(done),
        entries => entries.with_context(|| format!("cannot read {}", runs.display()))?,
    };
    for entry in entries.flatten() {
        let path = entry.path();
        match owner_of(&path) {
            Owner::Lives | Owner::Unknown => continue,
            Owner::Crashed => {
                done.extend(
                    end_children(&path)
                        .into_iter()
                        .map(|child| format!("ended {child}, left by a crashed run")),
                );
                done.extend(
                    resource::remove_all(&path)
                        .into_iter()
                        .map(|name| format!("removed {name}, left by a crashed run")),
                );
            }
            // Nothing survives a reboot but files.
            Owner::BeforeReboot => {}
        }
        match fs::remove_dir_all(&path) {
            // Another run cleans at the same time.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            removed => removed.with_context(|| format!("cannot remove {}", path.display()))?,
        }
        done.push(format!("removed {}, left by a crashed run", path.display()));
    }
    Ok(done)
}

/// What became of the process that made a run folder.
#[derive(Debug, PartialEq, Eq)]
enum Owner {
    Lives,
    Crashed,
    BeforeReboot,
    /// It is of another container or machine that shares our cache, or still being made: not ours to
    /// judge.
    Unknown,
}

fn owner_of(run: &Path) -> Owner {
    let name = run.file_name().unwrap_or_default().to_string_lossy();
    let mut parts = name.split('-');
    let lives = match (parts.next(), parts.next()) {
        (Some(pid), Some(started)) => is_running(pid, started),
        _ => return Owner::Unknown,
    };
    let here = if lives { Owner::Lives } else { Owner::Crashed };
    let there = fs::read_to_string(run.join("machine")).unwrap_or_default();
    if there.trim().is_empty() {
        // Its owner is, or died, between two lines of `create`; wherever it is, not for that long.
        return if lives || is_old(run) {
            here
        } else {
            Owner::Unknown
        };
    }
    match (Machine::parse(&there), Machine::here()) {
        (there, own) if there == own => here,
        // A home may be shared by machines: only our own boots tell of our own ends.
        (there, own) if there.id == own.id && there.boot != own.boot => Owner::BeforeReboot,
        _ => Owner::Unknown,
    }
}

fn is_old(run: &Path) -> bool {
    let made = fs::metadata(run).and_then(|found| found.modified()).ok();
    let age = made.and_then(|made| made.elapsed().ok());
    age.is_some_and(|age| age > MAKING)
}

/// What process numbers are relative to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Machine {
    pub(super) boot: String,
    pub(super) namespace: String,
    /// None is none's: a run that does not say is nobody's to remove.
    pub(super) id: Option<String>,
}

impl Machine {
    pub(super) fn here() -> Self {
        let namespace = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        let id = read_trimmed("/etc/machine-id")
            .or_else(|| read_trimmed("/proc/sys/kernel/hostname"))
            .unwrap_or_else(|| "unknown".into());
        Self {
            boot: read_trimmed("/proc/sys/kernel/random/boot_id").unwrap_or_default(),
            namespace: namespace.display().to_string(),
            id: Some(id),
        }
    }

    fn parse(text: &str) -> Self {
        let mut lines = text.lines().map(str::to_owned);
        Self {
            boot: lines.next().unwrap_or_default(),
            namespace: lines.next().unwrap_or_default(),
            id: lines.next(),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.id.as_deref().unwrap_or_default();
        writeln!(f, "{}\n{}\n{id}", self.boot, self.namespace)
    }
}

fn read_trimmed(path: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// Kills the listed children that still run and waits until they are gone; their names.
pub(super) fn end_children(run: &Path) -> Vec<String> {
    let list = fs::read_to_string(run.join("children")).unwrap_or_default();
    let mut ended = Vec::new();
    let mut dying = Vec::new();
    for line in list.lines() {
        let mut parts = line.splitn(3, ' ');
        let (Some(pid), Some(started), Some(name)) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        // The start time tells our child from a stranger that got its number.
        if let Ok(number) = pid.parse()
            && is_running(pid, started)
        {
            let _ = kill(Pid::from_raw(number), Signal::SIGKILL);
            ended.push(format!("{name} (pid {pid})"));
            dying.push((pid, started));
        }
    }
    let begun = Instant::now();
    while dying.iter().any(|(pid, started)| is_running(pid, started)) && begun.elapsed() < END {
        std::thread::sleep(PAUSE);
    }
    ended
}

fn is_running(pid: &str, started: &str) -> bool {
    let now = pid.parse().ok().and_then(start_time);
    now.is_some_and(|now| now.to_string() == started)
}

/// When a process started, in clock ticks since boot (field 22 of /proc/PID/stat); none for one that is
/// gone, or dead and only not yet waited for.
pub(super) fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before may hold anything, parentheses too.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}
