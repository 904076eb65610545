//! How programs that are not found are built, with a `go` that only pretends to.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use slotmesh_e2e::wait;
use tempfile::TempDir;
use tokio::process::Command;

use crate::DEADLINE;
use crate::ends::{Noted, PROGRAMS, send};

/// Notes what it builds, and takes its time.
const BUILDS: &str = r#"#!/bin/sh
while [ $# -gt 0 ]; do
  [ "$1" = -o ] && part=$2
  package=$1
  shift
done
echo "$package" >> "$NOTES"
/bin/sleep 0.2
echo "$package" > "$part"
"#;
/// Writes half of what it builds, notes its number, and never ends by itself.
const HANGS: &str = r#"#!/bin/sh
while [ $# -gt 0 ]; do
  [ "$1" = -o ] && part=$2
  shift
done
echo half > "$part"
echo $$ > "$NOTES.part"
/bin/mv "$NOTES.part" "$NOTES"
exec /bin/sleep 600
"#;
const FAILS: &str = "#!/bin/sh\necho 'no space left, say' >&2\nexit 1\n";

/// A machine on which nothing of Kubernetes is found.
struct Machine {
    folder: TempDir,
}

impl Machine {
    fn with(go: Option<&str>) -> Result<Self> {
        let machine = Self {
            folder: tempfile::tempdir()?,
        };
        if let Some(script) = go {
            machine.put("programs/go", script)?;
        }
        Ok(machine)
    }

    /// A program of this machine.
    fn put(&self, name: &str, script: &str) -> Result<()> {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().context("no folder")?)?;
        fs::write(&path, script)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(())
    }

    fn notes(&self) -> PathBuf {
        self.folder.path().join("notes")
    }

    fn assets(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_slotmesh-e2e"));
        command
            .arg("assets")
            .env("XDG_CACHE_HOME", self.folder.path())
            .env("PATH", self.folder.path().join("programs"))
            .env("NOTES", self.notes())
            .env_remove("KUBEBUILDER_ASSETS")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// The cache of programs.
    fn cache(&self) -> Result<PathBuf> {
        let keys: Vec<_> = fs::read_dir(self.folder.path().join("slotmesh/kubernetes"))?
            .flatten()
            .collect();
        ensure!(keys.len() == 1, "{keys:?}");
        Ok(keys[0].path())
    }

    /// Files in it.
    fn built(&self) -> Result<Vec<String>> {
        let mut names: Vec<String> = fs::read_dir(self.cache()?)?
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| name != "lock")
            .collect();
        names.sort();
        Ok(names)
    }

    /// Every program is there, whole, and nothing else.
    fn holds_all(&self) -> Result<()> {
        let mut expected = PROGRAMS.map(str::to_owned);
        expected.sort();
        let built = self.built()?;
        ensure!(built == expected, "{built:?}");
        for name in built {
            let program = fs::read_to_string(self.cache()?.join(&name))?;
            // The pretended `go` writes the name of the package.
            ensure!(program.contains('/'), "{name} is {program:?}");
        }
        Ok(())
    }
}

/// Two runs at once build each program once; a third builds nothing.
pub async fn once() -> Result<()> {
    let machine = Machine::with(Some(BUILDS))?;
    let (mut first, mut second) = (machine.assets(), machine.assets());
    let (first, second) = tokio::join!(first.output(), second.output());
    let (first, second) = (first?, second?);
    ensure!(
        first.status.success() && second.status.success(),
        "{first:?} {second:?}"
    );
    let said =
        [first.stdout, second.stdout].map(|said| String::from_utf8_lossy(&said).into_owned());
    let waited = said.iter().filter(|said| said.contains("waiting for it"));
    ensure!(waited.count() == 1, "{said:?}");
    ensure!(said.iter().any(|said| said.contains(" left)")), "{said:?}");

    machine.holds_all()?;
    let third = machine.assets().output().await?;
    ensure!(
        third.status.success() && third.stdout.is_empty(),
        "{third:?}"
    );
    let notes = fs::read_to_string(machine.notes())?;
    ensure!(notes.lines().count() == PROGRAMS.len(), "{notes}");
    Ok(())
}

/// SIGTERM ends the build, and no half of a program passes for a whole one, then or later.
pub async fn interrupted() -> Result<()> {
    let machine = Machine::with(Some(HANGS))?;
    let mut assets = machine.assets().spawn()?;
    let go = wait::until("the build to begin", DEADLINE, async || {
        Ok(fs::read_to_string(machine.notes()).ok())
    })
    .await?;
    let go = Noted::of(go.trim().parse()?, "go").context("go is gone")?;
    let halves = machine.built()?;
    ensure!(
        halves.iter().any(|name| name.ends_with(".part")),
        "no half was written: {halves:?}"
    );
    send("TERM", &assets)?;
    let status = tokio::time::timeout(DEADLINE, assets.wait()).await??;
    ensure!(!status.success(), "{status}");
    wait::until("go to end", DEADLINE, async || {
        Ok((!go.is_alive()).then_some(()))
    })
    .await?;
    let left = machine.built()?;
    ensure!(!left.iter().any(|name| name == "etcd"), "{left:?}");
    // The next run begins where this one was ended, and clears away what it left.
    machine.put("programs/go", BUILDS)?;
    let next = machine.assets().output().await?;
    ensure!(next.status.success(), "{next:?}");
    machine.holds_all()
}

/// What the user chose and is not used is said, and built instead.
pub async fn chosen() -> Result<()> {
    let old = "#!/bin/sh\necho 'etcd Version: 3.5.6'\n";
    let fitting = "#!/bin/sh\necho 'etcd Version: 3.6.1'\n";
    for (etcd, line, built) in [
        (
            Some(old),
            "KUBEBUILDER_ASSETS/etcd says 3.5.6, 3.6 is needed: not used",
            PROGRAMS.len(),
        ),
        (None, "which is no folder: not used", PROGRAMS.len()),
        (Some(fitting), "building 5 programs", PROGRAMS.len() - 1),
    ] {
        let machine = Machine::with(Some(BUILDS))?;
        if let Some(script) = etcd {
            machine.put("chosen/etcd", script)?;
        }
        let mut assets = machine.assets();
        assets.env("KUBEBUILDER_ASSETS", machine.folder.path().join("chosen"));
        let output = assets.output().await?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(
            output.status.success() && said.contains(line),
            "no {line:?} in: {output:?}"
        );
        // What fits is not built.
        let names = machine.built()?;
        ensure!(names.len() == built, "{names:?}");
    }
    Ok(())
}

/// What a build or its absence says is passed on, with what to do next.
pub async fn complaints() -> Result<()> {
    for (go, part) in [(None, "install Go"), (Some(FAILS), "no space left, say")] {
        let machine = Machine::with(go)?;
        let output = machine.assets().output().await?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            !output.status.success() && said.contains(part),
            "no {part:?} in: {said}"
        );
    }
    Ok(())
}
