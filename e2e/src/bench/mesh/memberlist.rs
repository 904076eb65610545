//! The real hashicorp/memberlist, LAN defaults, one member a process (`e2e/peers/memberlist`).

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use tokio::process::Command;

use super::crowd::{Crowd, Kind, Line, Said, address};
use crate::process::Program;
use crate::run_folder::{RunFolder, cache_folder};

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/memberlist");
const PORT: u16 = 7946;
/// Members that everybody joins through.
const SEEDS: usize = 3;

/// The kind.
#[derive(Debug)]
pub(super) struct Memberlist {
    binary: PathBuf,
    count: usize,
}

/// So many members.
///
/// # Errors
/// When the program cannot be built or started.
pub(super) async fn start(count: usize, run: &RunFolder) -> Result<Crowd<Memberlist>> {
    let binary = build().await?;
    Crowd::start(Memberlist { binary, count }, count, run)
}

/// Builds it with the Go of this machine; Go itself knows when there is nothing to do.
async fn build() -> Result<PathBuf> {
    let folder = cache_folder()?.join("peers");
    std::fs::create_dir_all(&folder)?;
    let binary = folder.join("memberlist");
    println!("  building {SOURCE} into {}", folder.display());
    let status = Command::new("go")
        .args(["build", "-trimpath", "-mod=readonly", "-o"])
        .args([&binary, Path::new(".")])
        .current_dir(SOURCE)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .status()
        .await
        .context("cannot run go: memberlist needs the Go toolchain (https://go.dev/doc/install)")?;
    ensure!(
        status.success(),
        "go could not build {SOURCE}; its own message stands above"
    );
    Ok(binary)
}

/// What a member prints.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Printed {
    at_unix_ns: u64,
    event: String,
    node: String,
}

impl Kind for Memberlist {
    const STARTS_ALONE: bool = true;
    const NAME: &'static str = "memberlist";
    const NETWORK: u8 = 232;

    fn program(&self, index: usize) -> Program {
        let seeds = (0..self.count).filter(|seed| *seed != index).take(SEEDS);
        let seeds: Vec<String> = seeds
            .map(|seed| format!("{}:{PORT}", address::<Self>(seed)))
            .collect();
        let arguments = [
            ("-name", format!("m-{index}")),
            ("-address", address::<Self>(index).to_string()),
            ("-port", PORT.to_string()),
            ("-join", seeds.join(",")),
        ];
        let arguments = arguments.into_iter();
        Program {
            name: format!("memberlist-{index:03}"),
            binary: self.binary.clone(),
            arguments: arguments
                .flat_map(|(flag, value)| [flag.into(), value.into()])
                .collect(),
            environment: Vec::new(),
            namespace: None,
        }
    }

    fn read(&self, line: &str) -> Option<Line> {
        read(line)
    }

    async fn is_settled(&self) -> Result<bool> {
        // Its log tells all.
        Ok(true)
    }
}

fn read(line: &str) -> Option<Line> {
    let printed: Printed = serde_json::from_str(line).ok()?;
    let index = printed.node.strip_prefix("m-")?.parse().ok()?;
    let said = match printed.event.as_str() {
        "start" => Said::Started,
        "join" => Said::Back(index),
        "leave" => Said::Failed(vec![index]),
        _ => return None,
    };
    Some(Line {
        at: std::time::Duration::from_nanos(printed.at_unix_ns).as_secs_f64(),
        said,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn its_lines_are_understood() {
        let line = r#"{"atUnixNs":2500000000,"event":"leave","node":"m-17"}"#;
        let read_line = read(line).unwrap();
        assert_eq!(read_line.said, Said::Failed(vec![17]));
        assert!((read_line.at - 2.5).abs() < 1e-9);
        assert_eq!(read(r#"{"atUnixNs":1,"event":"x","node":"m-1"}"#), None);
        assert_eq!(read("m-1"), None);
    }
}
