//! kubectl and helm, as a user has them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::{Component, ControlPlane};

/// Longest run of a tool; helm's own `--timeout` is shorter.
const DEADLINE: Duration = Duration::from_secs(300);

/// The failure of a tool, part of the error.
#[derive(Debug)]
pub struct Complaint {
    command: String,
    status: ExitStatus,
    /// What the tool said itself.
    pub said: String,
    log: PathBuf,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { command, said, .. } = self;
        let (status, log) = (self.status, self.log.display());
        write!(
            f,
            "{command} failed ({status}): {said}\nThe API server's log: {log}"
        )
    }
}

impl std::error::Error for Complaint {}

impl ControlPlane {
    /// Runs kubectl; its output.
    ///
    /// # Errors
    /// When it fails, with a [`Complaint`].
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.tool("kubectl", arguments, "").await
    }

    /// Runs kubectl with something to read, for `-f -`; its output.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub async fn kubectl_with_input(&self, arguments: &[&str], input: &str) -> Result<String> {
        self.tool("kubectl", arguments, input).await
    }

    /// Runs helm; its output.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub async fn helm(&self, arguments: &[&str]) -> Result<String> {
        self.tool("helm", arguments, "").await
    }

    /// The folder of kubectl and helm.
    ///
    /// # Errors
    /// When there is none.
    pub fn tools_folder(&self) -> Result<&Path> {
        let kubectl = self.assets.path("kubectl")?;
        kubectl.parent().context("no folder")
    }

    async fn tool(&self, name: &str, arguments: &[&str], input: &str) -> Result<String> {
        let command = format!("{name} {}", arguments.join(" "));
        let home = self.kubeconfig.parent().context("no folder")?;
        let mut child = Command::new(self.assets.path(name)?)
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", home)
            .env("KUBECONFIG", &self.kubeconfig)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot run {command}"))?;
        let mut pipe = child.stdin.take().context("no pipe")?;
        // Both at once: a tool may write before it has read all.
        let run = async {
            let feed = async {
                let fed = pipe.write_all(input.as_bytes()).await;
                drop(pipe);
                fed
            };
            // One that reads nothing may be gone before it is fed.
            let (_, output) = tokio::join!(feed, child.wait_with_output());
            output
        };
        let output = tokio::time::timeout(DEADLINE, run)
            .await
            .with_context(|| format!("{command}: no end within {} s", DEADLINE.as_secs()))??;
        if !output.status.success() {
            return Err(anyhow::Error::new(Complaint {
                command,
                status: output.status,
                said: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
                log: self.process(Component::ApiServer)?.log().to_owned(),
            }));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
