#![allow(clippy::unwrap_used, clippy::panic)]

use std::net::Ipv4Addr;

use slotmesh_mesh::map::Map;
use slotmesh_transport::authority::CERTIFICATE_LIFETIME;

use super::*;
use crate::split::tests::map;

/// No machine has that address: it is for documentation.
const OF_NOBODY: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// Nobody was reached for long.
fn mesh(local: IpAddr) -> CellMesh {
    let cluster = map(1, 0, 1, 16384).cluster;
    let authority = Authority::generate(cluster, SystemTime::now()).unwrap();
    let keypair = Keypair::from_seed([1; 32]);
    let leaf = authority.issue_operator(&keypair, cluster, SystemTime::now(), CERTIFICATE_LIFETIME);
    let credentials = Credentials {
        chain: vec![leaf.unwrap()],
        keypair: keypair.clone(),
    };
    CellMesh {
        cluster,
        map_key: keypair,
        authority: Arc::new(authority),
        credentials: watch::channel(credentials).1,
        local,
        join_address: SocketAddr::new(local, 7401),
        take_census: false,
        newest: None,
        running: None,
        unopened: None,
        last_reached: long_ago(),
    }
}

fn long_ago() -> Instant {
    Instant::now()
        .checked_sub(UNREACHABLE_AFTER + Duration::from_secs(1))
        .unwrap()
}

fn signed(map: Map) -> SignedMap {
    SignedMap::sign(map, &Keypair::from_seed([1; 32])).unwrap()
}

#[tokio::test]
async fn a_mesh_that_cannot_be_opened_is_told_and_opened_when_it_can_be() {
    let mut mesh = mesh(OF_NOBODY);
    mesh.publish(&signed(map(4, 0, 1, 4096))).await;
    assert_eq!(mesh.reach(), Reach::Fine, "it may be open in a moment");
    mesh.last_reached = long_ago();
    mesh.look().await;
    let Reach::Unopened(error) = mesh.reach() else {
        panic!("{:?}", mesh.reach());
    };
    assert!(error.contains("192.0.2.1"), "{error}");
    mesh.local = Ipv4Addr::LOCALHOST.into();
    mesh.look().await;
    assert!(mesh.found().await.is_some(), "no map came since");
    assert_eq!(
        mesh.reach(),
        Reach::Nobody,
        "it is open, and nobody answers"
    );
}

#[tokio::test]
async fn where_nobody_is_listed_nobody_is_missed() {
    let mut mesh = mesh(OF_NOBODY);
    mesh.look().await;
    assert_eq!(mesh.reach(), Reach::Fine, "there is no map yet");
    mesh.publish(&signed(map(0, 0, 1, 16384))).await;
    mesh.last_reached = long_ago();
    mesh.look().await;
    assert_eq!(mesh.reach(), Reach::Fine, "the map lists nobody");
}

#[tokio::test]
async fn a_driver_that_ended_is_followed_by_another() {
    let mut mesh = mesh(Ipv4Addr::LOCALHOST.into());
    mesh.publish(&signed(map(4, 0, 1, 4096))).await;
    let (driver, _) = mesh.running.as_ref().unwrap();
    let ended = driver.handle();
    let end = |_: &mut Watch| -> () { panic!("as the test wants it") };
    assert!(ended.with(end).await.is_err());
    assert!(mesh.found().await.is_none());
    mesh.look().await;
    mesh.look().await;
    assert!(mesh.found().await.is_some());
}
