//! Packets that the router loses by chance, which rules of routing cannot do.
//!
//! ```text
//!   a node ── eth0 ──▶ the router: counted ─ each with the same chance ─▶ dropped, or on to another node
//! ```
//!
//! The rules sit where the router forwards, not where a node sends: there the sender would get an error. A
//! packet crosses the router once on its way, so what is lost in each direction is the share itself.

use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{Fabric, Namespace};

/// What to do where the rules cannot be made.
const ADVICE: &str =
    "install iptables (Debian: apt-get install iptables), on a kernel with xt_statistic";

/// What the router forwarded since it loses packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forwarded {
    /// Packets that came to it to be forwarded.
    pub packets: u64,
    /// Those of them that it dropped by chance.
    pub dropped: u64,
}

impl Forwarded {
    /// Share that was dropped, in percent; zero of nothing.
    #[must_use]
    pub fn dropped_percent(&self) -> f64 {
        self.dropped as f64 * 100.0 / self.packets.max(1) as f64
    }

    /// The two rules of [`lose`] in the list of their chain.
    fn read(list: &str) -> Option<Self> {
        let packets = |line: Option<&str>| line?.split_whitespace().next()?.parse().ok();
        // The name of the chain and the heads of the columns come first.
        let mut lines = list.lines().skip(2);
        Some(Self {
            packets: packets(lines.next())?,
            dropped: packets(lines.next())?,
        })
    }
}

impl Fabric {
    /// From now on so many percent of all packets between nodes, and between nodes and harness, are lost.
    /// To be called once: it ends with the router.
    ///
    /// # Errors
    /// When `iptables` fails.
    pub fn lose(&self, percent: u8) -> Result<()> {
        self.router.within(|| lose(percent))
    }

    /// What was forwarded since then, and what was not.
    ///
    /// # Errors
    /// When `iptables` fails, or no loss was asked for.
    pub fn forwarded(&self) -> Result<Forwarded> {
        let list = self
            .router
            .within(|| iptables("--list FORWARD --numeric --verbose --exact"))?;
        Forwarded::read(&list).context("the router loses nothing")
    }
}

/// Whether packets can be lost by chance here.
///
/// # Errors
/// Says what is missing.
pub fn can_lose() -> Result<()> {
    Namespace::create()?.within(|| lose(50))
}

/// One rule counts all, the next one drops by chance.
fn lose(percent: u8) -> Result<()> {
    iptables("--append FORWARD")?;
    let chance = f64::from(percent) / 100.0;
    iptables(&format!(
        "--append FORWARD --match statistic --mode random --probability {chance:.2} --jump DROP"
    ))
    .map(drop)
}

/// Runs it in the calling thread's namespace.
fn iptables(arguments: &str) -> Result<String> {
    let output = Command::new("iptables")
        .arg("--wait")
        .args(arguments.split_whitespace())
        .output()
        .with_context(|| format!("cannot run `iptables`: {ADVICE}"))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        let complaint = complaint.split_whitespace().collect::<Vec<_>>().join(" ");
        bail!("iptables {arguments}: {complaint}: {ADVICE}");
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests;
