//! `kubectl logs`: the part of a kubelet's API that the API server asks for them. Nobody but the API
//! server is answered.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use http_body_util::StreamBody;
use hyper::body::{Frame, Incoming};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::Host;
use crate::certificates::Certificates;
use crate::network::Namespace;

/// A kubelet's port.
pub(super) const PORT: u16 = 10_250;
/// Pause between two looks at a log that is followed.
const LOOK: Duration = Duration::from_millis(100);
const CHUNK: u64 = 64 * 1024;
/// What is not known here is refused, not ignored.
const REFUSED: [&str; 4] = ["sinceSeconds", "sinceTime", "timestamps", "limitBytes"];

/// Which part of its file each run of a container wrote.
#[derive(Debug, Default)]
pub(crate) struct LogBook(Mutex<BTreeMap<Key, Log>>);

/// Namespace, pod, container.
type Key = (String, String, String);

#[derive(Clone, Debug)]
struct Log {
    path: PathBuf,
    starts: Vec<u64>,
    runs: bool,
}

impl LogBook {
    /// A container starts to write to a file.
    pub(super) fn begin(&self, key: Key, path: &Path) {
        let length = std::fs::metadata(path).map_or(0, |found| found.len());
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let log = book.entry(key).or_insert_with(|| Log {
            path: path.to_owned(),
            starts: Vec::new(),
            runs: true,
        });
        log.starts.push(length);
        log.runs = true;
    }

    /// It has ended.
    pub(super) fn end(&self, key: &Key) {
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(log) = book.get_mut(key) {
            log.runs = false;
        }
    }

    /// A pod is gone.
    pub(super) fn forget(&self, pod: &(String, String)) {
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        book.retain(|(namespace, name, _), _| (namespace, name) != (&pod.0, &pod.1));
    }

    fn get(&self, key: &Key) -> Option<Log> {
        let book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        book.get(key).cloned()
    }
}

/// What it takes to serve on a node.
pub(crate) struct Server {
    tls: TlsAcceptor,
    api_server: CertificateDer<'static>,
    address: SocketAddr,
}

impl Server {
    pub(super) fn new(
        certificates: &Certificates,
        node: &str,
        address: std::net::IpAddr,
    ) -> Result<Self> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(certificates.ca())?)?;
        let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
            Arc::new(roots),
            provider.clone(),
        )
        .build()?;
        let pair = certificates.kubelet_server(node, address)?;
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(verifier)
            .with_single_cert(
                vec![CertificateDer::from_pem_file(&pair.certificate)?],
                PrivateKeyDer::from_pem_file(&pair.key)?,
            )?;
        let api_server = certificates.kubelet_client();
        Ok(Self {
            tls: TlsAcceptor::from(Arc::new(config)),
            api_server: CertificateDer::from_pem_file(api_server)
                .context("the API server has no certificate for kubelets")?,
            address: SocketAddr::new(address, PORT),
        })
    }

    pub(super) async fn listen(&self, namespace: Option<&Namespace>) -> Result<TcpListener> {
        let listener = match namespace {
            Some(namespace) => namespace.listen(self.address),
            None => TcpListener::bind(self.address).await.map_err(Into::into),
        };
        listener.with_context(|| {
            format!(
                "cannot listen on {}: does another run use it? `slotmesh-e2e clean` ends crashed ones",
                self.address
            )
        })
    }

    /// Serves until dropped.
    pub(super) async fn serve(&self, host: Arc<Host>, listener: TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(LOOK).await;
                continue;
            };
            let (tls, api_server) = (self.tls.clone(), self.api_server.clone());
            let host = host.clone();
            connections.spawn(async move {
                let node = host.node.clone();
                if let Err(error) = connection(host, stream, tls, api_server).await {
                    tracing::debug!(node, error = format!("{error:#}"), "logs");
                }
            });
        }
    }
}

async fn connection(
    host: Arc<Host>,
    stream: TcpStream,
    tls: TlsAcceptor,
    api_server: CertificateDer<'static>,
) -> Result<()> {
    let stream = tls.accept(stream).await?;
    let shown = stream.get_ref().1.peer_certificates();
    // Every component has a certificate of the same CA: one alone may ask.
    let allowed = shown.and_then(|chain| chain.first()) == Some(&api_server);
    let service = hyper::service::service_fn(move |request| {
        let host = host.clone();
        async move { Ok::<_, Infallible>(respond(host, &request, allowed)) }
    });
    Ok(hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await?)
}

type Body = StreamBody<BoxStream<'static, std::io::Result<Frame<Bytes>>>>;

fn respond(host: Arc<Host>, request: &Request<Incoming>, allowed: bool) -> Response<Body> {
    if !allowed {
        return plain(403, "only the API server is answered here\n".into());
    }
    let found = Question::parse(request.method(), request.uri())
        .and_then(|question| Ok((question.piece(&host)?, question)));
    match found {
        Ok((piece, question)) => {
            let stream = piece.stream(question.follow.then_some((host, question.key)));
            Response::new(StreamBody::new(stream))
        }
        Err(error) => plain(400, format!("{error:#}\n")),
    }
}

fn plain(status: u16, text: String) -> Response<Body> {
    let frame = futures::stream::iter([Ok(Frame::data(Bytes::from(text)))]);
    let mut response = Response::new(StreamBody::new(frame.boxed()));
    *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or_default();
    response
}

