//! Real QUIC on loopback: members with a static map, one of which ends without Leave.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::SystemTime;

use slotmesh_mesh::identity::Keypair;
use slotmesh_mesh::map::{Map, Member, Mode, Owner, Protocol};
use slotmesh_mesh::member::{Mesh, MeshConfig};
use slotmesh_mesh::signed::SignedMap;
use slotmesh_mesh::slot::SlotSet;
use slotmesh_mesh::watch::{Watch, WatchConfig};

use super::*;
use crate::authority::{Authority, CERTIFICATE_LIFETIME};
use crate::endpoint::{Credentials, accept_as, bind, dialing_endpoint};
use crate::identity::signing_request;
use crate::verifier::PeerVerifier;

const DEADLINE: Duration = Duration::from_secs(30);

fn uid(n: u8) -> Uid {
    Uid::from_bytes([n; 16])
}

fn keypair(n: u8) -> Keypair {
    Keypair::from_seed([n; 32])
}

fn mesh_endpoint(
    address: SocketAddr,
    credentials: &Credentials,
    verifier: &Arc<PeerVerifier>,
) -> Result<(Endpoint, ClientConfig), crate::endpoint::EndpointError> {
    let endpoint = bind(address)?;
    let client = accept_as(&endpoint, credentials, verifier)?;
    Ok((endpoint, client))
}

struct Cell {
    authority: Authority,
    map: Map,
    sockets: Vec<(Endpoint, ClientConfig)>,
}

fn credentials(authority: &Authority, n: u8) -> Credentials {
    let keypair = keypair(n);
    let request = signing_request(&keypair, uid(200), uid(n)).unwrap();
    let (leaf, _) = authority
        .issue(
            &request,
            uid(200),
            uid(n),
            SystemTime::now(),
            CERTIFICATE_LIFETIME,
        )
        .unwrap();
    Credentials {
        chain: vec![leaf],
        keypair,
    }
}

fn verifier(authority: &Authority) -> Arc<PeerVerifier> {
    PeerVerifier::new(
        uid(200),
        vec![authority.certificate().clone()],
        Arc::new(|_| false),
    )
}

fn cell(count: u8) -> Cell {
    let authority = Authority::generate(uid(200), SystemTime::now()).unwrap();
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut left = SlotSet::full();
    let (mut members, mut sockets) = (Vec::new(), Vec::new());
    for n in 1..=count {
        let (endpoint, client) =
            mesh_endpoint(any, &credentials(&authority, n), &verifier(&authority)).unwrap();
        let address = endpoint.local_addr().unwrap();
        let slots = left.take_lowest(left.len() / u16::from(count - n + 1));
        members.push(Member {
            name: format!("agent-{n}"),
            uid: uid(n),
            incarnation: 10,
            key: keypair(n).public(),
            node: format!("node-{n}"),
            zone: String::new(),
            address,
            failed: false,
            owners: vec![Owner {
                name: format!("agent-{n}"),
                uid: uid(n),
                address,
                capacity: 100,
                slots,
            }],
        });
        sockets.push((endpoint, client));
    }
    let protocol = Protocol {
        mode: Mode::Affinity,
        ..Protocol::default()
    };
    let map = Map {
        cluster: uid(200),
        cell: "cell".into(),
        era: 0,
        epoch: 10,
        slots: SlotSet::full(),
        protocol,
        members,
    };
    Cell {
        authority,
        map,
        sockets,
    }
}

type Running = (Driver<Mesh>, mpsc::Receiver<Event>);

fn start(cell: &mut Cell) -> Vec<Running> {
    let signed = SignedMap::sign(cell.map.clone(), &keypair(250)).unwrap();
    let sockets = std::mem::take(&mut cell.sockets);
    (1..)
        .zip(sockets)
        .map(|(n, (endpoint, client))| {
            let config = MeshConfig {
                cluster: uid(200),
                uid: uid(n),
                keypair: keypair(n),
                map_keys: vec![keypair(250).public()],
                seed: u64::from(n),
            };
            let mesh = Mesh::new(config, signed.clone(), clock::now()).unwrap();
            Driver::start(
                mesh,
                DriverConfig {
                    endpoint,
                    client,
                    cluster: uid(200),
                },
            )
        })
        .collect()
}

