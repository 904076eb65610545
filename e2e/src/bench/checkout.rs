//! `make demo` and `.ci/run` in a clean clone, cold and then warm, as somebody has them who comes new.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

use super::duration;
use crate::process::exit_code;
use crate::run_folder::RunFolder;
use slotmesh_report::Report;

/// Time between two lines of progress.
const TICK: Duration = Duration::from_secs(30);
/// Longest run of a command.
const DEADLINE: Duration = Duration::from_secs(3 * 3600);
/// Longest wait for processes that were asked to end.
const END: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(20);
/// Bytes of a log's end, for its last lines.
const LOG_END: i64 = 4096;
const LOG_LINES: usize = 20;
/// Whatever `make`, `cargo run` and this program's user set, and a newcomer would not have.
const UNSET: [&str; 19] = [
    "MAKEFLAGS",
    "MFLAGS",
    "MAKELEVEL",
    "MAKEOVERRIDES",
    "MAKE_TERMOUT",
    "MAKE_TERMERR",
    "CARGO",
    "CARGO_MAKEFLAGS",
    "CARGO_BIN_NAME",
    "CARGO_CRATE_NAME",
    "CARGO_PRIMARY_PACKAGE",
    "ARGS",
    "KEEP",
    "RUSTFLAGS",
    "RUSTC_WRAPPER",
    "CARGO_BUILD_RUSTC_WRAPPER",
    "CARGO_INCREMENTAL",
    "RUST_LOG",
    "KUBEBUILDER_ASSETS",
];

/// What runs there, and how long it may take.
struct Case {
    name: &'static str,
    program: &'static str,
    arguments: &'static [&'static str],
    cold_minutes_max: Option<f64>,
    warm_minutes_max: Option<f64>,
}

pub(super) async fn demo(report: &mut Report) -> Result<()> {
    let case = Case {
        name: "make demo",
        program: "make",
        arguments: &["demo"],
        cold_minutes_max: None,
        warm_minutes_max: None,
    };
    measure(report, &case).await
}

/// `.ci/run`, with the longest times that it may take, cold and warm.
pub(super) async fn ci(report: &mut Report, [cold, warm]: [f64; 2]) -> Result<()> {
    let case = Case {
        name: ".ci/run",
        program: ".ci/run",
        arguments: &[],
        cold_minutes_max: Some(cold),
        warm_minutes_max: Some(warm),
    };
    measure(report, &case).await
}

async fn measure(report: &mut Report, case: &Case) -> Result<()> {
    let run = RunFolder::create()?;
    let clone = clone_into(&run.path().join("clone")).await?;
    let runs = [
        (
            "cold",
            case.cold_minutes_max,
            "fresh clone, target, programs of Kubernetes and Go's build cache; crates and Go modules may be downloaded already",
        ),
        ("warm", case.warm_minutes_max, "the same clone once more"),
    ];
    for (state, minutes_max, how) in runs {
        let log = run.log_file(&format!("clone-{state}"));
        let (code, time) = execute(case, state, &clone, &run, &log).await?;
        let name = format!("clean clone, {}, {state}", case.name);
        report.exactly(format!("{name}: exit code"), f64::from(code), "", 0.0);
        let minutes = time.as_secs_f64() / 60.0;
        match minutes_max {
            // A failure that came quickly meets nothing.
            Some(most) if code == 0 => report.at_most(name, minutes, "min", most),
            _ => report.plain(name, minutes, "min"),
        }
        report.note(how);
        if code != 0 {
            eprintln!("{}", end_of(&log));
            let kept = run.keep_logs()?;
            bail!(
                "{} failed in the {state} run with exit code {code}; whole log: {}",
                case.name,
                kept.display()
            );
        }
        println!("  {} {state}: {minutes:.1} min", case.name);
    }
    Ok(())
}

/// A clone of the repository that this program was built from, as it is committed.
async fn clone_into(folder: &Path) -> Result<PathBuf> {
    let root = git(&["rev-parse", "--show-toplevel"]).await?;
    let changes = git(&["status", "--porcelain"]).await?;
    if !changes.is_empty() {
        eprintln!(
            "  {} files are changed and not committed: the clone is without those changes",
            changes.lines().count()
        );
    }
    let target = folder.display().to_string();
    git(&["clone", "--quiet", "--no-hardlinks", &root, &target]).await?;
    Ok(folder.to_owned())
}

