//! Redis Cluster's own bus beside as many agents: real servers, time from SIGSTOP of a node to FAIL on all
//! others, bytes a second and CPU.
//!
//! The bus forms from configuration files that name all nodes: what is measured is how it detects, not
//! how it meets. All nodes but the last few own slots; those few are the victims, because a node without
//! slots is cleared as soon as it answers again, one with slots only after twice the timeout. Whether the
//! victim has slots plays no part in how it is found failed.

mod bytes;
mod server;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures::future::try_join_all;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::crowd::{Crowd, Kind, Line, Said, address};
use super::trials::{self, Fault, Heal, Outcome, Plan};
use super::{agents, agents_case, plan, rest, shorten_if, with_run};
use crate::bench::figures::{mean, median, sorted};
use crate::bench::resources::Usage;
use crate::process::Program;
use crate::run_folder::RunFolder;
use bytes::Bus;
use server::Server;
use slotmesh_mesh::limits::HEARTBEAT_INTERVAL_MS_MIN;
use slotmesh_mesh::map::Protocol;
use slotmesh_report::Report;

/// Label of its rows.
const ROW: &str = "P1v";
const PORT: u16 = 7000;
/// Redis puts its bus there.
const BUS_PORT: u16 = PORT + 10_000;
const SIZES: [usize; 3] = [25, 50, 100];
/// Nodes without slots: the victims.
const VICTIMS: usize = 5;
const SLOTS: usize = 16_384;
/// `cluster-node-timeout` as Redis ships it.
const DEFAULT_TIMEOUT_MS: u32 = 15_000;
/// What is tried, fastest first.
const TIMEOUTS_MS: [u32; 6] = [200, 500, 1000, 2000, 3000, 5000];
/// A timeout is sane when nobody is called failed for that long.
const QUIET: Duration = Duration::from_secs(120);
/// How long traffic and CPU are watched where no timeout is sought.
const AT_REST: Duration = Duration::from_secs(30);
/// The shortest heartbeat that a GossipCluster may ask for.
const FASTEST_HEARTBEAT_MS: u32 = HEARTBEAT_INTERVAL_MS_MIN;
/// Time for a bus to form; one that needs longer calls its own nodes failed.
const FORM_DEADLINE: Duration = Duration::from_secs(60);
const TRIALS: u32 = 10;
/// At the default timeout one trial takes about 25 s.
const TRIALS_AT_DEFAULT: u32 = 5;
const ASK_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of an answer: a line of about 150 bytes a node.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// The kind.
#[derive(Debug)]
struct Redis {
    server: Server,
    folder: PathBuf,
    count: usize,
    timeout_ms: u32,
}

/// What a crowd costs at rest, a node.
#[derive(Clone, Copy, Debug)]
struct Cost {
    bytes_kb_per_second: f64,
    cpu_percent: f64,
}

pub(super) async fn measure(report: &mut Report, trials: Option<u32>) -> Result<()> {
    let server = server::find().await?;
    println!("  {}", server.version);
    for count in SIZES {
        let mut rows = Report::default();
        let default_ms = Protocol::default().heartbeat_interval_ms;
        let at = async |rows: &mut Report, heartbeat_ms| {
            let ours = ours(rows, count, heartbeat_ms, trials).await;
            ours.with_context(|| format!("{count} agents, a beat each {heartbeat_ms} ms"))
        };
        let ours = at(&mut rows, default_ms).await?;
        let default = at_default(&mut rows, &server, count, trials).await;
        let default = default.with_context(|| format!("{count} Redis nodes, default"))?;
        add_ratios(&mut rows, count, "default timeout", &ours, &default);
        let fastest = at_fastest(&mut rows, &server, count, trials).await;
        let fastest = fastest.with_context(|| format!("{count} Redis nodes, fastest"))?;
        add_ratios(&mut rows, count, "fastest sane timeout", &ours, &fastest);
        let ours = at(&mut rows, FASTEST_HEARTBEAT_MS).await?;
        let both = "fastest of both";
        add_ratios(&mut rows, count, both, &ours, &fastest);
        shorten_if(&mut rows, trials.unwrap_or(TRIALS), TRIALS_AT_DEFAULT);
        report.rows.extend(rows.rows);
    }
    Ok(())
}

