//! Stories on several stages at once. Stories mostly wait, so two stages take half of the time.
//!
//! ```text
//!   scenarios ──▶ queue: a byte a story ──▶ stage 1: a process, a network, a control plane of its own
//!             ◀── told.1, told.2 ◀───────── stage 2: the same
//! ```
//!
//! A stage takes its next story when it has played the last, and ends when the queue is empty. It tells
//! each outcome by a line in a file, so that what it told counts even if it breaks off.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use slotmesh_e2e::process::until_signal;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use crate::{STORIES, Story};

/// First argument of a process that is a stage; the second is the file in which it tells.
pub const STAGE: &str = "stage";
/// As many as are played at once when nobody says.
pub const USUAL: u8 = 2;
/// Each has a control plane of some 600 MB.
pub const MOST: i64 = 8;
/// Longest wait for a stage that was asked to end.
const END: Duration = Duration::from_secs(60);

/// What became of a story.
#[derive(Debug, Serialize, Deserialize)]
pub struct Told {
    pub story: String,
    pub outcome: Outcome,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    Passed,
    Skipped,
    Failed(String),
}

/// The stories that no stage has taken yet, as a stage sees them.
pub struct Queue(File);

impl Queue {
    /// Our standard input.
    pub fn ours() -> Result<Self> {
        let input = std::io::stdin().as_fd().try_clone_to_owned()?;
        Ok(Self(File::from(input)))
    }

    /// Takes one. Read without a buffer: what lies in one is taken from the other stages.
    pub fn take(&mut self) -> Result<Option<Story>> {
        let mut place = [0];
        if self.0.read(&mut place).context("cannot read the queue")? == 0 {
            return Ok(None);
        }
        let story = STORIES.get(usize::from(place[0]));
        let story = story.with_context(|| format!("there is no story {}", place[0]))?;
        Ok(Some(*story))
    }
}

/// Tells what became of a story.
pub fn tell(file: &Path, story: &str, outcome: Outcome) -> Result<()> {
    let told = Told {
        story: story.to_owned(),
        outcome,
    };
    let mut line = serde_json::to_vec(&told)?;
    line.push(b'\n');
    let mut file = File::options().create(true).append(true).open(file)?;
    file.write_all(&line).context("cannot tell the outcome")
}

/// Plays these stories on that many stages; whether all passed, or were skipped with a reason. None when
/// a signal came first.
pub async fn play(stories: &[Story], count: usize) -> Result<Option<bool>> {
    let folder = tempfile::tempdir()?;
    let mut stages = start(stories, count, folder.path())?;
    let ended = futures::future::join_all(stages.iter_mut().map(Stage::ended));
    let Some(ended) = until_signal(async { Ok(ended.await) }).await? else {
        end(&mut stages).await;
        return Ok(None);
    };
    let mut told = Vec::new();
    for stage in &stages {
        // One whose stage could not be set has told nothing.
        let lines = std::fs::read_to_string(&stage.told).unwrap_or_default();
        for line in lines.lines() {
            told.push(serde_json::from_str(line)?);
        }
    }
    let mut all_ended = true;
    for (stage, ended) in stages.iter().zip(ended) {
        let status = ended?;
        if !status.success() {
            println!("{}ended with {status}", stage.prefix);
            all_ended = false;
        }
    }
    Ok(Some(sum_up(stories, &told) && all_ended))
}

/// Prints how many passed, and once more what failed: who reads a long run reads its last lines.
fn sum_up(stories: &[Story], told: &[Told]) -> bool {
    let (mut passed, mut skipped, mut failed) = (0, 0, 0);
    let mut not_played = Vec::new();
    for (name, _, _) in stories {
        match told.iter().find(|it| it.story == *name) {
            Some(it) => match &it.outcome {
                Outcome::Passed => passed += 1,
                Outcome::Skipped => skipped += 1,
                Outcome::Failed(error) => {
                    failed += 1;
                    println!("story {name}: FAILED: {error}");
                }
            },
            None => not_played.push(*name),
        }
    }
    if !not_played.is_empty() {
        println!("not played: {}", not_played.join(", "));
    }
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    failed == 0 && not_played.is_empty()
}

/// A process that plays stories.
struct Stage {
    child: Child,
    told: PathBuf,
    prefix: String,
    /// They print what it says, also while it takes down what it has set up.
    printers: Vec<JoinHandle<()>>,
}

impl Stage {
    /// Waits until it has ended, and everything that it said is printed.
    async fn ended(&mut self) -> Result<ExitStatus> {
        let status = self.child.wait().await?;
        for printer in self.printers.drain(..) {
            printer.await?;
        }
        Ok(status)
    }
}

async fn print_lines(prefix: String, pipe: impl AsyncRead + Unpin) {
    let mut lines = BufReader::new(pipe).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        println!("{prefix}{line}");
    }
}

fn start(stories: &[Story], count: usize, folder: &Path) -> Result<Vec<Stage>> {
    let (queue, mut filled) = std::io::pipe()?;
    for (name, _, _) in stories {
        let place = STORIES.iter().position(|(it, _, _)| it == name);
        let place = place.with_context(|| format!("{name} is not listed"))?;
        filled.write_all(&[u8::try_from(place)?])?;
    }
    let own = std::env::current_exe()?;
    let mut stages = Vec::new();
    for number in 1..=count {
        let told = folder.join(format!("told.{number}"));
        let mut child = Command::new(&own)
            // Through the launcher: a stage does not outlive us.
            .args(["child", &std::process::id().to_string(), "-"])
            .arg(&own)
            .arg(STAGE)
            .arg(&told)
            .stdin(Stdio::from(queue.try_clone()?))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start a stage")?;
        let prefix = match count {
            1 => String::new(),
            _ => format!("{number}| "),
        };
        let output = child.stdout.take().context("no output")?;
        let errors = child.stderr.take().context("no errors")?;
        let printers = vec![
            tokio::spawn(print_lines(prefix.clone(), output)),
            tokio::spawn(print_lines(prefix.clone(), errors)),
        ];
        stages.push(Stage {
            child,
            told,
            prefix,
            printers,
        });
    }
    Ok(stages)
}

/// Asks stages to end, and waits until they have taken down what they set up.
async fn end(stages: &mut [Stage]) {
    for stage in stages {
        let pid = stage.child.id().and_then(|pid| i32::try_from(pid).ok());
        if let Some(pid) = pid {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        if tokio::time::timeout(END, stage.ended()).await.is_err() {
            println!("{}does not end, and is killed", stage.prefix);
            let _ = stage.child.kill().await;
        }
    }
}
