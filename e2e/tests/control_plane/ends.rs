//! Ends, orderly and not: no process, no file, no network interface is left.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use slotmesh_e2e::assets::Assets;
use slotmesh_e2e::control_plane::{ControlPlane, Options};
use slotmesh_e2e::run_folder::{Resource, RunFolder};
use slotmesh_e2e::{http, wait};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::{DEADLINE, kept};

/// Argument that makes of this test the program that panics.
pub const PANIC: &str = "panicking-run";
const COMPONENTS: usize = 4;
/// All programs of Kubernetes.
pub const PROGRAMS: [&str; 6] = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubectl",
    "helm",
];

/// An orderly end.
pub async fn stop(plane: ControlPlane, run: &Path) -> Result<()> {
    let children = children_of(run)?;
    let alive = children.iter().filter(|it| it.is_alive()).count();
    ensure!(alive == COMPONENTS, "{children:?}");
    plane.stop().await;
    ensure!(!children.iter().any(Noted::is_alive), "{children:?}");
    Ok(())
}

/// The end of a run whose control plane has ended.
pub fn leaves_nothing(run: Arc<RunFolder>) -> Result<()> {
    let path = run.path().to_owned();
    let run = Arc::into_inner(run).context("somebody still holds the run's folder")?;
    drop(run);
    ensure!(!path.exists(), "{} is left", path.display());
    Ok(())
}

/// A plane for nodes in network namespaces listens on their bridge, which goes with the run.
pub async fn bridge_address(assets: &Assets) -> Result<()> {
    let run = RunFolder::create()?;
    let link = format!("{}-br", run.tag());
    run.register(&Resource::Link(link.clone()))?;
    let made = ip(&["link", "add", &link, "type", "bridge"]).await
        && ip(&["address", "add", "198.18.77.1/24", "dev", &link]).await
        && ip(&["link", "set", &link, "up"]).await;
    if !made {
        println!("  skipped: no network interface can be made here (needs root and iproute2)");
        return Ok(());
    }
    let address: IpAddr = "198.18.77.1".parse()?;
    let options = Options {
        address,
        ..Options::default()
    };
    kept(&run, on_bridge(assets, &run, options).await)?;
    drop(run);
    let interface = Path::new("/sys/class/net").join(&link);
    ensure!(!interface.exists(), "{link} is left");
    Ok(())
}

async fn on_bridge(assets: &Assets, run: &RunFolder, options: Options) -> Result<()> {
    let plane = ControlPlane::start_with(assets.clone(), run, options).await?;
    ensure!(plane.server().starts_with("https://198.18.77.1:"));
    plane.kubectl(&["get", "namespaces"]).await?;
    let port = plane.server().rsplit_once(':').context("no port")?.1;
    let elsewhere = http::get(&format!("http://127.0.0.1:{port}/")).await;
    ensure!(elsewhere.is_err(), "it listens on loopback too");
    plane.stop().await;
    Ok(())
}

async fn ip(arguments: &[&str]) -> bool {
    let output = Command::new("ip").args(arguments).output().await;
    output.is_ok_and(|output| output.status.success())
}

/// An address of no interface: the error says so at once.
pub async fn no_such_address(assets: &Assets) -> Result<()> {
    let run = RunFolder::create()?;
    let address = "203.0.113.7".parse()?;
    let options = Options {
        address,
        ..Options::default()
    };
    let started = ControlPlane::start_with(assets.clone(), &run, options).await;
    let error = started.err().context("it started")?;
    let error = format!("{error:#}");
    ensure!(error.contains("cannot listen on 203.0.113.7"), "{error}");
    Ok(())
}

/// `up` that gets a signal ends everything and leaves no file.
pub async fn up_ends_with(assets: &Assets, signal: &str) -> Result<()> {
    let home = Home::with(assets)?;
    let mut up = home.up().await?;
    let children = home.children()?;
    send(signal, &up.child)?;
    let status = tokio::time::timeout(DEADLINE, up.child.wait()).await??;
    ensure!(status.success(), "{status}");
    ensure!(!children.iter().any(Noted::is_alive), "{children:?}");
    let left = home.runs()?;
    ensure!(left.is_empty(), "{left:?}");
    Ok(())
}

/// `up` that is killed: its children end by themselves, its files are found, named and removed.
pub async fn up_killed(assets: &Assets) -> Result<()> {
    let home = Home::with(assets)?;
    let mut up = home.up().await?;
    let children = home.children()?;
    // One stands for those that the kernel does not end: it outlives its owner.
    let mut orphan = std::process::Command::new("sleep").arg("600").spawn()?;
    let run = home.runs()?.pop().context("no run")?;
    let list = fs::read_to_string(run.join("children"))?;
    let noted = Noted::of(orphan.id(), "orphan").context("no orphan")?;
    fs::write(run.join("children"), format!("{list}{noted}\n"))?;

    send("KILL", &up.child)?;
    up.child.wait().await?;
    wait::until("the children to end", DEADLINE, async || {
        Ok((!children.iter().any(Noted::is_alive)).then_some(()))
    })
    .await?;
    ensure!(noted.is_alive(), "the orphan ended by itself");
    let said = home.run(&["clean"]).await?;
    orphan.wait()?;
    for part in [
        format!("ended orphan (pid {})", noted.pid),
        format!("removed {}", run.display()),
    ] {
        ensure!(said.contains(&part), "no {part:?} in: {said}");
    }
    ensure!(home.runs()?.is_empty(), "files are left");
    let said = home.run(&["clean"]).await?;
    ensure!(said.trim() == "nothing was left behind", "{said}");
    Ok(())
}

