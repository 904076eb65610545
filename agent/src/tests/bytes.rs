//! Whatever bytes a client sends, the server answers the next one.

use std::time::Duration;

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::fixture::{api, published, snapshot};
use crate::http::{Limits, serve};

/// A request line with something wild in it, or no request at all.
fn wild() -> impl Strategy<Value = Vec<u8>> {
    let path = prop_oneof![
        Just("/v1/locate?key="),
        Just("/v1/slots/"),
        Just("/v1/map?watch=true&timeoutSeconds=0&epoch="),
        Just("/v1/map?"),
        Just("/"),
    ];
    let bytes = || proptest::collection::vec(any::<u8>(), 0..64);
    prop_oneof![
        bytes(),
        (path, bytes()).prop_map(|(path, wild)| {
            let end = b" HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
            [b"GET ", path.as_bytes(), &wild, end].concat()
        }),
        bytes().prop_map(|wild| [b"GET / HTTP/1.1\r\n", &wild[..], b"\r\n\r\n"].concat()),
    ]
}

async fn send(address: std::net::SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut answer = Vec::new();
    // The server may close while we still write.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let ended = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer));
    let _ = ended.await.expect("the server closes");
    answer
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn no_bytes_end_the_server(requests in proptest::collection::vec(wild(), 1..12)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let router = api(&published(snapshot()));
            let any = "127.0.0.1:0".parse().unwrap();
            let address = serve(any, router, Limits::default()).await.unwrap();
            for request in &requests {
                let answer = send(address, request).await;
                assert!(answer.is_empty() || answer.starts_with(b"HTTP/1."), "{answer:?}");
                assert!(!answer.starts_with(b"HTTP/1.1 500"), "{request:?}");
            }
            let sound = b"GET /v1/slots/7 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
            assert!(send(address, sound).await.starts_with(b"HTTP/1.1 200"));
        });
    }
}
