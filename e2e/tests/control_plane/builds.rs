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
/// Notes its number, and never ends by itself.
const HANGS: &str = "#!/bin/sh\necho $$ > \"$NOTES.part\"\n/bin/mv \"$NOTES.part\" \"$NOTES\"\nexec /bin/sleep 600\n";
const FAILS: &str = "#!/bin/sh\necho 'no space left, say' >&2\nexit 1\n";

/// A machine on which nothing of Kubernetes is found.
struct Machine {
    folder: TempDir,
}

impl Machine {
    fn with(go: Option<&str>) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let programs = folder.path().join("programs");
        fs::create_dir(&programs)?;
        if let Some(script) = go {
            let path = programs.join("go");
            fs::write(&path, script)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        }
        Ok(Self { folder })
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

    /// Files in the cache of programs.
    fn built(&self) -> Result<Vec<String>> {
        let keys: Vec<_> = fs::read_dir(self.folder.path().join("slotmesh/kubernetes"))?
            .flatten()
            .collect();
        ensure!(keys.len() == 1, "{keys:?}");
        let mut names: Vec<String> = fs::read_dir(keys[0].path())?
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| name != "lock")
            .collect();
        names.sort();
        Ok(names)
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

    let mut expected = PROGRAMS.map(str::to_owned);
    expected.sort();
    ensure!(machine.built()? == expected, "{:?}", machine.built()?);
    let third = machine.assets().output().await?;
    ensure!(
        third.status.success() && third.stdout.is_empty(),
        "{third:?}"
    );
    let notes = fs::read_to_string(machine.notes())?;
    ensure!(notes.lines().count() == PROGRAMS.len(), "{notes}");
    Ok(())
}

/// SIGTERM ends the build, and no half of a program passes for a whole one.
pub async fn interrupted() -> Result<()> {
    let machine = Machine::with(Some(HANGS))?;
    let mut assets = machine.assets().spawn()?;
    let go = wait::until("the build to begin", DEADLINE, async || {
        Ok(fs::read_to_string(machine.notes()).ok())
    })
    .await?;
    let go = Noted::of(go.trim().parse()?, "go").context("go is gone")?;
    send("TERM", &assets)?;
    let status = tokio::time::timeout(DEADLINE, assets.wait()).await??;
    ensure!(!status.success(), "{status}");
    wait::until("go to end", DEADLINE, async || {
        Ok((!go.is_alive()).then_some(()))
    })
    .await?;
    let built = machine.built()?;
    ensure!(!built.iter().any(|name| name == "etcd"), "{built:?}");
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
