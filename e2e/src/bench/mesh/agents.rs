//! Real agents, the release binary as it is: full QUIC and mutual TLS, admitted by a stand-in of the
//! operator.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result};
use futures::future::try_join_all;
use jiff::Timestamp;
use serde_json::Value;
use slotmesh_mesh::identity::Uid;
use slotmesh_mesh::map::Protocol;

use super::crowd::{Crowd, Kind, Line, Said};
use super::homes::Homes;
use super::operator::{Operator, Place, TOKEN};
use crate::http::{self, Asker};
use crate::process::Program;
use crate::run_folder::RunFolder;
use crate::stage;

const MESH_PORT: u16 = 7400;
const HTTP_PORT: u16 = 7402;
const METRICS_PORT: u16 = 7403;

/// The kind.
#[derive(Debug)]
pub(super) struct Agents {
    binary: PathBuf,
    trust: PathBuf,
    cluster: Uid,
    homes: Homes,
    asker: Asker,
    _operator: Operator,
}

/// So many agents on loopback, all of them members.
///
/// # Errors
/// When one cannot be started.
pub(super) fn start(count: usize, run: &RunFolder) -> Result<Crowd<Agents>> {
    start_at(Homes::on_loopback(count), Protocol::default(), run)
}

/// The same, with so many milliseconds between two heartbeats.
///
/// # Errors
/// When one cannot be started.
pub(super) fn start_beating(
    count: usize,
    heartbeat_interval_ms: u32,
    run: &RunFolder,
) -> Result<Crowd<Agents>> {
    let protocol = Protocol {
        heartbeat_interval_ms,
        ..Protocol::default()
    };
    start_at(Homes::on_loopback(count), protocol, run)
}

/// An agent in each home, all of them members.
///
/// # Errors
/// When one cannot be started.
pub(super) fn start_at(homes: Homes, protocol: Protocol, run: &RunFolder) -> Result<Crowd<Agents>> {
    let count = homes.len();
    let trust = run.path().join("trust");
    std::fs::create_dir_all(&trust)?;
    let cluster = Uid::from_bytes([200; 16]);
    let mut places = BTreeMap::new();
    for index in 0..count {
        let address = homes.address(index);
        let place = Place {
            name: name(index),
            mesh: SocketAddr::from((address, MESH_PORT)),
            http: SocketAddr::from((address, HTTP_PORT)),
        };
        places.insert(uid(index), place);
    }
    let operator = Operator::start(cluster, protocol, &trust, homes.operator(), places)?;
    let kind = Agents {
        binary: stage::binary("slotmesh-agent")?,
        trust,
        cluster,
        homes,
        asker: Asker::default(),
        _operator: operator,
    };
    Crowd::start(kind, count, run)
}

fn name(index: usize) -> String {
    format!("agent-{index:03}")
}

/// The UID of a member's pod holds its index.
fn uid(index: usize) -> Uid {
    let mut bytes = [7; 16];
    let number = u16::try_from(index).unwrap_or(u16::MAX).to_be_bytes();
    bytes[14..].copy_from_slice(&number);
    Uid::from_bytes(bytes)
}

/// The index in a member's identity, `uid@incarnation`.
fn index_of(member: &str) -> Option<usize> {
    let (uid, _) = member.split_once('@')?;
    let tail = uid.get(uid.len().checked_sub(4)?..)?;
    usize::from_str_radix(tail, 16).ok()
}

impl Agents {
    /// What every agent counts.
    pub(super) async fn metrics(&self) -> Result<Vec<BTreeMap<String, f64>>> {
        let all = (0..self.homes.len()).map(async |index| {
            let address = self.homes.address(index);
            http::metrics(&format!("http://{address}:{METRICS_PORT}/metrics")).await
        });
        try_join_all(all).await
    }

    /// Epoch of the map of one agent, if it holds all members for alive.
    async fn sees_all(&self, index: usize) -> Result<Option<u64>> {
        let url = format!(
            "http://{}:{HTTP_PORT}/v1/members",
            self.homes.address(index)
        );
        let answer = self.asker.json(&url).await?;
        let members = answer.get("members").and_then(Value::as_array);
        let members = members.context("an answer without members")?;
        let alive = |member: &Value| member.get("state").and_then(Value::as_str) == Some("Alive");
        let all = members.len() == self.homes.len() && members.iter().all(alive);
        let fresh = answer.get("stale").and_then(Value::as_bool) == Some(false);
        let epoch = answer.get("epoch").and_then(Value::as_u64);
        Ok(epoch.filter(|_| all && fresh))
    }
}

impl Kind for Agents {
    const STARTS_ALONE: bool = false;
    const NAME: &'static str = "agent";
    const NETWORK: u8 = 231;

    fn program(&self, index: usize) -> Program {
        let (address, name, trust) = (self.homes.address(index), name(index), &self.trust);
        let environment = [
            ("CLUSTER_NAME", "bench".to_owned()),
            ("CLUSTER_UID", self.cluster.to_string()),
            ("POD_NAME", name.clone()),
            ("POD_UID", uid(index).to_string()),
            ("POD_IP", address.to_string()),
            ("NODE_NAME", format!("node-of-{name}")),
            ("TRUST_DIR", trust.display().to_string()),
            ("TOKEN_FILE", trust.join(TOKEN).display().to_string()),
            ("MESH_PORT", MESH_PORT.to_string()),
            ("HTTP_PORT", HTTP_PORT.to_string()),
            ("METRICS_PORT", METRICS_PORT.to_string()),
            ("LOG_FORMAT", "json".to_owned()),
        ];
        Program {
            name,
            binary: self.binary.clone(),
            arguments: Vec::new(),
            environment: environment
                .map(|(key, value)| (format!("SLOTMESH_{key}"), value))
                .into(),
            namespace: self.homes.namespace(index),
        }
    }

    fn read(&self, line: &str) -> Option<Line> {
        read(line)
    }

    async fn is_settled(&self) -> Result<bool> {
        let seen = try_join_all((0..self.homes.len()).map(|index| self.sees_all(index))).await?;
        let first = seen.first().copied().flatten();
        Ok(first.is_some() && seen.iter().all(|epoch| *epoch == first))
    }
}

/// The agent's own verdict is one line of its log.
fn read(line: &str) -> Option<Line> {
    if !line.contains("verdict: failed") {
        return None;
    }
    let line: Value = serde_json::from_str(line).ok()?;
    let text = |name: &str| line.get(name).and_then(Value::as_str);
    let at: Timestamp = text("timestamp")?.parse().ok()?;
    let failed = text("failed")?.split(',').filter_map(index_of).collect();
    Some(Line {
        at: at.as_duration().as_secs_f64(),
        said: Said::Failed(failed),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_verdict_names_whom_it_finds_failed_and_when() {
        let failed = format!("{}@101,{}@7", uid(3), uid(99));
        let line = format!(
            r#"{{"timestamp":"1970-01-01T00:00:02.250000Z","level":"WARN","message":"verdict: failed","epoch":101,"failed":"{failed}"}}"#
        );
        let read = read(&line).unwrap();
        assert_eq!(read.said, Said::Failed(vec![3, 99]));
        assert!((read.at - 2.25).abs() < 1e-9);
    }

    #[test]
    fn other_lines_say_nothing() {
        assert_eq!(read(r#"{"message":"verdict withdrawn","epoch":1}"#), None);
        assert_eq!(read("verdict: failed, but no JSON"), None);
    }
}
