//! Many processes of one kind on loopback, each with an address of its own, and what each of them says
//! in its log about the others. All kinds are timed alike: by the time stamps of their own lines.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;

use crate::process::{Process, Program};
use crate::run_folder::RunFolder;
use crate::wait;

/// Time for all of a crowd to know each other, and to know each other again after a failure.
const SETTLE_DEADLINE: Duration = Duration::from_secs(240);
/// Time between two rounds of reading logs.
const LOOK: Duration = Duration::from_millis(100);
/// Bytes that are read of one log at once; the rest comes with the next round.
const CHUNK_BYTES: u64 = 1 << 20;

/// What a line of a log says.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line {
    /// Unix time in seconds.
    pub(super) at: f64,
    pub(super) said: Said,
}

/// What a member says of others, by their index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// A new process of this member begins.
    Started,
    /// It holds them for failed.
    Failed(Vec<usize>),
    /// It holds it for alive.
    Back(usize),
}

/// A kind of mesh.
pub(super) trait Kind {
    /// Whether a process that starts knows nobody, and says so of each member that it gets to know.
    const STARTS_ALONE: bool;
    /// Short, for names of processes.
    const NAME: &'static str;
    /// What differs in the addresses, so that kinds never meet.
    const NETWORK: u8;

    /// What one member runs.
    fn program(&self, index: usize) -> Program;

    /// What a line says; none when it says nothing of others.
    fn read(&self, line: &str) -> Option<Line>;

    /// Whether everybody counts everybody as alive, as far as logs do not tell.
    async fn is_settled(&self) -> Result<bool>;
}

/// Address of a member. The third byte keeps two benches on one machine apart.
pub(super) fn address<K: Kind>(index: usize) -> Ipv4Addr {
    let bench = u8::try_from(std::process::id() % 250).unwrap_or(0);
    let member = u8::try_from(index + 1).unwrap_or(u8::MAX);
    Ipv4Addr::new(127, K::NETWORK, bench, member)
}

/// The members.
#[derive(Debug)]
pub(super) struct Crowd<K> {
    pub(super) kind: K,
    members: Vec<Process>,
    tails: Vec<Tail>,
    /// Whom each holds for failed, or does not know yet.
    down: Vec<BTreeSet<usize>>,
}

impl<K: Kind> Crowd<K> {
    /// Starts them all.
    ///
    /// # Errors
    /// When one cannot be started.
    pub(super) fn start(kind: K, count: usize, run: &RunFolder) -> Result<Self> {
        let mut members = Vec::with_capacity(count);
        for index in 0..count {
            members.push(Process::start(&kind.program(index), run)?);
        }
        Ok(Self {
            kind,
            tails: members.iter().map(Tail::of).collect(),
            down: (0..count).map(|own| unknown::<K>(own, count)).collect(),
            members,
        })
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    /// Process numbers.
    pub(super) fn pids(&self) -> Vec<u32> {
        let pids = self.members.iter().map(|member| member.pid().as_raw());
        pids.filter_map(|pid| u32::try_from(pid).ok()).collect()
    }

    pub(super) fn signal(&self, index: usize, signal: Signal) -> Result<()> {
        let member = self.members.get(index).context("no such member")?;
        member.signal(signal);
        Ok(())
    }

    /// Kills a member that still runs, and starts it anew.
    pub(super) async fn restart(&mut self, index: usize) -> Result<()> {
        let member = self.members.get_mut(index).context("no such member")?;
        member.restart().await
    }

    /// What was said since the last call: who, when, what.
    ///
    /// # Errors
    /// When a log cannot be read, or a process has ended by itself.
    pub(super) fn listen(&mut self) -> Result<Vec<(usize, Line)>> {
        let (mut heard, count) = (Vec::new(), self.members.len());
        let all = self.tails.iter_mut().zip(&mut self.down).enumerate();
        for (speaker, (tail, down)) in all {
            for line in tail.lines()? {
                let Some(line) = self.kind.read(&line) else {
                    continue;
                };
                match &line.said {
                    Said::Started => *down = unknown::<K>(speaker, count),
                    Said::Failed(whom) => down.extend(whom),
                    Said::Back(whom) => drop(down.remove(whom)),
                }
                heard.push((speaker, line));
            }
        }
        Ok(heard)
    }

    /// Waits until everybody counts everybody as alive, and has done so for `rest`; what was said
    /// meanwhile.
    ///
    /// # Errors
    /// When that does not come to be.
    pub(super) async fn settle(&mut self, rest: Duration) -> Result<Vec<(usize, Line)>> {
        let mut heard = Vec::new();
        let what = format!("{} {}s to know each other", self.len(), K::NAME);
        let mut since: Option<tokio::time::Instant> = None;
        wait::until(&what, SETTLE_DEADLINE, async || {
            tokio::time::sleep(LOOK).await;
            heard.extend(self.listen()?);
            self.ensure_running(None)?;
            // Who does not say whom it gets to know is asked.
            let known = !K::STARTS_ALONE || self.down.iter().all(BTreeSet::is_empty);
            if !known || !self.kind.is_settled().await? {
                since = None;
                let missing = self.down.iter().map(BTreeSet::len).sum::<usize>();
                ensure!(missing == 0, "{missing} do not count as alive yet");
                return Ok(None);
            }
            let since = since.get_or_insert_with(tokio::time::Instant::now);
            Ok((since.elapsed() >= rest).then_some(()))
        })
        .await?;
        for down in &mut self.down {
            down.clear();
        }
        Ok(heard)
    }

    /// Nobody has ended by itself, but perhaps the victim.
    ///
    /// # Errors
    /// Names who has.
    pub(super) fn ensure_running(&mut self, victim: Option<usize>) -> Result<()> {
        for (index, member) in self.members.iter_mut().enumerate() {
            ensure!(
                victim == Some(index) || !member.has_ended(),
                "{} has ended; its log is {}",
                member.name(),
                member.log().display()
            );
        }
        Ok(())
    }

    /// A pause in which logs are read.
    pub(super) async fn look(&mut self) -> Result<Vec<(usize, Line)>> {
        tokio::time::sleep(LOOK).await;
        self.listen()
    }
}

fn unknown<K: Kind>(own: usize, count: usize) -> BTreeSet<usize> {
    match K::STARTS_ALONE {
        true => (0..count).filter(|index| *index != own).collect(),
        false => BTreeSet::new(),
    }
}

/// A log that grows.
#[derive(Debug)]
struct Tail {
    path: PathBuf,
    offset: u64,
    /// A line that is not whole yet.
    rest: Vec<u8>,
}

impl Tail {
    fn of(member: &Process) -> Self {
        Self {
            path: member.log().to_owned(),
            offset: 0,
            rest: Vec::new(),
        }
    }

    fn lines(&mut self) -> Result<Vec<String>> {
        let cannot = || format!("cannot read {}", self.path.display());
        let mut file = File::open(&self.path).with_context(cannot)?;
        file.seek(SeekFrom::Start(self.offset))
            .with_context(cannot)?;
        let read = file.take(CHUNK_BYTES).read_to_end(&mut self.rest);
        self.offset += u64::try_from(read.with_context(cannot)?)?;
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else {
            return Ok(Vec::new());
        };
        let rest = self.rest.split_off(end + 1);
        let whole = std::mem::replace(&mut self.rest, rest);
        let text = String::from_utf8_lossy(&whole);
        Ok(text.lines().map(str::to_owned).collect())
    }
}
