//! The folder of one run: logs, keys, data, and a list of what the run started. It is removed at the
//! end; what a crashed run left behind is found by the next one, named, and cleaned.
//!
//! ```text
//!   <cache>/slotmesh/runs/<pid>-<start time>/  machine    boot, PID namespace and machine of the owner
//!                                              children   "<pid> <start time> <name>" a line
//!                                              resources  "<kind> <name>" a line
//!                                              logs/ ...
//! ```
//!
//! A process is known by its number *and* its start time, within one boot: numbers are used again. And
//! a home may be shared by machines: what another one runs looks here like a process that is gone.

mod leftovers;
mod networks;
mod resource;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

pub use leftovers::clean_leftovers;
pub use networks::Network;
pub use resource::Resource;

/// Folders of logs of failed runs that are kept; older ones are removed.
const LOGS_KEPT: usize = 5;

/// A run's folder. Dropping it ends what the run started and removes the folder; while the program
/// panics, its logs are kept.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    // Where logs stay after a failure.
    kept: PathBuf,
}

impl RunFolder {
    /// Cleans what crashed runs left, and makes a folder for this one.
    ///
    /// # Errors
    /// When the cache folder cannot be written.
    pub fn create() -> Result<Self> {
        let runs = runs_folder()?;
        for line in clean_leftovers()? {
            eprintln!("{line}");
        }
        Self::create_in(&runs, &cache_folder()?.join("logs"))
    }

    fn create_in(runs: &Path, kept: &Path) -> Result<Self> {
        let own = std::process::id();
        let started = leftovers::start_time(own).context("cannot read our own /proc entry")?;
        // Several in one process, as tests have them, differ by a number.
        for number in 0..100_u8 {
            let path = runs.join(format!("{own}-{started}-{number}"));
            fs::create_dir_all(runs).with_context(|| format!("cannot make {}", runs.display()))?;
            match fs::create_dir(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => continue,
                made => made.with_context(|| format!("cannot make {}", path.display()))?,
            }
            fs::write(path.join("machine"), leftovers::Machine::here().to_string())?;
            fs::create_dir(path.join("logs"))?;
            let kept = kept.to_owned();
            return Ok(Self { path, kept });
        }
        bail!("this process has 100 run folders in {}", runs.display())
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the output of a child goes.
    #[must_use]
    pub fn log_file(&self, name: &str) -> PathBuf {
        self.path.join("logs").join(format!("{name}.log"))
    }

    /// How names of this run's resources begin (at most 9 characters, so that names of network
    /// interfaces have room for more): two runs never share a name.
    #[must_use]
    pub fn tag(&self) -> String {
        resource::tag_of(&self.path)
    }

    /// Notes something that outlives processes *before* it is made, so that it is removed at the end
    /// or after a crash.
    ///
    /// # Errors
    /// When its name does not begin with [`RunFolder::tag`], or the list cannot be written.
    pub fn register(&self, resource: &Resource) -> Result<()> {
        if !resource.name().starts_with(&format!("{}-", self.tag())) {
            bail!(
                "{resource} must begin with {}-: only what is surely of this run is ever removed",
                self.tag()
            );
        }
        append(&self.path.join("resources"), &resource.to_string())
    }

    /// Process number of the child of that name that runs; of several the one started last.
    #[must_use]
    pub fn running_child(&self, name: &str) -> Option<u32> {
        let list = fs::read_to_string(self.children_file()).ok()?;
        let started_as = |line: &str| {
            let mut parts = line.splitn(3, ' ');
            let (pid, started) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
            let lives = leftovers::start_time(pid) == Some(started);
            (lives && parts.next() == Some(name)).then_some(pid)
        };
        list.lines().rev().find_map(started_as)
    }

    /// The list of children, for [`note_child`].
    pub(crate) fn children_file(&self) -> PathBuf {
        self.path.join("children")
    }

    /// Moves the logs to where they stay after the end of the run.
    ///
    /// # Errors
    /// When they cannot be moved.
    pub fn keep_logs(&self) -> Result<PathBuf> {
        let folder = &self.kept;
        fs::create_dir_all(folder)?;
        let mut older: Vec<_> = fs::read_dir(folder)?
            .flatten()
            .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
            .collect();
        older.sort();
        let surplus = (older.len() + 1).saturating_sub(LOGS_KEPT);
        for (_, path) in older.iter().take(surplus) {
            fs::remove_dir_all(path)?;
        }
        let name = self.path.file_name().context("the run has no name")?;
        // A process that makes one run after another has the same name again.
        let names = (1..).map(|number| match number {
            1 => name.to_owned(),
            _ => format!("{}.{number}", name.to_string_lossy()).into(),
        });
        let mut free = names
            .map(|name| folder.join(name))
            .filter(|path| !path.exists());
        let kept = free.next().context("no name is left")?;
        // Beside the runs, not in a temporary folder: a rename does not cross file systems.
        fs::rename(self.path.join("logs"), &kept)
            .with_context(|| format!("cannot move the logs to {}", kept.display()))?;
        Ok(kept)
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        // Whoever held a child has killed it by now, perhaps without waiting: a file must not appear
        // in the folder while it is removed.
        leftovers::end_children(&self.path);
        resource::remove_all(&self.path);
        // Who panics had no chance to keep them, and what is said then may point at them.
        if std::thread::panicking() && self.path.join("logs").is_dir() {
            match self.keep_logs() {
                Ok(kept) => eprintln!("logs: {}", kept.display()),
                Err(error) => eprintln!("{error:#}"),
            }
        }
        if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("cannot remove {}: {error}", self.path.display());
        }
    }
}

/// Remembers a child, so that it can be ended if we crash.
///
/// # Errors
/// When the list cannot be written.
pub(crate) fn note_child(list: &Path, pid: i32, name: &str) -> Result<()> {
    let started = u32::try_from(pid).ok().and_then(leftovers::start_time);
    // One that is gone already needs no note.
    match started {
        Some(started) => append(list, &format!("{pid} {started} {name}")),
        None => Ok(()),
    }
}

fn append(list: &Path, line: &str) -> Result<()> {
    let file = fs::File::options().create(true).append(true).open(list);
    // One write, so that a crash leaves no half of a line.
    file.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()))
        .with_context(|| format!("cannot write {}", list.display()))
}

/// The user's cache folder of this project.
///
/// # Errors
/// When the user has no home.
pub fn cache_folder() -> Result<PathBuf> {
    // The XDG specification: a relative path is to be ignored.
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
    Ok(base
        .context("neither XDG_CACHE_HOME nor HOME is set: no place for caches")?
        .join("slotmesh"))
}

fn runs_folder() -> Result<PathBuf> {
    Ok(cache_folder()?.join("runs"))
}

#[cfg(test)]
mod tests;
