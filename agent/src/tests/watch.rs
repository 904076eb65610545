//! Watching the map over real sockets: newer maps, staleness, limits, and readers that do not read.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use slotmesh_mesh::identity::{Keypair, Uid};
use slotmesh_mesh::map::Map;
use slotmesh_mesh::signed::SignedMap;
use slotmesh_mesh::slot::SlotSet;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};

use super::fixture::{at_epoch, map, map_key, published, snapshot};
use crate::http::{self, Limits, Pace};
use crate::metrics::Metrics;
use crate::snapshot::{Shared, Snapshot, Standing};

const DEADLINE: Duration = Duration::from_secs(30);

struct Server {
    shared: Shared,
    metrics: Metrics,
    address: SocketAddr,
}

/// A server whose waits are so long that only what happens wakes anybody.
fn patient() -> Limits {
    Limits {
        pace: Pace {
            bookmark: DEADLINE * 10,
            line: DEADLINE * 10,
        },
        ..Limits::default()
    }
}

impl Server {
    async fn start(limits: Limits) -> Self {
        let (shared, metrics) = (published(snapshot()), Metrics::new().unwrap());
        let api = http::api(shared.clone(), metrics.clone(), limits);
        let any = "127.0.0.1:0".parse().unwrap();
        let address = http::serve(any, api, limits).await.unwrap();
        Self {
            shared,
            metrics,
            address,
        }
    }

    fn publish(&self, snapshot: Snapshot) {
        self.shared.store(Arc::new(snapshot));
    }

    async fn watch(&self, query: &str) -> Lines {
        let stream = TcpStream::connect(self.address).await.unwrap();
        Lines::ask(stream, &format!("/v1/map?watch=true{query}")).await
    }

    fn ended(&self, cause: &str) -> u64 {
        let name = format!("slotmesh_agent_map_watches_ended_total{{cause=\"{cause}\"}} ");
        self.metric(&name)
    }

    fn metric(&self, name: &str) -> u64 {
        let text = String::from_utf8(self.metrics.render().unwrap()).unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(name));
        value.unwrap().trim().parse().unwrap()
    }

    async fn until_ended(&self, cause: &str) {
        super::life::until(&format!("a watch that ended: {cause}"), async || {
            self.ended(cause) == 1
        })
        .await;
        assert_eq!(self.metric("slotmesh_agent_map_watchers "), 0);
    }
}

/// What one client reads.
struct Lines {
    stream: BufReader<TcpStream>,
    status: u16,
}

impl Lines {
    async fn ask(mut stream: TcpStream, path: &str) -> Self {
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut lines = Self {
            stream: BufReader::new(stream),
            status: 0,
        };
        let status = lines.text().await.unwrap();
        lines.status = status.split(" ").nth(1).unwrap().parse().unwrap();
        while !lines.text().await.unwrap().is_empty() {}
        lines
    }

    /// A line of HTTP; none at the end of the connection.
    async fn text(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = tokio::time::timeout(DEADLINE, self.stream.read_line(&mut line));
        match read.await.expect("a line comes") {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(line.trim_end().to_owned()),
        }
    }

    /// The next line of the watch; none after the last.
    async fn next(&mut self) -> Option<Value> {
        let length = self.text().await?;
        let length = usize::from_str_radix(&length, 16).unwrap();
        let mut chunk = vec![0; length + 2];
        self.stream.read_exact(&mut chunk).await.ok()?;
        if length == 0 {
            return None;
        }
        assert_eq!(chunk.iter().filter(|byte| **byte == b'\n').count(), 2);
        Some(serde_json::from_slice(&chunk).unwrap())
    }

    /// Kind and epoch of the next line.
    async fn expect(&mut self) -> (String, u64) {
        let line = self.next().await.expect("a line");
        let kind = line["type"].as_str().unwrap().to_owned();
        (kind, line["object"]["epoch"].as_u64().unwrap_or(0))
    }
}

fn line(kind: &str, epoch: u64) -> (String, u64) {
    (kind.to_owned(), epoch)
}

/// A map of many members: larger than what fits between the two ends of a connection.
fn large(epoch: u64) -> Snapshot {
    let mut one = map(epoch);
    let member = one.members[0].clone();
    one.members = (0..1000_u16)
        .map(|n| {
            let mut bytes = [1; 16];
            bytes[..2].copy_from_slice(&n.to_be_bytes());
            let mut member = member.clone();
            member.name = format!("member-{n:04}-{}", "x".repeat(200));
            member.uid = Uid::from_bytes(bytes);
            member.key = key_of(n);
            member.node = "y".repeat(250);
            member.owners[0].uid = member.uid;
            member.owners[0].slots = SlotSet::empty();
            member
        })
        .collect();
    sign(one)
}

