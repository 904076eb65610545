//! Child processes that cannot outlive us.
//!
//! Children start through a launcher (`slotmesh-e2e child`), which asks the kernel for a SIGKILL when
//! its parent dies, enters a network namespace if it is to, and then becomes the real program. The
//! request holds for the *thread* that spawned, so the harness runs on one thread.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, setns};
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getppid};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

use crate::network;
use crate::run_folder::{RunFolder, note_child};

/// Stands for our own network namespace.
const OURS: &str = "-";

/// What to start.
#[derive(Clone, Debug)]
pub struct Program {
    /// Shown to people, and part of the log's name.
    pub name: String,
    /// The binary.
    pub binary: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Its environment; nothing of ours is passed on but PATH.
    pub environment: Vec<(String, String)>,
    /// The network namespace it lives in; ours when there is none.
    pub namespace: Option<PathBuf>,
}

/// A running child. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    program: Program,
    child: Child,
    pid: Pid,
    log: PathBuf,
    children: PathBuf,
}

impl Process {
    /// Starts a program; its output goes to a log in the run's folder.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(program: &Program, run: &RunFolder) -> Result<Self> {
        let log = run.log_file(&program.name);
        let children = run.children_file();
        let (child, pid) = spawn(program, &log, &children)?;
        Ok(Self {
            program: program.clone(),
            child,
            pid,
            log,
            children,
        })
    }

    /// Kills it if it still runs, and starts the same program anew; its log goes on.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn restart(&mut self) -> Result<()> {
        self.kill().await;
        (self.child, self.pid) = spawn(&self.program, &self.log, &self.children)?;
        Ok(())
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.program.name
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Where its output goes.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Sends a signal; one that is gone already needs none.
    pub fn signal(&self, signal: Signal) {
        // None once it was waited for: its number may be a stranger's by now.
        if self.child.id().is_some() {
            let _ = kill(self.pid, signal);
        }
    }

    /// Whether all its threads stand still, as some time after a SIGSTOP.
    ///
    /// # Errors
    /// When it does not run.
    pub fn stands_still(&self) -> Result<bool> {
        let tasks = format!("/proc/{}/task", self.pid);
        for task in std::fs::read_dir(&tasks).with_context(|| format!("cannot read {tasks}"))? {
            let stat = std::fs::read_to_string(task?.path().join("stat")).unwrap_or_default();
            // `number (name) state ...`; a name may hold anything. A thread that is gone says nothing.
            let state = stat
                .rsplit(')')
                .next()
                .and_then(|rest| rest.trim().chars().next());
            if state.is_some_and(|state| state != 'T') {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Waits for its end. Cancel-safe.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub async fn wait(&mut self) -> Result<ExitStatus> {
        Ok(self.child.wait().await?)
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)) | Err(_))
    }

    /// Kills it and waits until it is gone.
    pub async fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        let _ = self.child.wait().await;
    }
}

fn spawn(program: &Program, log: &Path, children: &Path) -> Result<(Child, Pid)> {
    let output = File::options().create(true).append(true).open(log)?;
    let launcher = std::env::current_exe()?;
    let mut command = Command::new(launcher);
    command
        .arg("child")
        .arg(std::process::id().to_string())
        .arg(program.namespace.as_deref().unwrap_or(Path::new(OURS)))
        .arg(&program.binary)
        .args(&program.arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .envs(program.environment.iter().map(|(key, value)| (key, value)))
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .kill_on_drop(true);
    let child = command
        .spawn()
        .with_context(|| format!("cannot start {}", program.name))?;
    let pid = child
        .id()
        .and_then(|pid| i32::try_from(pid).ok())
        .context("it ended at once")?;
    note_child(children, pid, &program.name)?;
    Ok((child, Pid::from_raw(pid)))
}

/// Code and signal of an end, as Kubernetes reports them.
#[must_use]
pub fn exit_code(status: ExitStatus) -> i32 {
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// None when Ctrl-C or SIGTERM came first: the work is dropped then, and everything that it has started
/// ends with it.
///
/// # Errors
/// With the work's, and when signals cannot be waited for.
pub async fn until_signal<T>(work: impl Future<Output = Result<T>>) -> Result<Option<T>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        done = work => done.map(Some),
        _ = interrupt.recv() => Ok(None),
        _ = terminate.recv() => Ok(None),
    }
}

/// Becomes the launcher if the arguments say so (`child PARENT NAMESPACE BINARY ARGUMENT...`), or tries
/// what networks can be had: the first thing in every `main` that starts children.
///
/// # Errors
/// When the program cannot be started.
pub fn launch_if_asked() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let word = arguments.next();
    if word.as_deref() == Some(OsStr::new(network::TRIAL)) {
        let way = arguments.next();
        let done = network::trial(way.as_deref().and_then(OsStr::to_str));
        std::process::exit(i32::from(!done));
    }
    if word.as_deref() != Some(OsStr::new("child")) {
        return Ok(());
    }
    let parent = arguments
        .next()
        .and_then(|parent| parent.to_str()?.parse().ok());
    let (Some(parent), Some(namespace), Some(binary)) =
        (parent, arguments.next(), arguments.next())
    else {
        bail!("usage: child PARENT NAMESPACE BINARY ARGUMENT...");
    };
    let Err(error) = launch(parent, &namespace, &binary, &arguments.collect::<Vec<_>>());
    Err(error)
}

/// The launcher: dies with its parent, enters the namespace, then becomes the program.
fn launch(
    parent: i32,
    namespace: &OsStr,
    binary: &OsStr,
    arguments: &[OsString],
) -> Result<std::convert::Infallible> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    if getppid() != Pid::from_raw(parent) {
        bail!("the harness is gone");
    }
    if namespace != OURS {
        let file = File::open(namespace).context("the network namespace is gone")?;
        setns(file, CloneFlags::CLONE_NEWNET).context("cannot enter the network namespace")?;
    }
    let error = std::process::Command::new(binary).args(arguments).exec();
    Err(error).with_context(|| format!("cannot run {}", binary.display()))
}