/// Agents with such a heartbeat; whether anybody is called failed while nothing happens is a row of its own.
async fn ours(
    report: &mut Report,
    count: usize,
    heartbeat_ms: u32,
    trials: Option<u32>,
) -> Result<(f64, Cost)> {
    let trials = trials.unwrap_or(TRIALS);
    let plan = plan(Fault::Stop, Heal::Continue, count, trials);
    let (rested, quiet, outcome) = with_run(async |run| {
        let mut crowd = agents::start_beating(count, heartbeat_ms, run)?;
        let rested = rest::watch(&mut crowd, AT_REST).await?;
        crowd.listen()?;
        let quiet = is_quiet(&mut crowd, QUIET).await?;
        Ok((rested, quiet, trials::run(&mut crowd, &plan).await?))
    })
    .await?;
    let (mut sent, mut cpu) = (Vec::new(), Vec::new());
    for (before, after) in rested.before.iter().zip(&rested.after) {
        let (kb_per_second, percent) = after.rates_since(before)?;
        sent.push(kb_per_second);
        cpu.push(percent);
    }
    let cost = Cost {
        bytes_kb_per_second: mean(&sent),
        cpu_percent: mean(&cpu),
    };
    let beat = match heartbeat_ms {
        FASTEST_HEARTBEAT_MS => format!(" with a beat each {heartbeat_ms} ms"),
        _ => String::new(),
    };
    let case = agents_case(ROW, count, &beat, Fault::Stop);
    report.at_most(
        format!(
            "{case}: anybody called failed in {} quiet seconds",
            QUIET.as_secs()
        ),
        f64::from(u8::from(!quiet)),
        "",
        0.0,
    );
    Ok(add_rows(report, &case, "", &outcome, cost))
}

async fn at_default(
    report: &mut Report,
    server: &Server,
    count: usize,
    trials: Option<u32>,
) -> Result<(f64, Cost)> {
    let trials = trials.unwrap_or(TRIALS_AT_DEFAULT);
    let (cost, outcome) = with_run(async |run| {
        let mut crowd = start(server, count, DEFAULT_TIMEOUT_MS, run)?;
        crowd.settle(Duration::from_secs(10)).await?;
        let Some(cost) = quiet(&mut crowd, AT_REST).await? else {
            bail!(
                "healthy nodes are called failed at the default timeout: the machine is too busy"
            );
        };
        let plan = victims(count, trials);
        Ok((cost, trials::run(&mut crowd, &plan).await?))
    })
    .await?;
    let case = format!("{ROW} Redis's bus of {count}, default timeout");
    let note = format!("{}, cluster-node-timeout 15000", server.version);
    Ok(add_rows(report, &case, &note, &outcome, cost))
}

/// The lowest timeout at which nobody is called failed while nothing happens, and trials at it.
async fn at_fastest(
    report: &mut Report,
    server: &Server,
    count: usize,
    trials: Option<u32>,
) -> Result<(f64, Cost)> {
    let trials = trials.unwrap_or(TRIALS);
    for timeout_ms in TIMEOUTS_MS {
        let tried = with_run(async |run| at_timeout(server, count, timeout_ms, trials, run).await);
        let Some((cost, outcome)) = tried.await? else {
            continue;
        };
        let case = format!("{ROW} Redis's bus of {count}, fastest sane timeout");
        report.plain(&case, f64::from(timeout_ms), "ms");
        report.note(format!(
            "of {TIMEOUTS_MS:?} the lowest without a false FAIL in {} quiet seconds",
            QUIET.as_secs()
        ));
        let note = format!("{}, cluster-node-timeout {timeout_ms}", server.version);
        return Ok(add_rows(report, &case, &note, &outcome, cost));
    }
    bail!("no timeout of {TIMEOUTS_MS:?} ms is sane with {count} nodes here");
}

/// Cost and trials at a timeout; nothing when it is not sane.
async fn at_timeout(
    server: &Server,
    count: usize,
    timeout_ms: u32,
    trials: u32,
    run: &RunFolder,
) -> Result<Option<(Cost, Outcome)>> {
    let mut crowd = start(server, count, timeout_ms, run)?;
    let formed = crowd.settle(Duration::from_secs(10));
    if tokio::time::timeout(FORM_DEADLINE, formed).await.is_err() {
        println!("  Redis's bus of {count} does not come to rest at {timeout_ms} ms");
        return Ok(None);
    }
    let Some(cost) = quiet(&mut crowd, QUIET).await? else {
        println!("  Redis's bus of {count}: false FAIL at {timeout_ms} ms");
        return Ok(None);
    };
    println!("  Redis's bus of {count}: {timeout_ms} ms is sane");
    let outcome = trials::run(&mut crowd, &victims(count, trials)).await?;
    Ok(Some((cost, outcome)))
}