/// Ends a member without Leave: it beats no more and answers no probe. (QUIC may still close its
/// connections, which tells the mesh nothing.)
fn die((driver, events): Running) {
    drop(driver);
    drop(events);
}

async fn connected(running: &[Running], at_least: usize) {
    let all = async {
        for (driver, _) in running {
            while driver
                .handle()
                .with(|mesh| mesh.connections())
                .await
                .unwrap()
                < at_least
            {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    };
    tokio::time::timeout(DEADLINE, all)
        .await
        .expect("the mesh forms");
}

async fn verdict_of(events: &mut mpsc::Receiver<Event>) -> Vec<Uid> {
    let next = async {
        loop {
            if let Event::Verdict { failed, .. } = events.recv().await.unwrap() {
                return failed.into_iter().map(|id| id.uid).collect();
            }
        }
    };
    tokio::time::timeout(DEADLINE, next)
        .await
        .expect("a verdict")
}

#[tokio::test]
async fn the_survivors_agree_on_a_silent_death() {
    let mut running = start(&mut cell(5));
    connected(&running, 4).await;
    die(running.remove(2));
    for (_, events) in &mut running {
        assert_eq!(verdict_of(events).await, [uid(3)]);
    }
}

#[tokio::test]
async fn the_operator_comes_to_the_same_verdict_and_its_map_spreads() {
    let mut cell = cell(5);
    let mut running = start(&mut cell);
    connected(&running, 4).await;

    let operator = Credentials {
        chain: vec![
            cell.authority
                .issue_operator(&keypair(251), uid(200), SystemTime::now())
                .unwrap(),
        ],
        keypair: keypair(251),
    };
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let (endpoint, client) = dialing_endpoint(any, &operator, &verifier(&cell.authority)).unwrap();
    let signed = SignedMap::sign(cell.map.clone(), &keypair(250)).unwrap();
    let config = WatchConfig {
        keypair: keypair(250),
        first_sequence: 1,
    };
    let watch = Watch::new(config, signed, clock::now());
    let (watch, mut events) = Driver::start(
        watch,
        DriverConfig {
            endpoint,
            client,
            cluster: uid(200),
        },
    );

    die(running.remove(0));
    assert_eq!(verdict_of(&mut events).await, [uid(1)]);

    let mut map = cell.map.clone();
    map.epoch += 1;
    map.members.remove(0);
    let signed = SignedMap::sign(map, &keypair(250)).unwrap();
    watch
        .handle()
        .with(move |watch| watch.publish(clock::now(), signed))
        .await
        .unwrap();
    let everywhere = async {
        for (driver, _) in &running {
            while driver
                .handle()
                .with(|mesh| mesh.signed_map().map().epoch)
                .await
                .unwrap()
                < 11
            {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    };
    tokio::time::timeout(DEADLINE, everywhere)
        .await
        .expect("the map reaches everybody");
    watch.stop().await;
}

/// What a handshake between two parties with these credentials comes to, as the dialing side sees it.
async fn handshake(
    server: &Credentials,
    client: &Credentials,
    trust: [&Authority; 2],
) -> Result<(), String> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let (listening, _) = mesh_endpoint(any, server, &verifier(trust[0])).unwrap();
    let (dialing, config) = dialing_endpoint(any, client, &verifier(trust[1])).unwrap();
    let address = listening.local_addr().unwrap();
    let accepting = tokio::spawn(async move {
        let connection = listening
            .accept()
            .await
            .unwrap()
            .await
            .map_err(|error| error.to_string())?;
        let mut stream = connection
            .open_uni()
            .await
            .map_err(|error| error.to_string())?;
        stream
            .write_all(b"x")
            .await
            .map_err(|error| error.to_string())?;
        let _ = stream.finish();
        connection.closed().await;
        Ok::<_, String>(())
    });
    let connection = dialing
        .connect_with(config, address, &server_name(uid(200)))
        .unwrap()
        .await
        .map_err(|error| error.to_string())?;
    // In TLS 1.3 the client is done first; only data shows that the server accepted it.
    let mut stream = connection
        .accept_uni()
        .await
        .map_err(|error| error.to_string())?;
    stream
        .read_to_end(8)
        .await
        .map_err(|error| error.to_string())?;
    connection.close(VarInt::from_u32(0), b"");
    accepting.await.unwrap()
}

#[tokio::test]
async fn only_certificates_of_the_cluster_pass() {
    let ours = Authority::generate(uid(200), SystemTime::now()).unwrap();
    let theirs = Authority::generate(uid(200), SystemTime::now()).unwrap();
    let issue = |authority: &Authority, cluster: u8, at: SystemTime| {
        let keypair = keypair(7);
        let request = signing_request(&keypair, uid(cluster), uid(7)).unwrap();
        let (leaf, _) = authority
            .issue(&request, uid(cluster), uid(7), at, CERTIFICATE_LIFETIME)
            .unwrap();
        Credentials {
            chain: vec![leaf],
            keypair,
        }
    };
    let now = SystemTime::now();
    let day = Duration::from_secs(24 * 3600);
    let good = credentials(&ours, 1);
    assert_eq!(
        handshake(&good, &credentials(&ours, 2), [&ours, &ours]).await,
        Ok(())
    );
    for (name, bad, expected) in [
        ("wrong CA", issue(&theirs, 200, now), "UnknownIssuer"),
        ("wrong cluster", issue(&ours, 201, now), "another cluster"),
        ("expired", issue(&ours, 200, now - 3 * day), "xpired"),
        ("from the future", issue(&ours, 200, now + 3 * day), "alid"),
    ] {
        let as_server = handshake(&bad, &good, [&ours, &ours]).await.unwrap_err();
        assert!(!as_server.is_empty(), "{name}");
        let as_client = handshake(&good, &bad, [&ours, &ours]).await.unwrap_err();
        assert!(!as_client.is_empty(), "{name}: {expected}");
        println!("{name}: {as_server} / {as_client}");
    }
}

#[tokio::test]
async fn another_process_at_the_address_is_no_member() {
    let mut cell = cell(2);
    // The map lists another key for the second member than its certificate holds.
    cell.map.members[1].key = keypair(99).public();
    let signed = SignedMap::sign(cell.map.clone(), &keypair(250)).unwrap();
    let (endpoint, client) = cell.sockets.remove(0);
    let config = MeshConfig {
        cluster: uid(200),
        uid: uid(1),
        keypair: keypair(1),
        map_keys: vec![keypair(250).public()],
        seed: 1,
    };
    let mesh = Mesh::new(config, signed, clock::now()).unwrap();
    let (driver, _events) = Driver::start(
        mesh,
        DriverConfig {
            endpoint,
            client,
            cluster: uid(200),
        },
    );
    let (listening, _client) = cell.sockets.remove(0);
    let dialed = tokio::time::timeout(DEADLINE, listening.accept())
        .await
        .unwrap()
        .unwrap();
    let connection = dialed.await.unwrap();
    let closed = tokio::time::timeout(DEADLINE, connection.closed())
        .await
        .unwrap();
    let code = VarInt::from_u32(CloseReason::NotInMap.code());
    assert!(
        matches!(closed, quinn::ConnectionError::ApplicationClosed(close) if close.error_code == code)
    );
    assert_eq!(
        driver
            .handle()
            .with(|mesh| mesh.connections())
            .await
            .unwrap(),
        0
    );
}

#[test]
fn identities_are_read_back() {
    let authority = Authority::generate(uid(200), SystemTime::now()).unwrap();
    let again = Authority::from_pem(authority.certificate_pem(), authority.key_pem()).unwrap();
    let leaf = &credentials(&again, 5).chain[0];
    let expected = PeerIdentity::Agent {
        uid: uid(5),
        key: keypair(5).public(),
    };
    assert_eq!(peer_of(leaf, uid(200)), Ok(expected));
    assert_eq!(
        peer_of(leaf, uid(201)),
        Err(IdentityError::WrongCluster(uid(200)))
    );
    assert!(peer_of(authority.certificate(), uid(200)).is_err());
    let unique: BTreeSet<_> = [authority.key_pem(), "other"].into();
    assert_eq!(unique.len(), 2);
}