fn key_of(n: u16) -> slotmesh_mesh::identity::PublicKey {
    let mut seed = [7; 32];
    seed[..2].copy_from_slice(&n.to_be_bytes());
    Keypair::from_seed(seed).public()
}

fn sign(map: Map) -> Snapshot {
    let signed = SignedMap::sign(map, &map_key()).unwrap();
    Snapshot {
        map: signed.map().clone(),
        signed,
        ..snapshot()
    }
}

#[tokio::test]
async fn a_watch_tells_each_newer_map_and_first_the_one_at_hand() {
    let server = Server::start(patient()).await;
    let mut from_the_first = server.watch("").await;
    let mut from_the_last = server.watch("&epoch=7").await;
    assert_eq!(from_the_first.status, 200);
    let first = from_the_first.next().await.unwrap();
    assert_eq!(first["type"], "MODIFIED");
    assert_eq!(first["object"]["owners"][0]["slots"], "0-7999");
    assert_eq!(from_the_last.expect().await, line("BOOKMARK", 7));
    assert_eq!(server.metric("slotmesh_agent_map_watchers "), 2);
    for epoch in [8, 12] {
        server.publish(at_epoch(epoch));
        assert_eq!(from_the_first.expect().await, line("MODIFIED", epoch));
        assert_eq!(from_the_last.expect().await, line("MODIFIED", epoch));
    }
    // An era wins over every epoch.
    let restored = Map { era: 1, ..map(7) };
    server.publish(sign(restored));
    assert_eq!(from_the_first.expect().await, line("MODIFIED", 7));
}

#[tokio::test]
async fn a_watch_of_an_epoch_to_come_waits_for_the_one_after_it() {
    let server = Server::start(patient()).await;
    let mut ahead = server.watch("&epoch=9").await;
    assert_eq!(ahead.expect().await, line("BOOKMARK", 7));
    server.publish(at_epoch(9));
    server.publish(at_epoch(10));
    assert_eq!(ahead.expect().await, line("MODIFIED", 10));
}

#[tokio::test]
async fn a_watch_is_told_when_answers_may_be_outdated_and_when_not_any_more() {
    let server = Server::start(patient()).await;
    let mut watch = server.watch("&epoch=7").await;
    assert_eq!(watch.next().await.unwrap()["object"]["stale"], false);
    for (standing, stale) in [(Standing::Former, true), (Standing::Member, false)] {
        server.publish(snapshot().with_standing(standing));
        let told = watch.next().await.unwrap();
        assert_eq!(
            (&told["type"], &told["object"]["stale"]),
            (&"BOOKMARK".into(), &stale.into())
        );
        assert_eq!(told["object"]["staleSeconds"].is_u64(), stale);
    }
}

#[tokio::test]
async fn a_silent_watch_shows_that_it_lives() {
    let mut limits = patient();
    limits.pace.bookmark = Duration::from_millis(20);
    let server = Server::start(limits).await;
    let mut watch = server.watch("&epoch=7").await;
    for _ in 0..3 {
        assert_eq!(watch.expect().await, line("BOOKMARK", 7));
    }
}

#[tokio::test]
async fn a_watch_ends_when_its_time_is_over_and_its_connection_goes_on() {
    let server = Server::start(patient()).await;
    let mut watch = server.watch("&timeoutSeconds=0").await;
    assert_eq!(watch.expect().await, line("MODIFIED", 7));
    assert_eq!(watch.next().await, None);
    server.until_ended("in_time").await;
    let again = Lines::ask(watch.stream.into_inner(), "/v1/slots/7").await;
    assert_eq!(again.status, 200);
}

#[tokio::test]
async fn whoever_waits_gets_the_newer_map_or_the_one_at_hand() {
    let server = Server::start(patient()).await;
    let waiting = async {
        let stream = TcpStream::connect(server.address).await.unwrap();
        let mut answer = Lines::ask(stream, "/v1/map?epoch=7&timeoutSeconds=3600").await;
        answer.text().await.unwrap()
    };
    let publishing = async {
        super::life::until("a client that waits", async || {
            server.metric("slotmesh_agent_map_watchers ") == 1
        })
        .await;
        // A stale map is no newer one.
        server.publish(snapshot().with_standing(Standing::Alone));
        server.publish(at_epoch(8));
    };
    let (body, ()) = tokio::join!(waiting, publishing);
    assert!(body.contains("\"epoch\":8"), "{body}");
    assert_eq!(server.ended("in_time"), 1);
    let stream = TcpStream::connect(server.address).await.unwrap();
    let mut answer = Lines::ask(stream, "/v1/map?epoch=8&timeoutSeconds=1").await;
    assert!(answer.text().await.unwrap().contains("\"epoch\":8"));
}

