//! Where rows come from: the commit, the machine and the command that measures them again.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::{Report, clone_folder};

/// Of what, and on what, rows are measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Origin {
    /// As `git describe` has it, `-dirty` when files differ from it; empty outside a repository.
    pub commit: String,
    /// Cores, name of the CPU, memory, e.g. `2 cores of Some CPU, 7.8 GiB`.
    pub machine: String,
}

impl Origin {
    /// This clone, on this machine.
    #[must_use]
    pub fn here() -> Self {
        let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
        let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        Self {
            commit: commit(&clone_folder()),
            machine: machine(cores, &text("/proc/cpuinfo"), &text("/proc/meminfo")),
        }
    }
}

impl Report {
    /// Says of all rows where they come from, and what measures them again.
    pub fn stamp(&mut self, origin: &Origin, command: &str) {
        for row in &mut self.rows {
            row.commit.clone_from(&origin.commit);
            row.machine.clone_from(&origin.machine);
            command.clone_into(&mut row.command);
        }
    }
}

fn commit(folder: &Path) -> String {
    let output = Command::new("git")
        .args(["describe", "--always", "--dirty"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    match output {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        }
        _ => String::new(),
    }
}

/// In words. Not every architecture names its CPU.
fn machine(cores: usize, cpuinfo: &str, meminfo: &str) -> String {
    let field = |text: &str, name: &str| {
        let lines = text.lines().filter_map(|line| line.split_once(':'));
        let mut found = lines.filter(|(key, _)| key.trim() == name);
        found.next().map(|(_, value)| value.trim().to_owned())
    };
    let cpu = field(cpuinfo, "model name").unwrap_or_else(|| "an unnamed CPU".to_owned());
    let memory = field(meminfo, "MemTotal").and_then(|total| {
        let kib: f64 = total.strip_suffix("kB")?.trim().parse().ok()?;
        Some(format!(", {:.1} GiB", kib / 1024.0 / 1024.0))
    });
    let s = if cores == 1 { "" } else { "s" };
    format!("{cores} core{s} of {cpu}{}", memory.unwrap_or_default())
}

#[cfg(test)]
mod tests;
