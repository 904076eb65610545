//! kubectl and helm, as a user has them.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::{Component, ControlPlane};

/// Longest run of a tool; helm's own `--timeout` is shorter.
const DEADLINE: Duration = Duration::from_secs(300);

impl ControlPlane {
    /// Runs kubectl; its output.
    ///
    /// # Errors
    /// When it fails, with what it said.
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
            bail!(
                "{command} failed ({}): {}\nThe API server's log: {}",
                output.status,
                String::from_utf8_lossy(&output.stderr).trim(),
                self.process(Component::ApiServer)?.log().display()
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