fn victims(count: usize, trials: u32) -> Plan {
    Plan {
        victims: count - VICTIMS..count,
        ..plan(Fault::Stop, Heal::Continue, count, trials)
    }
}

fn add_rows(
    report: &mut Report,
    case: &str,
    note: &str,
    outcome: &Outcome,
    cost: Cost,
) -> (f64, Cost) {
    outcome.add_to(report, case, None, note);
    report.plain(
        format!("{case}: bytes out a node"),
        cost.bytes_kb_per_second,
        "KB/s",
    );
    report.note("mean, with headers of IPv4 and UDP or TCP");
    report.plain(format!("{case}: CPU a node"), cost.cpu_percent, "% core");
    report.note("mean");
    (median(&sorted(outcome.last.clone())), cost)
}

/// Ours has to be faster; the other ratios are told without an aim.
fn add_ratios(
    report: &mut Report,
    count: usize,
    which: &str,
    ours: &(f64, Cost),
    theirs: &(f64, Cost),
) {
    let case = format!("{ROW} n = {count}, {which}: Redis's / ours");
    let ((our_time, our_cost), (their_time, their_cost)) = (ours, theirs);
    report.at_least(
        format!("{case}, median time"),
        their_time / our_time,
        "",
        1.0,
    );
    let bytes = their_cost.bytes_kb_per_second / our_cost.bytes_kb_per_second;
    report.plain(format!("{case}, bytes a second"), bytes, "");
    let cpu = their_cost.cpu_percent / our_cost.cpu_percent;
    report.plain(format!("{case}, CPU"), cpu, "");
}

fn start(server: &Server, count: usize, timeout_ms: u32, run: &RunFolder) -> Result<Crowd<Redis>> {
    let folder = run.path().join("redis");
    for own in 0..count {
        let folder = folder.join(own.to_string());
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("nodes.conf"), nodes(own, count))?;
    }
    let kind = Redis {
        server: server.clone(),
        folder,
        count,
        timeout_ms,
    };
    Crowd::start(kind, count, run)
}

/// What a node keeps of all others, as if they had met long ago.
fn nodes(own: usize, count: usize) -> String {
    let owners = count.saturating_sub(VICTIMS).max(1);
    let mut text = String::new();
    for index in 0..count {
        let flags = if index == own {
            "myself,master"
        } else {
            "master"
        };
        let slots = match index < owners {
            true => format!(
                " {}-{}",
                index * SLOTS / owners,
                (index + 1) * SLOTS / owners - 1
            ),
            false => String::new(),
        };
        let (id, address) = (id(index), address::<Redis>(index));
        let epoch = index + 1;
        text +=
            &format!("{id} {address}:{PORT}@{BUS_PORT} {flags} - 0 0 {epoch} connected{slots}\n");
    }
    text + &format!("vars currentEpoch {count} lastVoteEpoch 0\n")
}

/// A node's name: 40 hexadecimal digits that hold its index.
fn id(index: usize) -> String {
    format!("5e{index:038x}")
}

fn index_of(id: &str) -> Option<usize> {
    usize::from_str_radix(id.strip_prefix("5e")?, 16).ok()
}

/// Watches a bus at rest; nothing if somebody is called failed meanwhile.
async fn quiet(crowd: &mut Crowd<Redis>, length: Duration) -> Result<Option<Cost>> {
    crowd.listen()?;
    let usages = |crowd: &Crowd<Redis>| -> Result<Vec<Usage>> {
        crowd.pids().into_iter().map(Usage::of).collect()
    };
    let (before, bus) = (usages(crowd)?, Bus::now(address::<Redis>(0)).await?);
    if !is_quiet(crowd, length).await? {
        return Ok(None);
    }
    let (after, later) = (usages(crowd)?, Bus::now(address::<Redis>(0)).await?);
    let cpu = before
        .iter()
        .zip(&after)
        .map(|(before, after)| after.cpu_percent_since(before));
    let cpu: Vec<f64> = cpu.collect::<Result<_>>()?;
    let nodes = u32::try_from(crowd.len())?;
    Ok(Some(Cost {
        bytes_kb_per_second: later.kb_per_second_since(&bus) / f64::from(nodes),
        cpu_percent: mean(&cpu),
    }))
}

