//! Flags and environment. A wrong value is one clear line on stderr and exit code 2 (clap's own).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use clap::{ArgAction, Parser, ValueEnum};
use slotmesh_api::names::PORT_JOIN;

use crate::lease::{Times, TimesError};
use crate::scope::Scope;
use crate::views::Sight;

const DAY_SECONDS: u64 = 24 * 3600;

/// Reconciles GossipClusters: runs their agents, admits them, decides who owns which slot, records
/// each map in the API server and publishes it into the mesh.
///
/// Several may run; the holder of the Lease works, the others stand by.
#[derive(Clone, Debug, Parser)]
#[command(name = "slotmesh-operator", version)]
pub struct Config {
    /// Namespace of the operator: its Lease and the clusters' keys live there.
    #[arg(long, env = "SLOTMESH_OPERATOR_NAMESPACE", value_parser = non_empty)]
    pub namespace: String,

    /// Name of this pod; part of the holder's identity in the Lease and in events.
    #[arg(long, env = "SLOTMESH_OPERATOR_POD_NAME", value_parser = non_empty)]
    pub pod_name: String,

    /// Address of this pod; agents join there while this operator leads.
    #[arg(long, env = "SLOTMESH_OPERATOR_POD_IP")]
    pub pod_ip: IpAddr,

    /// Image of agents for every GossipCluster that names none.
    #[arg(long, env = "SLOTMESH_OPERATOR_AGENT_IMAGE", value_parser = non_empty)]
    pub agent_image: String,

    /// Namespaces whose GossipClusters are served, separated by commas; empty serves all of them.
    /// With namespaces named, Roles in them are enough (token reviews stay cluster-wide).
    #[arg(
        long,
        env = "SLOTMESH_OPERATOR_WATCH_NAMESPACES",
        default_value = "",
        value_name = "NAMES"
    )]
    pub watch_namespaces: Scope,

    /// Whether nodes are read: for zones, for weights, and so that `kubectl drain` moves slots away.
    #[arg(long, env = "SLOTMESH_OPERATOR_READ_NODES", default_value_t = true, action = ArgAction::Set)]
    pub read_nodes: bool,

    /// UDP port on which agents join.
    #[arg(long, env = "SLOTMESH_OPERATOR_JOIN_PORT", default_value_t = PORT_JOIN, value_parser = clap::value_parser!(u16).range(1..))]
    pub join_port: u16,

    /// TCP port of /metrics, /livez and /readyz.
    #[arg(long, env = "SLOTMESH_OPERATOR_METRICS_PORT", default_value_t = 8080, value_parser = clap::value_parser!(u16).range(1..))]
    pub metrics_port: u16,

    /// How long certificates live that are issued to agents and to the operator itself, such as 24h;
    /// they are renewed after half of it. At least 10 s, at most 30 days.
    #[arg(long, env = "SLOTMESH_OPERATOR_CERTIFICATE_LIFETIME", default_value = "24h", value_parser = certificate_lifetime)]
    pub certificate_lifetime: Duration,

    /// Time between two looks for keys whose cluster is gone, such as 1h; keys are deleted at the
    /// second look that finds it gone. At least 10 s, at most a day.
    #[arg(long, env = "SLOTMESH_OPERATOR_KEY_SWEEP_INTERVAL", default_value = "1h", value_parser = key_sweep_interval)]
    pub key_sweep_interval: Duration,

    /// Name of the Lease that elects the leader.
    #[arg(long, env = "SLOTMESH_OPERATOR_LEADER_ELECT_LEASE_NAME", default_value = "slotmesh-operator", value_parser = non_empty)]
    pub leader_elect_lease_name: String,

    /// How long an unchanged Lease keeps other operators away, in seconds.
    #[arg(long, env = "SLOTMESH_OPERATOR_LEADER_ELECT_LEASE_DURATION_SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u32).range(2..=600))]
    pub leader_elect_lease_duration_seconds: u32,

    /// How long a leader goes on without renewing, in seconds; shorter than the lease duration.
    #[arg(long, env = "SLOTMESH_OPERATOR_LEADER_ELECT_RENEW_DEADLINE_SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=600))]
    pub leader_elect_renew_deadline_seconds: u32,

    /// Time between two attempts to renew or take the Lease, in seconds.
    #[arg(long, env = "SLOTMESH_OPERATOR_LEADER_ELECT_RETRY_PERIOD_SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=600))]
    pub leader_elect_retry_period_seconds: u32,

    /// Form of the log on stderr.
    #[arg(long, env = "SLOTMESH_OPERATOR_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,

    /// How much is logged.
    #[arg(long, env = "SLOTMESH_OPERATOR_LOG_LEVEL", value_enum, default_value_t = LogLevel::Info)]
    pub log_level: LogLevel,
}

/// Form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl LogLevel {
    /// As tracing writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

impl Config {
    /// The times of the election, in a safe order.
    pub fn election_times(&self) -> Result<Times, TimesError> {
        let seconds = |value: u32| Duration::from_secs(u64::from(value));
        Times {
            lease: seconds(self.leader_elect_lease_duration_seconds),
            renew_deadline: seconds(self.leader_elect_renew_deadline_seconds),
            retry: seconds(self.leader_elect_retry_period_seconds),
        }
        .validate()
    }

    /// What is looked at.
    pub(crate) fn sight(&self) -> Sight {
        Sight {
            scope: self.watch_namespaces.clone(),
            nodes: self.read_nodes,
        }
    }

    /// Where agents join.
    #[must_use]
    pub fn join_address(&self) -> SocketAddr {
        SocketAddr::new(self.pod_ip, self.join_port)
    }
}

fn certificate_lifetime(text: &str) -> Result<Duration, String> {
    duration(text, 10, 30 * DAY_SECONDS)
}

fn key_sweep_interval(text: &str) -> Result<Duration, String> {
    duration(text, 10, DAY_SECONDS)
}

/// A number with a unit: 20s, 90m, 24h or 30d.
fn duration(text: &str, min_seconds: u64, max_seconds: u64) -> Result<Duration, String> {
    let expected = || "a number with a unit is expected, such as 20s, 90m, 24h or 30d".to_owned();
    let (number, unit) = text
        .char_indices()
        .last()
        .and_then(|(at, unit)| Some((text.get(..at)?, unit)))
        .ok_or_else(expected)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => DAY_SECONDS,
        _ => return Err(expected()),
    };
    let number: u64 = number.parse().map_err(|_| expected())?;
    let total = number.checked_mul(seconds).ok_or_else(expected)?;
    if !(min_seconds..=max_seconds).contains(&total) {
        return Err(format!(
            "{total} s is out of range: {min_seconds} to {max_seconds} s are allowed"
        ));
    }
    Ok(Duration::from_secs(total))
}

pub(crate) fn non_empty(value: &str) -> Result<String, String> {
    let value = value.trim();
    if value.is_empty() {
        Err("must not be empty".to_owned())
    } else {
        Ok(value.to_owned())
    }
}

#[cfg(test)]
mod tests;
