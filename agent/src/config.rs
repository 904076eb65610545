//! Flags and environment of the agent.

use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser, ValueEnum};
use slotmesh_mesh::identity::Uid;

/// The SlotMesh agent: joins a GossipCluster, detects failures of its peers, and answers who owns a
/// key.
///
/// Its DaemonSet sets everything it needs through the environment. To look at a running one:
///
///   curl "http://POD_IP:7402/v1/locate?key=user:42"    who owns a key
///   curl "http://POD_IP:7402/v1/members"               how its peers look from here
///   curl "http://POD_IP:7403/metrics"                  metrics for Prometheus
///
/// By hand, for a pod whose trust ConfigMap and token lie in ./trust and ./token:
///
///   slotmesh-agent --cluster-name sessions --cluster-uid 6f1c2d3e-0000-4000-8000-000000000001 \
///     --pod-name sessions-agent-x7k2p --pod-uid 6f1c2d3e-0000-4000-8000-000000000002 \
///     --pod-ip 10.0.3.17 --node-name worker-1 --trust-dir ./trust --token-file ./token
#[derive(Clone, Debug, Parser)]
#[command(name = "slotmesh-agent", version, verbatim_doc_comment)]
pub struct Config {
    /// Name of the GossipCluster that this agent belongs to.
    #[arg(long, env = "SLOTMESH_CLUSTER_NAME", value_parser = not_empty)]
    pub cluster_name: String,

    /// UID of the GossipCluster: audience of the token and part of every signature.
    #[arg(long, env = "SLOTMESH_CLUSTER_UID", value_parser = uid)]
    pub cluster_uid: Uid,

    /// Name of this pod (downward API: metadata.name).
    #[arg(long, env = "SLOTMESH_POD_NAME", value_parser = not_empty)]
    pub pod_name: String,

    /// UID of this pod (downward API: metadata.uid).
    #[arg(long, env = "SLOTMESH_POD_UID", value_parser = uid)]
    pub pod_uid: Uid,

    /// Address of this pod (downward API: status.podIP).
    #[arg(long, env = "SLOTMESH_POD_IP", value_parser = pod_ip)]
    pub pod_ip: IpAddr,

    /// Node that this pod runs on (downward API: spec.nodeName).
    #[arg(long, env = "SLOTMESH_NODE_NAME", value_parser = not_empty)]
    pub node_name: String,

    /// Folder of the trust ConfigMap: ca.crt, map-keys and join-address.
    #[arg(
        long,
        env = "SLOTMESH_TRUST_DIR",
        default_value = "/etc/slotmesh/trust"
    )]
    pub trust_dir: PathBuf,

    /// Projected ServiceAccount token whose audience is the cluster's UID.
    #[arg(
        long,
        env = "SLOTMESH_TOKEN_FILE",
        default_value = "/var/run/secrets/slotmesh/token"
    )]
    pub token_file: PathBuf,

    /// Folder that outlives a restart of the container (an emptyDir), for the last signed map: look-ups
    /// are then answered, marked as stale, before this agent has joined again. And for a secret by which
    /// a process that restarts tells its peers that the one before it is gone. Unset: nothing is kept.
    #[arg(long, env = "SLOTMESH_STATE_DIR")]
    pub state_dir: Option<PathBuf>,

    /// UDP port of the mesh.
    #[arg(long, env = "SLOTMESH_MESH_PORT", default_value_t = 7400, value_parser = port)]
    pub mesh_port: u16,

    /// TCP port of the local API.
    #[arg(long, env = "SLOTMESH_HTTP_PORT", default_value_t = 7402, value_parser = port)]
    pub http_port: u16,

    /// TCP port of /metrics.
    #[arg(long, env = "SLOTMESH_METRICS_PORT", default_value_t = 7403, value_parser = port)]
    pub metrics_port: u16,

    /// Form of the log.
    #[arg(long, env = "SLOTMESH_LOG_FORMAT", default_value = "text")]
    pub log_format: LogFormat,

    /// Least severe lines that are logged.
    #[arg(long, env = "SLOTMESH_LOG_LEVEL", default_value = "info")]
    pub log_level: LogLevel,
}

/// Form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One readable line each.
    Text,
    /// One JSON object each.
    Json,
}

/// Least severe lines that are logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// Only what failed.
    Error,
    /// And what may need a human.
    Warn,
    /// And one line a decision.
    Info,
    /// And what led to it.
    Debug,
    /// And each message.
    Trace,
}

