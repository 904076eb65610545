#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

const DEADLINE: Duration = Duration::from_secs(20);

async fn server(limits: Limits) -> SocketAddr {
    let router = Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/never", get(std::future::pending::<&str>));
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

/// A request whose answer never comes.
async fn occupy(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = b"GET /never HTTP/1.1\r\nhost: x\r\n\r\n";
    stream.write_all(request).await.unwrap();
    stream
}

#[tokio::test]
async fn more_clients_than_allowed_wait_for_their_turn() {
    let limits = Limits {
        connections: 1,
        ..Limits::default()
    };
    let address = server(limits).await;
    let first = occupy(address).await;
    // The first has its answer under way, so the second has none until it lets go.
    let mut second = tokio::spawn(ask(address));
    let early = tokio::time::timeout(Duration::from_millis(200), &mut second).await;
    assert!(early.is_err(), "the second was served beside the first");
    drop(first);
    assert!(second.await.unwrap().contains("hello"));
}

#[tokio::test]
async fn idle_clients_make_room() {
    let limits = Limits {
        connections: 2,
        head_timeout: DEADLINE * 10,
        ..Limits::default()
    };
    let address = server(limits).await;
    let mut idle = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"hello") {
            assert!(stream.read_buf(&mut answer).await.unwrap() > 0);
        }
        idle.push(stream);
    }
    let third = tokio::time::timeout(DEADLINE, ask(address)).await;
    assert!(third.expect("there is room").contains("hello"));
    for mut stream in idle {
        assert_eq!(rest(&mut stream).await, "");
    }
}

#[tokio::test]
async fn one_client_leaves_room_for_others() {
    let limits = Limits {
        connections_per_client: 2,
        ..Limits::default()
    };
    let address = server(limits).await;
    let held = [occupy(address).await, occupy(address).await];
    let mut third = TcpStream::connect(address).await.unwrap();
    let refusal = rest(&mut third).await;
    assert!(refusal.starts_with("HTTP/1.1 503 "), "{refusal}");
    let (_, body) = refusal.split_once("\r\n\r\n").unwrap();
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["error"], "TooManyConnections");
    // All of 127.0.0.0/8 is this machine.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = socket.connect(address).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    other.write_all(request).await.unwrap();
    assert!(rest(&mut other).await.ends_with("hello"));
    drop(held);
    let freed = async {
        while !ask(address).await.contains("hello") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let freed = tokio::time::timeout(DEADLINE, freed).await;
    freed.expect("what was let go is free again");
}