/// What is asked for.
#[derive(Debug)]
struct Question {
    key: Key,
    follow: bool,
    previous: bool,
    tail: Option<usize>,
}

impl Question {
    fn parse(method: &Method, uri: &hyper::Uri) -> Result<Self> {
        let mut parts = uri.path().trim_start_matches('/').split('/');
        let (Some("containerLogs"), Some(namespace), Some(pod), Some(container), None) = (
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
        ) else {
            bail!("process nodes know /containerLogs/NAMESPACE/POD/CONTAINER only");
        };
        if method != Method::GET {
            bail!("logs are only read");
        }
        let query: BTreeMap<&str, &str> = uri
            .query()
            .unwrap_or_default()
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .collect();
        if let Some(name) = REFUSED.iter().find(|name| query.contains_key(*name)) {
            bail!("process nodes do not know {name}: leave it out");
        }
        let is = |name: &str| query.get(name).is_some_and(|value| *value == "true");
        let tail = query.get("tailLines").map(|number| number.parse());
        Ok(Self {
            key: (namespace.into(), pod.into(), container.into()),
            follow: is("follow"),
            previous: is("previous"),
            tail: tail.transpose().context("tailLines is no number")?,
        })
    }

    fn piece(&self, host: &Host) -> Result<Piece> {
        let (namespace, pod, container) = &self.key;
        let log = host.logs.get(&self.key).with_context(|| {
            format!("container {container} of {namespace}/{pod} has not run on this node")
        })?;
        let mut starts = log.starts.iter().rev().copied();
        let current = starts.next().context("it has not run")?;
        let (start, end) = if self.previous {
            let before = starts.next().with_context(|| {
                format!("previous terminated container {container} in pod {pod} not found")
            })?;
            (before, Some(current))
        } else {
            (current, None)
        };
        let mut piece = Piece {
            path: log.path,
            start,
            end,
        };
        if let Some(lines) = self.tail {
            piece.keep_last(lines)?;
        }
        Ok(piece)
    }
}

/// A part of a file; without an end it goes as far as the file does.
#[derive(Debug)]
struct Piece {
    path: PathBuf,
    start: u64,
    end: Option<u64>,
}

impl Piece {
    fn read(&self, most: u64) -> std::io::Result<Vec<u8>> {
        let mut file = std::fs::File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.start))?;
        let rest = self.end.map_or(most, |end| end.saturating_sub(self.start));
        let mut content = Vec::new();
        file.take(rest.min(most)).read_to_end(&mut content)?;
        Ok(content)
    }

    fn keep_last(&mut self, lines: usize) -> Result<()> {
        let content = self.read(u64::MAX)?;
        // The end of the last line is not the start of another.
        let body = content.strip_suffix(b"\n").unwrap_or(&content);
        let mut ends = (0..body.len())
            .rev()
            .filter(|at| body.get(*at) == Some(&b'\n'));
        let skipped = match lines {
            0 => content.len(),
            _ => ends.nth(lines - 1).map_or(0, |at| at + 1),
        };
        self.start += u64::try_from(skipped)?;
        Ok(())
    }

    /// Its content, and with `follow` what comes later, until the container ends.
    fn stream(
        self,
        follow: Option<(Arc<Host>, Key)>,
    ) -> BoxStream<'static, std::io::Result<Frame<Bytes>>> {
        futures::stream::try_unfold((self, follow), async |(mut piece, follow)| {
            loop {
                // Asked before it is read: what was written until the end is still to be had.
                let goes_on = follow
                    .as_ref()
                    .is_some_and(|(host, key)| host.logs.get(key).is_some_and(|log| log.runs));
                let content = piece.read(CHUNK)?;
                if !content.is_empty() {
                    piece.start += content.len() as u64;
                    return Ok(Some((Frame::data(Bytes::from(content)), (piece, follow))));
                }
                if !goes_on {
                    return Ok(None);
                }
                tokio::time::sleep(LOOK).await;
            }
        })
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn piece(content: &str, lines: usize) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        let mut piece = Piece {
            path: file.path().to_owned(),
            start: 2,
            end: None,
        };
        piece.keep_last(lines).unwrap();
        String::from_utf8(piece.read(u64::MAX).unwrap()).unwrap()
    }

    #[test]
    fn the_last_lines_are_whole_and_as_many_as_asked_for() {
        assert_eq!(piece("x\none\ntwo\nthree\n", 2), "two\nthree\n");
        assert_eq!(piece("x\none\ntwo\nthree", 1), "three");
        assert_eq!(piece("x\none\ntwo\n", 9), "one\ntwo\n");
        assert_eq!(piece("x\none\ntwo\n", 0), "");
        assert_eq!(piece("x\n", 3), "");
    }

    #[test]
    fn a_question_is_taken_whole_or_refused() {
        let parse = |uri: &str| Question::parse(&Method::GET, &uri.parse().unwrap());
        let question = parse("/containerLogs/default/pod/agent?follow=true&tailLines=5").unwrap();
        assert_eq!(question.key.2, "agent");
        assert!(question.follow && !question.previous);
        assert_eq!(question.tail, Some(5));
        assert!(parse("/containerLogs/default/pod").is_err());
        assert!(parse("/run/default/pod/agent").is_err());
        assert!(parse("/containerLogs/default/pod/agent?timestamps=true").is_err());
        assert!(parse("/containerLogs/default/pod/agent?tailLines=all").is_err());
    }
}
