//! Networks of nodes: nothing on the machine is touched, silence is silent, and a harness that is killed
//! leaves nothing.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use slotmesh_e2e::network::{Fabric, Form, Namespace};
use slotmesh_e2e::process::{Process, Program};
use slotmesh_e2e::run_folder::RunFolder;
use slotmesh_e2e::wait;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::DEADLINE;
use crate::ends::{Noted, send};

/// Argument that makes of this test the program that lives in a network of its own.
pub const NETWORK: &str = "network-run";
/// Longer than a packet and its answer take here, by far.
const ANSWER: Duration = Duration::from_secs(1);

/// A harness in a network of its own is killed.
pub async fn killed() -> Result<()> {
    let home = tempfile::tempdir()?;
    let before = interfaces()?;
    let mut child = Command::new(std::env::current_exe()?)
        .arg(NETWORK)
        .env("XDG_CACHE_HOME", home.path())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("no pipe")?).lines();
    let said = tokio::time::timeout(DEADLINE, lines.next_line()).await??;
    let said = said.context("it ended without a word")?;
    if said.starts_with("skipped") {
        println!("  {said}");
        return Ok(());
    }
    let pid = said.strip_prefix("in the node: ").context(said.clone())?;
    let inside = Noted::of(pid.parse()?, "sleep").context("nothing runs in the node")?;
    let namespace = namespace_of(pid)?;
    ensure!(namespace != namespace_of("self")?, "it runs in ours");
    ensure!(
        interfaces()? == before,
        "the machine has other interfaces now"
    );

    send("KILL", &child)?;
    child.wait().await?;
    wait::until("the process in the node to end", DEADLINE, async || {
        Ok((!inside.is_alive()).then_some(()))
    })
    .await?;
    for entry in fs::read_dir("/proc")?.flatten() {
        let pid = entry.file_name().to_string_lossy().into_owned();
        ensure!(
            namespace_of(&pid).ok().as_ref() != Some(&namespace),
            "{pid} holds the node's network"
        );
    }
    ensure!(interfaces()? == before, "interfaces are left");
    Ok(())
}

/// The program of [`killed`].
pub async fn network_run(form: Form) -> ExitCode {
    let entered = match form {
        Form::Namespaces(entered) => entered,
        Form::Loopback(why) => {
            println!("skipped: {why}");
            return ExitCode::SUCCESS;
        }
    };
    let fabric = Fabric::create(&entered).unwrap();
    let run = RunFolder::create().unwrap();
    let (one, two) = (
        fabric.join("one", 21, 1).unwrap(),
        fabric.join("two", 21, 2).unwrap(),
    );
    silence_and_cuts(&fabric, &one, &two).unwrap();
    let program = Program {
        name: "sleep".into(),
        binary: "/bin/sleep".into(),
        arguments: vec!["600".into()],
        environment: Vec::new(),
        namespace: Some(one.path()),
    };
    let process = Process::start(&program, &run).unwrap();
    // The launcher becomes the program after it has entered.
    wait::until("sleep to run", DEADLINE, async || {
        let name = fs::read_to_string(format!("/proc/{}/comm", process.pid()))?;
        Ok((name.trim() == "sleep").then_some(()))
    })
    .await
    .unwrap();
    println!("in the node: {}", process.pid());
    std::future::pending().await
}

fn silence_and_cuts(fabric: &Fabric, one: &Namespace, two: &Namespace) -> Result<()> {
    let crosses = |what: &str, there: bool, back: bool| -> Result<()> {
        for (from, source, to, target, expected) in [
            (one, "10.21.1.9", two, "10.21.2.9", there),
            (two, "10.21.2.9", one, "10.21.1.9", back),
        ] {
            let arrived = packet(from, source, to, target)?;
            ensure!(
                arrived == expected,
                "{what}: a packet from {source} to {target} arrived: {arrived}"
            );
        }
        Ok(())
    };
    crosses("whole", true, true)?;
    fabric.cut_one_way("one", "two")?;
    crosses("cut one way", false, true)?;
    fabric.cut_one_way("two", "one")?;
    crosses("cut", false, false)?;
    fabric.heal()?;
    crosses("healed", true, true)?;
    fabric.silence("two")?;
    crosses("silent", false, false)?;
    fabric.switch_off("one")?;
    fabric.heal()?;
    crosses("without power", false, false)?;
    fabric.switch_on("one")?;
    crosses("with power again", true, true)
}

/// Whether a packet arrives. One that does not is lost without a word: a connection attempt gets no
/// answer either, not even that there is no way.
fn packet(from: &Namespace, source: &str, to: &Namespace, target: &str) -> Result<bool> {
    let bind = |address: &str| Ok(std::net::UdpSocket::bind((address, 0))?);
    let (sender, receiver) = (from.within(|| bind(source))?, to.within(|| bind(target))?);
    receiver.set_read_timeout(Some(ANSWER))?;
    sender.send_to(b"packet", receiver.local_addr()?)?;
    match receiver.recv(&mut [0; 16]) {
        Ok(_) => return Ok(true),
        Err(error) if error.kind() == ErrorKind::WouldBlock => {}
        Err(error) => bail!(error),
    }
    let listener = to.within(|| Ok(std::net::TcpListener::bind((target, 0))?))?;
    let address = listener.local_addr()?;
    let connected =
        from.within(|| Ok(std::net::TcpStream::connect_timeout(&address, ANSWER).map(drop)))?;
    match connected {
        Err(error) if error.kind() == ErrorKind::TimedOut => Ok(false),
        told => bail!("from {source} to {target}: no silence, but {told:?}"),
    }
}

fn interfaces() -> Result<BTreeSet<String>> {
    let entries = fs::read_dir("/sys/class/net")?.flatten();
    Ok(entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect())
}

fn namespace_of(pid: &str) -> Result<PathBuf> {
    Ok(fs::read_link(Path::new("/proc").join(pid).join("ns/net"))?)
}
