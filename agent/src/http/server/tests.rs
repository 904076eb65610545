#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

const DEADLINE: Duration = Duration::from_secs(20);

async fn server(limits: Limits) -> SocketAddr {
    let router = Router::new().route("/", get(|| async { "hello" }));
    serve("127.0.0.1:0".parse().unwrap(), router, limits)
        .await
        .unwrap()
}

/// What the server says until it closes.
async fn rest(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    // A reset ends a conversation as well.
    let _ = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut text))
        .await
        .expect("the server closes");
    String::from_utf8(text).unwrap()
}

async fn ask(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    rest(&mut stream).await
}

#[tokio::test]
async fn a_client_that_never_ends_its_request_is_cut_off() {
    let limits = Limits {
        head_timeout: Duration::from_millis(50),
        ..Limits::default()
    };
    let mut stream = TcpStream::connect(server(limits).await).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    assert!(!rest(&mut stream).await.contains("hello"));
}

#[tokio::test]
async fn a_connection_has_an_end() {
    let limits = Limits {
        connection_age: Duration::from_millis(50),
        ..Limits::default()
    };
    let mut stream = TcpStream::connect(server(limits).await).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    assert!(rest(&mut stream).await.ends_with("hello"));
}

#[tokio::test]
async fn a_head_beyond_the_limit_is_refused() {
    let address = server(Limits::default()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n",
        "y".repeat(2 * HEAD_BYTES_MAX)
    );
    // The server may close while we still write.
    let _ = stream.write_all(request.as_bytes()).await;
    assert!(!rest(&mut stream).await.contains("hello"));
    assert!(ask(address).await.contains("hello"));
}

#[tokio::test]
async fn more_clients_than_allowed_wait_for_their_turn() {
    let limits = Limits {
        connections: 1,
        ..Limits::default()
    };
    let address = server(limits).await;
    let mut first = TcpStream::connect(address).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";
    first.write_all(request).await.unwrap();
    let mut head = [0; 15];
    first.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    // The first holds its connection open, so the second has no answer until it lets go.
    let mut second = tokio::spawn(ask(address));
    let early = tokio::time::timeout(Duration::from_millis(200), &mut second).await;
    assert!(early.is_err(), "the second was served beside the first");
    drop(first);
    assert!(second.await.unwrap().contains("hello"));
}