async fn git(arguments: &[&str]) -> Result<String> {
    let output = Command::new("git")
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .context("cannot run `git`: install it, this part clones the repository")?;
    if !output.status.success() {
        bail!(
            "`git {}` failed: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Runs the command; its exit code, and how long it took.
async fn execute(
    case: &Case,
    state: &str,
    clone: &Path,
    run: &RunFolder,
    log: &Path,
) -> Result<(i32, Duration)> {
    let output = File::create(log)?;
    let cache = run.path().join("cache");
    let mut command = Command::new(match case.program {
        own if own.contains('/') => clone.join(own),
        installed => PathBuf::from(installed),
    });
    command
        .args(case.arguments)
        .current_dir(clone)
        .env("CARGO_TARGET_DIR", run.path().join("target"))
        .env("XDG_CACHE_HOME", &cache)
        .env("GOCACHE", cache.join("go-build"))
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .process_group(0);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if UNSET.contains(&text.as_ref())
            || text.starts_with("CARGO_PKG_")
            || text.starts_with("CARGO_MANIFEST_")
        {
            command.env_remove(&name);
        }
    }
    let begun = Instant::now();
    let child = command
        .spawn()
        .with_context(|| format!("cannot run {}", case.name))?;
    let mut group = Group::of(child)?;
    loop {
        match tokio::time::timeout(TICK, group.child.wait()).await {
            Ok(status) => return Ok((exit_code(status?), begun.elapsed())),
            Err(_) if begun.elapsed() > DEADLINE => bail!(
                "{} has not ended within {}; its log ends:\n{}",
                case.name,
                duration(DEADLINE.as_secs_f64()),
                end_of(log)
            ),
            Err(_) => println!(
                "  {} {state}, {} so far: {}",
                case.name,
                duration(begun.elapsed().as_secs_f64()),
                end_of(log).lines().last().unwrap_or_default()
            ),
        }
    }
}

/// A command with all that it starts. Dropping it ends what still runs.
struct Group {
    child: Child,
    leader: Pid,
}

impl Group {
    fn of(child: Child) -> Result<Self> {
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
        Ok(Self {
            leader: Pid::from_raw(pid.context("it ended at once")?),
            child,
        })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // None once it was waited for: it ended by itself, and its number may be a stranger's by now.
        if self.child.id().is_none() {
            return;
        }
        // Asked first: a demo takes its control plane down with it.
        let _ = killpg(self.leader, Signal::SIGTERM);
        let begun = Instant::now();
        while begun.elapsed() < END {
            // Waited for, or it stays in the group for ever.
            let _ = self.child.try_wait();
            if killpg(self.leader, None).is_err() {
                return;
            }
            std::thread::sleep(PAUSE);
        }
        let _ = killpg(self.leader, Signal::SIGKILL);
    }
}

/// The last lines of a log.
fn end_of(log: &Path) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(log)?;
        let length = i64::try_from(file.metadata()?.len()).unwrap_or(i64::MAX);
        file.seek(SeekFrom::End(-length.min(LOG_END)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let from = lines.len().saturating_sub(LOG_LINES);
    lines.get(from..).unwrap_or_default().join("\n")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[tokio::test]
    async fn a_dropped_command_takes_everything_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let number = folder.path().join("pid");
        let script = format!(
            "sleep 600 & echo $! > {}.part; mv {0}.part {0}; wait",
            number.display()
        );
        let mut command = Command::new("sh");
        command.args(["-c", &script]).process_group(0);
        let group = Group::of(command.spawn().unwrap()).unwrap();
        let wait = crate::wait::until("the sleeper", Duration::from_secs(30), async || {
            Ok(std::fs::read_to_string(&number).ok())
        });
        let sleeper: i32 = wait.await.unwrap().trim().parse().unwrap();
        drop(group);
        let gone = crate::wait::until("its end", Duration::from_secs(30), async || {
            let stat = std::fs::read_to_string(format!("/proc/{sleeper}/stat")).unwrap_or_default();
            Ok((stat.is_empty() || stat.contains(") Z ")).then_some(()))
        });
        gone.await.unwrap();
    }

    #[test]
    fn a_log_is_shown_by_its_last_lines() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let text: String = (0..2000)
            .map(|number| format!("line {number}\n\n"))
            .collect();
        std::fs::write(&log, text).unwrap();
        let end = end_of(&log);
        assert_eq!(end.lines().count(), LOG_LINES);
        assert!(end.ends_with("line 1999"));
        assert!(end_of(&folder.path().join("none")).is_empty());
    }
}
