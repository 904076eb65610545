//! A second connection costs a whole handshake, whatever the other side would rather do.

#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicUsize, Ordering};

use quinn::VarInt;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};

use super::*;
use crate::authority::Authority;
use crate::identity::server_name;
use crate::testing::{ANY, DEADLINE, authority, cluster, credentials, verifier};

/// Counts whole handshakes: in one that resumes another the server shows no certificate.
#[derive(Debug)]
struct Counting {
    verifier: Arc<PeerVerifier>,
    shown: AtomicUsize,
}

impl ServerCertVerifier for Counting {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.shown.fetch_add(1, Ordering::Relaxed);
        self.verifier
            .verify_server_cert(leaf, chain, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, leaf, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, leaf, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ServerCertVerifier::supported_verify_schemes(&*self.verifier)
    }
}

/// Connections that one after the other are made with one configuration.
const CONNECTIONS: usize = 3;

/// How many of them were whole handshakes. Whose side is ours is as every endpoint is; the other would resume.
async fn whole_handshakes(server_is_ours: bool, client_is_ours: bool) -> usize {
    let authority: Authority = authority();
    let (server, client) = (credentials(&authority, 1), credentials(&authority, 2));
    let counting = Arc::new(Counting {
        verifier: verifier(&authority),
        shown: AtomicUsize::new(0),
    });
    let mut accepting = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(verifier(&authority))
        .with_single_cert(server.chain.clone(), server.key())
        .unwrap();
    accepting.alpn_protocols = vec![settings::ALPN_MESH.to_vec()];
    let mut dialing = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(counting.clone())
        .with_client_auth_cert(client.chain.clone(), client.key())
        .unwrap();
    dialing.alpn_protocols = vec![settings::ALPN_MESH.to_vec()];
    let accepting = if server_is_ours {
        quic_server(accepting).unwrap()
    } else {
        ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(accepting).unwrap()))
    };
    let dialing = if client_is_ours {
        quic_client(dialing, settings::transport()).unwrap()
    } else {
        ClientConfig::new(Arc::new(QuicClientConfig::try_from(dialing).unwrap()))
    };
    let listening = endpoint(ANY, EndpointConfig::default(), Some(accepting)).unwrap();
    let caller = bind(ANY).unwrap();
    for _ in 0..CONNECTIONS {
        let both = async { tokio::join!(accept(&listening), dial(&caller, &listening, &dialing)) };
        tokio::time::timeout(DEADLINE, both).await.unwrap();
    }
    counting.shown.load(Ordering::Relaxed)
}

async fn accept(listening: &Endpoint) {
    let connection = listening.accept().await.unwrap().await.unwrap();
    // Tickets leave before what is said.
    let mut stream = connection.open_uni().await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    stream.finish().unwrap();
    connection.closed().await;
}

async fn dial(caller: &Endpoint, listening: &Endpoint, config: &ClientConfig) {
    let address = listening.local_addr().unwrap();
    let name = server_name(cluster());
    let connecting = caller.connect_with(config.clone(), address, &name);
    let connection = connecting.unwrap().await.unwrap();
    let mut stream = connection.accept_uni().await.unwrap();
    assert_eq!(stream.read_to_end(16).await.unwrap(), b"hello");
    connection.close(VarInt::from_u32(0), b"");
}

#[tokio::test]
async fn whoever_accepts_hands_out_nothing_to_resume_with() {
    assert_eq!(whole_handshakes(true, false).await, CONNECTIONS);
}

#[tokio::test]
async fn whoever_dials_resumes_nothing() {
    assert_eq!(whole_handshakes(false, true).await, CONNECTIONS);
}

/// Or else the two above would show nothing.
#[tokio::test]
async fn two_that_would_rather_resume_do() {
    assert!(whole_handshakes(false, false).await < CONNECTIONS);
}

/// quinn has no getters; its debug form names each setting.
#[test]
fn an_endpoint_that_accepts_keeps_peers_where_they_are_and_bounds_who_waits() {
    let authority = authority();
    let config = server_config(&credentials(&authority, 1), &verifier(&authority)).unwrap();
    let all = format!("{config:?}");
    for setting in [
        "migration: false",
        "max_incoming: 1024,",
        "incoming_buffer_size: 16384,",
        "incoming_buffer_size_total: 4194304,",
        // Those of the mesh are in it.
        "max_idle_timeout: Some(10000)",
    ] {
        assert!(all.contains(setting), "{setting} is not in {all}");
    }
}
