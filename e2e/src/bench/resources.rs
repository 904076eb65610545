//! What a process uses, as the kernel counts it.

use std::fs;

use anyhow::{Context, Result, ensure};
use tokio::time::Instant;

/// Ticks of a second in /proc: the same on every Linux that Rust runs on, whatever the kernel's own.
const TICKS_PER_SECOND: f64 = 100.0;

/// One process at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    at: Instant,
    pid: u32,
    cpu_seconds: f64,
    pub(super) resident_mib: f64,
}

impl Usage {
    pub(super) fn of(pid: u32) -> Result<Self> {
        Ok(Self {
            at: Instant::now(),
            pid,
            cpu_seconds: cpu_seconds(&read(pid, "stat")?)?,
            resident_mib: resident_mib(&read(pid, "status")?)?,
        })
    }

    pub(super) fn seconds_since(&self, before: &Self) -> f64 {
        (self.at - before.at).as_secs_f64()
    }

    /// Share of one core between two moments.
    pub(super) fn cpu_percent_since(&self, before: &Self) -> Result<f64> {
        ensure!(
            before.pid == self.pid,
            "it restarted during the measurement; its log says why"
        );
        let used = self.cpu_seconds - before.cpu_seconds;
        Ok(used / self.seconds_since(before) * 100.0)
    }
}

fn read(pid: u32, file: &str) -> Result<String> {
    let path = format!("/proc/{pid}/{file}");
    fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
}

/// User and system time of a process (fields 14 and 15 of /proc/PID/stat).
fn cpu_seconds(stat: &str) -> Result<f64> {
    // The name before may hold anything, parentheses too.
    let (_, fields) = stat.rsplit_once(") ").context("a strange /proc/PID/stat")?;
    let ticks: Vec<f64> = fields
        .split(' ')
        .skip(11)
        .take(2)
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    ensure!(ticks.len() == 2, "a strange /proc/PID/stat");
    Ok(ticks.iter().sum::<f64>() / TICKS_PER_SECOND)
}

/// VmRSS of /proc/PID/status: with the pages of the binary, which all agents of a machine share.
fn resident_mib(status: &str) -> Result<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    let kib: f64 = number.context("no VmRSS in /proc/PID/status")?.parse()?;
    Ok(kib / 1024.0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_kernel_is_read_right() {
        let stat = "42 (a) b) S 1 42 42 0 -1 4194560 100 0 0 0 130 20 0 0 20 0 1 0 5 6 7";
        assert!((cpu_seconds(stat).unwrap() - 1.5).abs() < 1e-9);
        let status = "Name:\ta\nVmHWM:\t 9999 kB\nVmRSS:\t   14336 kB\n";
        assert!((resident_mib(status).unwrap() - 14.0).abs() < 1e-9);
        assert!(cpu_seconds("42").is_err());
        assert!(resident_mib("").is_err());
    }

    #[test]
    fn our_own_entry_is_readable() {
        let pid = std::process::id();
        assert!(cpu_seconds(&read(pid, "stat").unwrap()).is_ok());
        assert!(resident_mib(&read(pid, "status").unwrap()).unwrap() > 0.0);
    }
}
