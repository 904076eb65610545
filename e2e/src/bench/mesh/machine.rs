//! How busy this machine is: others may measure on it too, and a figure has to say so.

use std::fs;

use anyhow::{Context, Result};

/// Jiffies of all cores since the machine started.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Load {
    all: f64,
    idle: f64,
}

impl Load {
    pub(super) fn now() -> Result<Self> {
        let text = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
        Self::read(&text).context("a strange /proc/stat")
    }

    /// The first line: user, nice, system, idle, iowait, irq, softirq, steal.
    fn read(text: &str) -> Option<Self> {
        let line = text.lines().next()?.strip_prefix("cpu ")?;
        let fields = line.split_whitespace().take(8).map(str::parse);
        let fields: Vec<f64> = fields.collect::<Result<_, _>>().ok()?;
        let idle = fields.get(3)? + fields.get(4)?;
        Some(Self {
            all: fields.iter().sum(),
            idle,
        })
    }

    /// Share of all cores that was in use between two moments, in percent.
    pub(super) fn busy_percent_until(&self, later: &Self) -> f64 {
        let all = (later.all - self.all).max(1.0);
        100.0 - (later.idle - self.idle) / all * 100.0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn waiting_for_disks_is_not_busy() {
        let before = Load::read("cpu  10 0 10 70 10 0 0 0 0 0\ncpu0 1").unwrap();
        let after = Load::read("cpu  40 0 30 100 30 0 0 0 0 0\n").unwrap();
        assert!((before.busy_percent_until(&after) - 50.0).abs() < 1e-9);
        assert_eq!(Load::read("intr 1"), None);
    }
}