impl LogLevel {
    /// As a filter of the logging library.
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
    /// Reads flags and environment. Asking for help is no error; anything wrong is one line.
    ///
    /// # Errors
    /// The text to show, and the exit code.
    pub fn from_arguments<I, T>(arguments: I) -> Result<Self, (String, u8)>
    where
        I: IntoIterator<Item = T>,
        T: Into<std::ffi::OsString> + Clone,
    {
        let config = Self::try_parse_from(arguments).map_err(|error| explain(&error))?;
        config.check().map_err(|problem| (line(&problem), WRONG))?;
        Ok(config)
    }

    /// What no value shows alone.
    fn check(&self) -> Result<(), String> {
        if self.http_port == self.metrics_port {
            return Err(format!(
                "--http-port (or SLOTMESH_HTTP_PORT) and --metrics-port (or SLOTMESH_METRICS_PORT) are both {}; give each its own",
                self.http_port
            ));
        }
        Ok(())
    }

    /// Where the mesh listens.
    #[must_use]
    pub fn mesh_address(&self) -> SocketAddr {
        SocketAddr::new(self.pod_ip, self.mesh_port)
    }
}

/// Exit code for wrong arguments.
pub(crate) const WRONG: u8 = 2;

/// What to show, and the exit code.
fn explain(error: &clap::Error) -> (String, u8) {
    let strings = |kind| match error.get(kind) {
        Some(ContextValue::String(one)) => vec![one.clone()],
        Some(ContextValue::Strings(many)) => many.clone(),
        _ => Vec::new(),
    };
    let arguments: Vec<String> = strings(ContextKind::InvalidArg)
        .iter()
        .map(|argument| with_environment(argument))
        .collect();
    let problem = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => return (error.to_string(), 0),
        ErrorKind::MissingRequiredArgument => format!("missing {}", arguments.join(", ")),
        ErrorKind::ValueValidation | ErrorKind::InvalidValue => {
            let value = strings(ContextKind::InvalidValue).join(" ");
            let expected = strings(ContextKind::ValidValue).join(", ");
            let why = match error.source() {
                Some(source) => source.to_string(),
                None if expected.is_empty() => "a value is expected".to_owned(),
                None => format!("one of {expected} is expected"),
            };
            format!("{}: '{value}': {why}", arguments.join(", "))
        }
        _ => first_paragraph(&error.to_string()),
    };
    (line(&problem), WRONG)
}

/// `--pod-ip <POD_IP>` and the variable that sets it too.
fn with_environment(argument: &str) -> String {
    let flag = argument.split_whitespace().next().unwrap_or(argument);
    let command = Config::command();
    let known = command.get_arguments().find(|known| {
        known
            .get_long()
            .is_some_and(|long| flag == format!("--{long}"))
    });
    match known.and_then(|known| known.get_env()) {
        Some(variable) => format!("{flag} (or {})", variable.to_string_lossy()),
        None => flag.to_owned(),
    }
}

fn line(problem: &str) -> String {
    let problem = on_one_line(problem);
    format!("slotmesh-agent: {problem}; see slotmesh-agent --help")
}

/// What was typed is repeated as it is, but for what would end the line or move the cursor.
fn on_one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            line.extend(character.escape_debug());
        } else {
            line.push(character);
        }
    }
    line
}

/// The first paragraph of clap's message on one line.
fn first_paragraph(message: &str) -> String {
    let lines = message.lines().map(str::trim);
    let lines: Vec<&str> = lines.take_while(|line| !line.is_empty()).collect();
    let text = lines.join(" ");
    text.strip_prefix("error: ").unwrap_or(&text).to_owned()
}

fn uid(text: &str) -> Result<Uid, String> {
    let uid: Uid = text
        .parse()
        .map_err(|error: slotmesh_mesh::identity::UidError| error.to_string())?;
    if uid == Uid::NIL {
        return Err("the nil UID belongs to nobody".into());
    }
    Ok(uid)
}

/// An address that others can dial.
fn pod_ip(text: &str) -> Result<IpAddr, String> {
    let ip: IpAddr = text
        .parse()
        .map_err(|_| "an IP address is expected, such as 10.0.3.17")?;
    if ip.is_unspecified() || ip.is_multicast() {
        return Err("the pod's own address is expected: peers dial it".into());
    }
    Ok(ip)
}

fn not_empty(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > 253 {
        return Err("a name of 1 to 253 characters is expected".into());
    }
    Ok(text.to_owned())
}

fn port(text: &str) -> Result<u16, String> {
    let port = text.parse().ok().filter(|port| *port != 0);
    port.ok_or_else(|| "a port from 1 to 65535 is expected".into())
}