#[tokio::test]
async fn more_watchers_than_allowed_are_refused_until_one_goes() {
    let server = Server::start(Limits {
        watchers: 1,
        ..patient()
    })
    .await;
    let mut first = server.watch("").await;
    assert_eq!(first.expect().await, line("MODIFIED", 7));
    let mut second = server.watch("").await;
    assert_eq!(second.status, 503);
    let refusal: Value = serde_json::from_str(&second.text().await.unwrap()).unwrap();
    assert_eq!(refusal["error"], "TooManyWatchers");
    assert_eq!(
        server.metric("slotmesh_agent_map_watches_refused_total "),
        1
    );
    // Others are answered all the same.
    let stream = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(Lines::ask(stream, "/v1/map").await.status, 200);
    drop(first);
    server.until_ended("by_client").await;
    assert_eq!(server.watch("").await.status, 200);
}

#[tokio::test]
async fn a_watch_outlives_the_age_of_connections_and_is_their_last_answer() {
    let server = Server::start(Limits {
        connection_age: Duration::from_millis(20),
        last_answer: Duration::from_millis(20),
        pace: Pace {
            bookmark: Duration::from_millis(100),
            ..patient().pace
        },
        ..patient()
    })
    .await;
    let mut watch = server.watch("&epoch=7").await;
    // Five times the age and the time for a last answer together.
    for _ in 0..3 {
        assert_eq!(watch.expect().await, line("BOOKMARK", 7));
    }
    server.publish(at_epoch(8));
    while watch.expect().await != line("MODIFIED", 8) {}
    server.shared.close();
    while watch.next().await.is_some() {}
    assert_eq!(watch.text().await, None, "the connection ends with it");
}

#[tokio::test]
async fn an_agent_that_ends_says_so_as_the_last_line() {
    let server = Server::start(patient()).await;
    let mut watch = server.watch("").await;
    assert_eq!(watch.expect().await, line("MODIFIED", 7));
    server.shared.close();
    let last = watch.next().await.unwrap();
    assert_eq!(last["type"], "ERROR");
    assert_eq!(last["object"]["error"], "ShuttingDown");
    assert_eq!(watch.next().await, None);
    server.until_ended("shutting_down").await;
    assert_eq!(server.watch("").await.status, 503);
}

/// A client whose kernel takes little for it.
async fn narrow(server: &Server) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(server.address).await.unwrap()
}

#[tokio::test]
async fn a_client_that_does_not_read_is_dropped_and_costs_nobody_else() {
    let server = Server::start(Limits {
        write_stall: Duration::from_secs(2),
        ..patient()
    })
    .await;
    server.publish(large(8));
    let mut stream = narrow(&server).await;
    let request = b"GET /v1/map?watch=true HTTP/1.1\r\nhost: x\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut other = server.watch("").await;
    assert_eq!(other.expect().await, line("MODIFIED", 8));
    super::life::until("the idler is dropped", async || {
        server.ended("stalled") == 1
    })
    .await;
    server.publish(at_epoch(9));
    assert_eq!(other.expect().await, line("MODIFIED", 9));
    // What it finds when it reads at last is no whole answer.
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert!(!rest.ends_with(b"0\r\n\r\n"));
}

#[tokio::test]
async fn a_client_that_reads_too_slowly_is_told_why_it_is_dropped() {
    let mut limits = patient();
    limits.pace.line = Duration::from_millis(100);
    let server = Server::start(limits).await;
    server.publish(large(8));
    let mut stream = narrow(&server).await;
    let request = b"GET /v1/map?watch=true HTTP/1.1\r\nhost: x\r\n\r\n";
    stream.write_all(request).await.unwrap();
    // A byte at a time until the line is too late for sure, then the rest.
    let begun = tokio::time::Instant::now();
    let mut text = vec![0; 1];
    while begun.elapsed() < Duration::from_millis(400) {
        text.push(0);
        let end = text.len() - 1;
        stream.read_exact(&mut text[end..]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let told = async {
        while !String::from_utf8_lossy(&text).contains("SlowReader") {
            assert!(stream.read_buf(&mut text).await.unwrap() > 0, "cut off");
        }
    };
    let told = tokio::time::timeout(DEADLINE, told).await;
    told.expect("the last line says why");
    server.until_ended("slow_reader").await;
}

#[tokio::test]
async fn a_slow_reader_misses_epochs_but_never_the_newest() {
    let server = Server::start(patient()).await;
    server.publish(large(8));
    let mut slow = Lines::ask(narrow(&server).await, "/v1/map?watch=true").await;
    for epoch in 9..40 {
        server.publish(large(epoch));
    }
    let mut lines = 0;
    loop {
        let (kind, epoch) = slow.expect().await;
        assert_eq!(kind, "MODIFIED");
        lines += 1;
        if epoch == 39 {
            break;
        }
    }
    assert!(lines <= 4, "{lines} lines waited for a slow reader");
}