/// A harness that panics ends everything and leaves no file but its logs.
pub async fn panic(assets: &Assets) -> Result<()> {
    let home = Home::with(assets)?;
    let output = home
        .command(&std::env::current_exe()?)
        .arg(PANIC)
        .output()
        .await?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(
        String::from_utf8_lossy(&output.stderr).contains("a story fell over"),
        "{output:?}"
    );
    let children: Vec<Noted> = said.lines().filter_map(Noted::parse).collect();
    ensure!(children.len() == COMPONENTS, "{said}");
    ensure!(!children.iter().any(Noted::is_alive), "{children:?}");
    let left = home.runs()?;
    ensure!(left.is_empty(), "{left:?}");
    let mut logs = fs::read_dir(home.folder.path().join("slotmesh/logs"))?.flatten();
    let logs = logs.next().context("no logs are kept")?.path();
    let etcd = fs::metadata(logs.join("etcd.log"))?;
    ensure!(etcd.len() > 0, "the logs that are kept are empty");
    Ok(())
}

/// The program of [`panic`].
pub async fn panicking_run() -> ExitCode {
    let run = RunFolder::create().unwrap();
    let assets = Assets::ensure(|_| ()).await.unwrap();
    let plane = ControlPlane::start(assets, &run).await.unwrap();
    for child in children_of(run.path()).unwrap() {
        println!("{child}");
    }
    plane.kubectl(&["get", "namespaces"]).await.unwrap();
    panic!("a story fell over");
}

/// A user with a cache of their own.
struct Home {
    folder: TempDir,
}

struct Up {
    child: Child,
}

impl Home {
    fn with(assets: &Assets) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let programs = folder.path().join("programs");
        fs::create_dir(&programs)?;
        for name in PROGRAMS {
            symlink(assets.path(name)?, programs.join(name))?;
        }
        Ok(Self { folder })
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env("XDG_CACHE_HOME", self.folder.path())
            .env("KUBEBUILDER_ASSETS", self.folder.path().join("programs"))
            .kill_on_drop(true);
        command
    }

    async fn run(&self, arguments: &[&str]) -> Result<String> {
        let program = Path::new(env!("CARGO_BIN_EXE_slotmesh-e2e"));
        let output = self.command(program).args(arguments).output().await?;
        ensure!(output.status.success(), "{output:?}");
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Starts `up` and waits until it says that it is.
    async fn up(&self) -> Result<Up> {
        let program = Path::new(env!("CARGO_BIN_EXE_slotmesh-e2e"));
        let mut command = self.command(program);
        let mut child = command.arg("up").stdout(Stdio::piped()).spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("no pipe")?).lines();
        let up = async {
            while let Some(line) = lines.next_line().await? {
                if let Some(path) = line.strip_prefix("export KUBECONFIG=") {
                    ensure!(Path::new(path).is_file(), "no file {path}");
                }
                if line.contains("Ctrl-C") {
                    return Ok(());
                }
            }
            anyhow::bail!("it ended")
        };
        tokio::time::timeout(DEADLINE, up).await??;
        Ok(Up { child })
    }

    fn runs(&self) -> Result<Vec<PathBuf>> {
        let folder = self.folder.path().join("slotmesh/runs");
        let entries = fs::read_dir(folder)?;
        Ok(entries.flatten().map(|entry| entry.path()).collect())
    }

    fn children(&self) -> Result<Vec<Noted>> {
        let runs = self.runs()?;
        ensure!(runs.len() == 1, "{runs:?}");
        let children = children_of(&runs[0])?;
        ensure!(children.len() == COMPONENTS && children.iter().all(Noted::is_alive));
        Ok(children)
    }
}

/// A process as a run notes it.
#[derive(Debug, PartialEq, Eq)]
pub struct Noted {
    pid: u32,
    started: String,
    name: String,
}

impl std::fmt::Display for Noted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {}", self.pid, self.started, self.name)
    }
}

impl Noted {
    fn parse(line: &str) -> Option<Self> {
        let mut parts = line.splitn(3, ' ');
        Some(Self {
            pid: parts.next()?.parse().ok()?,
            started: parts.next()?.to_owned(),
            name: parts.next()?.to_owned(),
        })
    }

    /// The process that has this number now.
    pub fn of(pid: u32, name: &str) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
        // A dead process that nobody has waited for yet does nothing any more.
        (fields[0] != "Z").then(|| Self {
            pid,
            started: fields[19].to_owned(),
            name: name.to_owned(),
        })
    }

    pub fn is_alive(&self) -> bool {
        Self::of(self.pid, &self.name).as_ref() == Some(self)
    }
}

fn children_of(run: &Path) -> Result<Vec<Noted>> {
    let list = fs::read_to_string(run.join("children"))?;
    Ok(list.lines().filter_map(Noted::parse).collect())
}

/// Sends a signal to a child.
pub fn send(signal: &str, child: &Child) -> Result<()> {
    let pid = child.id().context("it ended")?;
    let sent = std::process::Command::new("sh")
        .args(["-c", &format!("kill -{signal} {pid}")])
        .status()?;
    ensure!(sent.success());
    Ok(())
}
