//! Networks that nodes live in, in two forms.
//!
//! * *Loopback*: nodes and pods have addresses of 127.0.0.0/8. Needs nothing, but a dead port answers at
//!   once, and nothing can be cut.
//! * *Namespaces*: the harness moves into a network namespace of its own before it starts anything, and
//!   each node gets another. A namespace without a name ends with the last process in it: nothing on
//!   the machine is touched, two runs cannot meet, and even a harness that is killed leaves nothing.
//!
//! ```text
//!   the harness: 127.0.0.1 API server         the router              a node: its pods 10.G.N.2 ...
//!   operators 10.G.N.2 ...   up0 ────────── host      nG-N ────────── eth0 10.G.N.1
//!                                             forwards, or drops
//! ```
//!
//! The router drops with rules of routing (`ip rule ... blackhole`), which every kernel has that can
//! route by policy: no packet filter is needed, nobody gets an error, and directions are apart. Only loss
//! by chance needs `iptables`.

mod fabric;
mod loss;
mod namespace;

use std::fmt::Write;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getgid, getuid};

pub use fabric::{Fabric, OPERATORS};
pub use loss::{Forwarded, can_lose};
pub use namespace::Namespace;

/// Argument that makes of a program with [`crate::process::launch_if_asked`] the one that tries a way.
pub(crate) const TRIAL: &str = "network-trial";
/// What to do where no way works.
const ADVICE: &str = "run as root, or allow user namespaces (Ubuntu: sysctl \
    kernel.apparmor_restrict_unprivileged_userns=0; Docker: --privileged), and install iproute2";

/// What this machine allows.
#[derive(Debug)]
pub enum Form {
    /// Loopback only, and why.
    Loopback(String),
    /// We are in a network namespace of our own, and can make more.
    Namespaces(Entered),
}

/// Proof that [`enter`] was done.
#[derive(Clone, Copy, Debug)]
pub struct Entered(());

/// Where a group of nodes lives.
#[derive(Clone, Debug)]
pub enum Place {
    /// On loopback.
    Loopback,
    /// In the harness's namespace, but at addresses that nodes in namespaces reach.
    Harness(Arc<Fabric>),
    /// Each node in a namespace of its own.
    Namespaces(Arc<Fabric>),
}

/// A way into a namespace of our own.
#[derive(Clone, Copy, Debug)]
enum Way {
    Root,
    User,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::Root => "as-root",
            Self::User => "by-user-namespace",
        }
    }

    fn go(self) -> Result<()> {
        let user_and_group = (getuid(), getgid());
        match self {
            Self::Root => unshare(CloneFlags::CLONE_NEWNET)?,
            Self::User => {
                unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET)
                    .context("no user namespace")?;
                let (user, group) = user_and_group;
                std::fs::write("/proc/self/setgroups", "deny")?;
                std::fs::write("/proc/self/uid_map", format!("0 {user} 1"))
                    .context("user namespaces have no rights here")?;
                std::fs::write("/proc/self/gid_map", format!("0 {group} 1"))?;
            }
        }
        ip("link set lo up\n")
    }
}

/// Moves this process into a network namespace of its own, where that is allowed: to be called while it
/// has one thread, and after everything that needs the machine's network.
#[must_use]
pub fn enter() -> Form {
    let mut complaints = Vec::new();
    for way in [Way::Root, Way::User] {
        // Tried by a child first: from half of a way there is no return.
        match tried(way).and_then(|()| way.go()) {
            Ok(()) => return Form::Namespaces(Entered(())),
            Err(error) => complaints.push(format!("{}: {error:#}", way.name())),
        }
    }
    Form::Loopback(format!(
        "no network namespaces here ({}): {ADVICE}",
        complaints.join("; ")
    ))
}

fn tried(way: Way) -> Result<()> {
    let output = Command::new(std::env::current_exe()?)
        .args([TRIAL, way.name()])
        .output()?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// Goes a way, and makes there everything that a fabric needs; whether it works.
pub(crate) fn trial(way: Option<&str>) -> bool {
    let way = [Way::Root, Way::User]
        .into_iter()
        .find(|it| Some(it.name()) == way);
    let done = way.context("no such way").and_then(|way| {
        way.go()?;
        let fabric = Fabric::create(&Entered(()))?;
        let _node = fabric.join("trial", 21, 1)?;
        fabric.silence("trial")
    });
    if let Err(error) = &done {
        eprintln!("{error:#}");
    }
    done.is_ok()
}

/// Runs lines of `ip` in the calling thread's namespace.
fn ip(lines: &str) -> Result<()> {
    use std::io::Write as _;
    let mut child = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .context("cannot run `ip`: install iproute2")?;
    child
        .stdin
        .take()
        .context("no pipe")?
        .write_all(lines.as_bytes())?;
    let output = child.wait_with_output()?;
    if !output.status.success() {
        let mut complaint = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        let _ = write!(complaint, " (of: {})", lines.trim().replace('\n', "; "));
        bail!("ip: {complaint}");
    }
    Ok(())
}
