//! Bytes of Redis's bus: Redis does not count them, the kernel does, a socket.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;
use tokio::time::Instant;

use super::BUS_PORT;

/// Of IPv4 and TCP with time stamps, for each segment.
const HEADER_BYTES: f64 = 52.0;

/// All sockets of the bus at one moment.
#[derive(Clone, Debug)]
pub(super) struct Bus {
    at: Instant,
    sockets: BTreeMap<String, Sent>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Sent {
    bytes: f64,
    segments: f64,
}

impl Bus {
    /// Of the nodes whose addresses differ from this one in the last byte only.
    ///
    /// # Errors
    /// When `ss` of iproute2 cannot be run.
    pub(super) async fn now(node: Ipv4Addr) -> Result<Self> {
        let filter = format!("( sport = :{BUS_PORT} or dport = :{BUS_PORT} ) and src {node}/24");
        let output = Command::new("ss")
            .args(["-tinHO", &filter])
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .context("cannot run ss: it is part of iproute2")?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "ss: {complaint}");
        Ok(Self {
            at: Instant::now(),
            sockets: read(&String::from_utf8_lossy(&output.stdout)),
        })
    }

    /// What all of them sent since then, with headers. What a socket sent that has gone meanwhile is
    /// missing: there is none in a bus at rest.
    pub(super) fn kb_per_second_since(&self, before: &Self) -> f64 {
        let sent = self.sockets.iter().map(|(name, after)| {
            let before = before.sockets.get(name).copied().unwrap_or_default();
            after.bytes - before.bytes + (after.segments - before.segments) * HEADER_BYTES
        });
        sent.sum::<f64>() / (self.at - before.at).as_secs_f64() / 1000.0
    }
}

/// A line a socket: state, queues, both addresses, and what the kernel knows of it.
fn read(text: &str) -> BTreeMap<String, Sent> {
    let mut sockets = BTreeMap::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let value = |name: &str| {
            let found = fields.iter().find_map(|field| field.strip_prefix(name));
            found.and_then(|text| text.parse().ok()).unwrap_or(0.0)
        };
        let (Some(local), Some(remote)) = (fields.get(3), fields.get(4)) else {
            continue;
        };
        let sent = Sent {
            bytes: value("bytes_sent:"),
            segments: value("segs_out:"),
        };
        sockets.insert(format!("{local} {remote}"), sent);
    }
    sockets
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn bus(at: Instant, text: &str) -> Bus {
        Bus {
            at,
            sockets: read(text),
        }
    }

    #[test]
    fn every_segment_has_headers_and_a_new_socket_counts_from_its_beginning() {
        let now = Instant::now();
        let before = bus(
            now,
            "ESTAB 0 0 127.1.1.1:17000 127.1.1.2:999 cubic bytes_sent:1000 segs_out:10 segs_in:3\n",
        );
        let after = bus(
            now + Duration::from_secs(2),
            "ESTAB 0 0 127.1.1.1:17000 127.1.1.2:999 cubic bytes_sent:5000 segs_out:20 segs_in:9\n\
             ESTAB 0 0 127.1.1.1:998 127.1.1.2:17000 cubic bytes_sent:480 segs_out:10\n",
        );
        let expected = (4000.0 + 480.0 + 20.0 * 52.0) / 2.0 / 1000.0;
        assert!((after.kb_per_second_since(&before) - expected).abs() < 1e-9);
    }
}
