//! Finding and ending what a crashed run left behind.

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
    /// It is of another container that shares our cache, or still being made: not ours to judge.
    Unknown,
}

fn owner_of(run: &Path) -> Owner {
    let there = fs::read_to_string(run.join("machine")).unwrap_or_default();
    let here = machine();
    let name = run.file_name().unwrap_or_default().to_string_lossy();
    let mut parts = name.split('-');
    let lives = match (parts.next(), parts.next()) {
        (Some(pid), Some(started)) => is_running(pid, started),
        _ => return Owner::Unknown,
    };
    if there == here || there.is_empty() {
        // Without the note the owner died, or is, between two lines of `create`.
        return if lives { Owner::Lives } else { Owner::Crashed };
    }
    if there.lines().next() == here.lines().next() {
        Owner::Unknown
    } else {
        Owner::BeforeReboot
    }
}

/// What process numbers are relative to: the boot, and the PID namespace.
pub(super) fn machine() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let namespace = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    format!("{}\n{}\n", boot.trim(), namespace.display())
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
