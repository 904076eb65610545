//! Real handshakes between parties that should, and parties that should not, talk to each other.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::time::SystemTime;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, ConnectionError, Endpoint, VarInt};
use rustls::sign::CertifiedKey;
use slotmesh_mesh::machine::PeerIdentity;

use super::*;
use crate::authority::Authority;
use crate::endpoint::{Credentials, accept_as, bind, dialing_endpoint};
use crate::identity::server_name;
use crate::refusal::Refusal;
use crate::testing::{
    ANY, DEADLINE, authority, cluster, credentials, issued, keypair, uid, verifier,
};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// What became of a handshake, as the dialing and as the accepting side see it.
type Outcome = [Result<(), Refusal>; 2];

async fn shake(listening: Endpoint, dialing: Endpoint, config: ClientConfig) -> Outcome {
    let address = listening.local_addr().unwrap();
    let accepting = async {
        let connection = listening.accept().await.unwrap().await?;
        // In TLS 1.3 the dialing side is done first; only data tells it that it was accepted.
        let mut stream = connection.open_uni().await?;
        let _ = stream.finish();
        connection.closed().await;
        Ok::<_, ConnectionError>(())
    };
    let dialing = async {
        let connection = dialing
            .connect_with(config, address, &server_name(cluster()))
            .unwrap()
            .await?;
        connection.accept_uni().await?;
        connection.close(VarInt::from_u32(0), b"");
        Ok::<_, ConnectionError>(())
    };
    let both = async { tokio::join!(dialing, accepting) };
    let (dialed, accepted) = tokio::time::timeout(DEADLINE, both).await.unwrap();
    [dialed, accepted].map(|result| result.map_err(|error| Refusal::of(&error)))
}

type Party<'a> = (&'a Credentials, &'a Arc<PeerVerifier>);

async fn between(server: Party<'_>, client: Party<'_>) -> Outcome {
    let listening = bind(ANY).unwrap();
    accept_as(&listening, server.0, server.1).unwrap();
    let (dialing, config) = dialing_endpoint(ANY, client.0, client.1).unwrap();
    shake(listening, dialing, config).await
}

/// A handshake with a good server by a client that does something of its own.
async fn by(
    authority: &Authority,
    alpn: &[u8],
    client_auth: impl FnOnce(
        rustls::ConfigBuilder<rustls::ClientConfig, rustls::client::WantsClientCert>,
    ) -> rustls::ClientConfig,
) -> Outcome {
    let listening = bind(ANY).unwrap();
    let trust = verifier(authority);
    accept_as(&listening, &credentials(authority, 1), &trust).unwrap();
    let builder = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(trust);
    let mut tls = client_auth(builder);
    tls.alpn_protocols = vec![alpn.to_vec()];
    let config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    shake(listening, bind(ANY).unwrap(), config).await
}

fn single(credentials: &Credentials) -> rustls::sign::SingleCertAndKey {
    let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&credentials.key()).unwrap();
    CertifiedKey::new(credentials.chain.clone(), key).into()
}

#[tokio::test]
async fn only_certificates_of_the_cluster_pass() {
    let (ours, theirs) = (authority(), authority());
    let now = SystemTime::now();
    let good = credentials(&ours, 1);
    let trust = verifier(&ours);
    let also_good = credentials(&ours, 2);
    assert_eq!(
        between((&good, &trust), (&also_good, &trust)).await,
        [Ok(()), Ok(())]
    );
    let mut of_nobody = credentials(&ours, 3);
    of_nobody.chain = vec![rogue_leaf(&of_nobody.keypair)];
    for (name, bad, expected) in [
        (
            "of another CA",
            issued(&theirs, cluster(), uid(7), 7, now),
            Refusal::UnknownAuthority,
        ),
        ("signed by itself", of_nobody, Refusal::UnknownAuthority),
        (
            "of another cluster",
            issued(&ours, uid(201), uid(7), 7, now),
            Refusal::UnfitCertificate,
        ),
        (
            "expired",
            issued(&ours, cluster(), uid(7), 7, now - 3 * DAY),
            Refusal::NotValidNow,
        ),
        (
            "from the future",
            issued(&ours, cluster(), uid(7), 7, now + 3 * DAY),
            Refusal::NotValidNow,
        ),
    ] {
        // Both sides know why, whichever of them shows the bad certificate.
        let as_server = between((&bad, &trust), (&good, &trust)).await;
        assert_eq!(as_server, [Err(expected); 2], "a server's, {name}");
        let as_client = between((&good, &trust), (&bad, &trust)).await;
        assert_eq!(as_client, [Err(expected); 2], "a client's, {name}");
    }
}

/// Names a member of the cluster, but nobody of authority signed it.
fn rogue_leaf(keypair: &slotmesh_mesh::identity::Keypair) -> CertificateDer<'static> {
    let key = crate::identity::certificate_key(keypair).unwrap();
    let uri = crate::identity::member_uri(cluster(), uid(3));
    let parameters = crate::identity::parameters(&uri).unwrap();
    parameters.self_signed(&key).unwrap().der().clone()
}

#[tokio::test]
async fn whoever_shows_no_certificate_or_does_not_hold_its_key_stays_out() {
    let authority = authority();
    let mesh = crate::settings::ALPN_MESH;
    let none = by(&authority, mesh, |builder| builder.with_no_client_auth()).await;
    assert_eq!(none, [Err(Refusal::NoCertificate); 2]);

    let stolen = Credentials {
        keypair: keypair(8),
        ..credentials(&authority, 7)
    };
    let resolver = Arc::new(single(&stolen));
    let thief = by(&authority, mesh, |builder| {
        builder.with_client_cert_resolver(resolver)
    });
    assert_eq!(thief.await, [Err(Refusal::NotTheHolder); 2]);
}

#[tokio::test]
async fn another_protocol_is_told_apart() {
    let authority = authority();
    let member = Arc::new(single(&credentials(&authority, 7)));
    let other = by(&authority, b"slotmesh/999", |builder| {
        builder.with_client_cert_resolver(member)
    });
    assert_eq!(other.await, [Err(Refusal::OtherProtocol); 2]);
}

#[tokio::test]
async fn an_expired_certificate_passes_between_those_that_the_map_lists() {
    let (ours, theirs) = (authority(), authority());
    let listed = PeerIdentity::Agent {
        uid: uid(7),
        key: keypair(7).public(),
    };
    let roots = vec![ours.certificate().clone()];
    let trust = PeerVerifier::new(cluster(), roots, Arc::new(move |peer| *peer == listed));
    let now = SystemTime::now();
    let good = credentials(&ours, 1);
    let expired = |authority, pod, key| issued(authority, cluster(), uid(pod), key, now - 3 * DAY);
    for (name, peer, expected) in [
        ("listed", expired(&ours, 7, 7), Ok(())),
        (
            "listed with another key",
            expired(&ours, 7, 8),
            Err(Refusal::NotValidNow),
        ),
        (
            "not listed",
            expired(&ours, 8, 7),
            Err(Refusal::NotValidNow),
        ),
        (
            "listed, but of another CA",
            expired(&theirs, 7, 7),
            Err(Refusal::UnknownAuthority),
        ),
        (
            "listed, but not valid yet",
            issued(&ours, cluster(), uid(7), 7, now + 3 * DAY),
            Err(Refusal::NotValidNow),
        ),
    ] {
        let as_server = between((&peer, &trust), (&good, &trust)).await;
        assert_eq!(as_server, [expected; 2], "a server, {name}");
        let as_client = between((&good, &trust), (&peer, &trust)).await;
        assert_eq!(as_client, [expected; 2], "a client, {name}");
    }
}