/// Whether nobody says for that long that somebody failed.
async fn is_quiet<K: Kind>(crowd: &mut Crowd<K>, length: Duration) -> Result<bool> {
    let until = tokio::time::Instant::now() + length;
    while tokio::time::Instant::now() < until {
        let heard = crowd.look().await?;
        let failed = |line: &Line| matches!(line.said, Said::Failed(_));
        if heard.iter().any(|(_, line)| failed(line)) {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Redis {
    /// Whether a node holds all others for connected and alive.
    async fn sees_all(&self, index: usize) -> Result<bool> {
        let text = ask(address::<Self>(index), "CLUSTER NODES").await?;
        let lines = text.lines().filter(|line| !line.is_empty());
        let well = lines.filter(|line| {
            let mut fields = line.split(' ');
            let healthy = fields.nth(2).is_some_and(|flags| !flags.contains("fail"));
            healthy && fields.nth(4) == Some("connected")
        });
        Ok(well.count() == self.count)
    }
}

/// One inline command; the text that comes back.
async fn ask(node: Ipv4Addr, command: &str) -> Result<String> {
    let asked = async {
        let mut stream = TcpStream::connect(SocketAddr::from((node, PORT))).await?;
        stream
            .write_all(format!("{command}\r\n").as_bytes())
            .await?;
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n") {
            ensure!(head.len() < 64, "a strange answer to {command}");
            stream.read_exact(&mut byte).await?;
            head.extend(byte);
        }
        let head = String::from_utf8_lossy(&head).trim_end().to_owned();
        let length = head.strip_prefix('$').and_then(|text| text.parse().ok());
        let length: u64 = length.with_context(|| format!("{command}: {head}"))?;
        ensure!(length <= ANSWER_BYTES_MAX, "{command}: {length} bytes");
        let mut body = Vec::new();
        stream.take(length).read_to_end(&mut body).await?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    };
    let answer = tokio::time::timeout(ASK_TIMEOUT, asked).await;
    answer.with_context(|| format!("Redis at {node} does not answer"))?
}

impl Kind for Redis {
    const STARTS_ALONE: bool = false;
    const NAME: &'static str = "redis";
    const NETWORK: u8 = 233;

    fn program(&self, index: usize) -> Program {
        let address = address::<Self>(index).to_string();
        let folder = self.folder.join(index.to_string()).display().to_string();
        let arguments = [
            ("port", PORT.to_string()),
            ("bind", address.clone()),
            ("bind-source-addr", address.clone()),
            ("cluster-announce-ip", address),
            ("dir", folder),
            ("cluster-enabled", "yes".to_owned()),
            ("cluster-config-file", "nodes.conf".to_owned()),
            ("cluster-node-timeout", self.timeout_ms.to_string()),
            ("cluster-require-full-coverage", "no".to_owned()),
            ("protected-mode", "no".to_owned()),
            ("save", String::new()),
        ];
        let arguments = arguments.into_iter();
        let mut environment = vec![("TZ".to_owned(), "UTC".to_owned())];
        let libraries = self.server.libraries.iter();
        environment.extend(
            libraries.map(|path| ("LD_LIBRARY_PATH".to_owned(), path.display().to_string())),
        );
        Program {
            name: format!("redis-{index:03}"),
            binary: self.server.binary.clone(),
            arguments: arguments
                .flat_map(|(name, value)| [format!("--{name}").into(), value.into()])
                .collect(),
            environment,
            namespace: None,
        }
    }

    fn read(&self, line: &str) -> Option<Line> {
        read(line)
    }

    async fn is_settled(&self) -> Result<bool> {
        let seen = try_join_all((0..self.count).map(|index| self.sees_all(index))).await?;
        Ok(seen.into_iter().all(|all| all))
    }
}

/// `PID:M 25 Nov 2026 04:00:00.123 * Marking node ID as failing (quorum reached).`, or that another has.
fn read(line: &str) -> Option<Line> {
    let (_, rest) = line.split_once(":M ")?;
    let (time, said) = rest.split_once(" * ")?;
    let id = match said.strip_prefix("Marking node ") {
        Some(rest) => rest.split(' ').next()?,
        None => said
            .strip_prefix("FAIL message received from ")?
            .split(" about ")
            .nth(1)?,
    };
    let id = id.get(..40)?;
    let time = DateTime::strptime("%d %b %Y %H:%M:%S%.f", time).ok()?;
    let time = time.to_zoned(TimeZone::UTC).ok()?.timestamp();
    Some(Line {
        at: time.as_duration().as_secs_f64(),
        said: Said::Failed(vec![index_of(id)?]),
    })
}

#[cfg(test)]
mod tests;
