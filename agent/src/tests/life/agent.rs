//! An agent on a thread of its own.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;
use slotmesh_mesh::identity::Uid;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};

use super::operator::{Operator, Place};
use crate::Config;

const LOCAL: Ipv4Addr = Ipv4Addr::LOCALHOST;

pub(crate) struct Agent {
    pub(in crate::tests) name: String,
    pub(in crate::tests) uid: Uid,
    config: Config,
    shutdown: oneshot::Sender<()>,
    freezes: mpsc::UnboundedSender<std::sync::mpsc::Receiver<()>>,
    thread: JoinHandle<Result<(), String>>,
}

/// Dropping it wakes the agent.
pub(in crate::tests) struct Asleep(#[expect(dead_code)] std::sync::mpsc::Sender<()>);

impl Agent {
    pub(crate) fn start(operator: &Operator, n: u8) -> Self {
        Self::start_as(operator, n, None)
    }

    /// One that keeps its map there.
    pub(in crate::tests) fn start_with_state(operator: &Operator, n: u8, folder: &Path) -> Self {
        Self::start_as(operator, n, Some(folder.to_owned()))
    }

    fn start_as(operator: &Operator, n: u8, state_dir: Option<PathBuf>) -> Self {
        let (name, uid) = (format!("agent-{n}"), Uid::from_bytes([n; 16]));
        let config = Config {
            state_dir,
            ..config(operator, &name, uid)
        };
        operator.expect(
            uid,
            Place {
                name: name.clone(),
                mesh: config.mesh_address(),
                http: SocketAddr::from((LOCAL, config.http_port)),
            },
        );
        let (shutdown, ended) = oneshot::channel::<()>();
        let (freezes, mut freezing) = mpsc::unbounded_channel::<std::sync::mpsc::Receiver<()>>();
        let running = config.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                // Whoever blocks the only thread stops the whole agent, as SIGSTOP does.
                tokio::spawn(async move {
                    while let Some(until) = freezing.recv().await {
                        let _ = until.recv();
                    }
                });
                let shutdown = async {
                    let _ = ended.await;
                };
                crate::run(running, shutdown)
                    .await
                    .map_err(|error| error.to_string())
            })
        });
        Self {
            name,
            uid,
            config,
            shutdown,
            freezes,
            thread,
        }
    }

    pub(in crate::tests) fn freeze(&self) -> Asleep {
        let (wake, until) = std::sync::mpsc::channel();
        self.freezes.send(until).unwrap();
        Asleep(wake)
    }

    pub(in crate::tests) async fn shut_down(self) -> Result<(), String> {
        self.shutdown.send(()).unwrap();
        tokio::task::spawn_blocking(|| self.thread.join().unwrap())
            .await
            .unwrap()
    }

    pub(in crate::tests) async fn get(&self, path: &str) -> (u16, Value) {
        let (status, body) = get(self.config.http_port, path).await;
        (status, serde_json::from_str(&body).unwrap_or(Value::Null))
    }

    /// Each series with its value.
    pub(in crate::tests) async fn metrics(&self) -> BTreeMap<String, f64> {
        let (_, text) = get(self.config.metrics_port, "/metrics").await;
        text.lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.rsplit_once(' '))
            .map(|(series, value)| (series.to_owned(), value.parse().unwrap()))
            .collect()
    }
}

/// Status 0 when there is no answer.
async fn get(port: u16, path: &str) -> (u16, String) {
    let asking = async {
        let mut stream = TcpStream::connect((LOCAL, port)).await?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        std::io::Result::Ok(text)
    };
    // A frozen agent never answers.
    let Ok(Ok(text)) = tokio::time::timeout(Duration::from_secs(2), asking).await else {
        return (0, String::new());
    };
    let status = text.get(9..12).and_then(|status| status.parse().ok());
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (status.unwrap_or(0), body.to_owned())
}

pub(crate) fn config(operator: &Operator, name: &str, uid: Uid) -> Config {
    // Held together until all are known, so that they differ.
    let udp = UdpSocket::bind((LOCAL, 0)).unwrap();
    let tcp = [0, 0].map(|port| TcpListener::bind((LOCAL, port)).unwrap());
    let [http, metrics] = tcp.each_ref().map(|tcp| tcp.local_addr().unwrap().port());
    Config::from_arguments([
        "slotmesh-agent".to_owned(),
        "--cluster-name=sessions".to_owned(),
        format!("--cluster-uid={}", operator.cluster),
        format!("--pod-name={name}"),
        format!("--pod-uid={uid}"),
        format!("--pod-ip={LOCAL}"),
        format!("--node-name=node-of-{name}"),
        format!("--trust-dir={}", operator.folder.path().display()),
        format!("--token-file={}/token", operator.folder.path().display()),
        format!("--mesh-port={}", udp.local_addr().unwrap().port()),
        format!("--http-port={http}"),
        format!("--metrics-port={metrics}"),
    ])
    .unwrap()
}
