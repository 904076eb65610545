//! Real members with a static map over real QUIC on loopback, each on a thread of its own, as agents
//! run. One of them freezes: its socket stays open and nobody reads it, as with SIGSTOP or a dead node.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use std::time::SystemTime;

use slotmesh_mesh::map::{Map, Member, Mode, Owner, Protocol};
use slotmesh_mesh::member::{Mesh, MeshConfig};
use slotmesh_mesh::signed::SignedMap;
use slotmesh_mesh::slot::SlotSet;
use slotmesh_mesh::watch::{Watch, WatchConfig};
use tokio::runtime::{Builder, Runtime};

use super::*;
use crate::authority::Authority;
use crate::endpoint::{Credentials, dialing_endpoint};
use crate::testing::{ANY, DEADLINE, authority, cluster, endpoint, keypair, uid, verifier};

/// Where a member runs.
struct Place {
    runtime: Runtime,
    endpoint: Endpoint,
    client: ClientConfig,
}

struct Cell {
    authority: Authority,
    map: Map,
    places: Vec<Place>,
}

fn cell(count: u8) -> Cell {
    let authority = authority();
    let mut left = SlotSet::full();
    let (mut members, mut places) = (Vec::new(), Vec::new());
    for n in 1..=count {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let (endpoint, client) = {
            let _inside = runtime.enter();
            endpoint(&authority, n)
        };
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
        places.push(Place {
            runtime,
            endpoint,
            client,
        });
    }
    let protocol = Protocol {
        mode: Mode::Affinity,
        ..Protocol::default()
    };
    let map = Map {
        cluster: cluster(),
        cell: "cell".into(),
        era: 0,
        epoch: 10,
        slots: SlotSet::full(),
        protocol,
        members,
        delegation: Vec::new(),
        directory: Vec::new(),
    };
    Cell {
        authority,
        map,
        places,
    }
}

struct Running {
    handle: Handle<Mesh>,
    events: mpsc::Receiver<Event>,
    /// Dropped: the member's thread stands still.
    moving: oneshot::Sender<()>,
    /// Dropped: the member ends.
    living: std::sync::mpsc::Sender<()>,
}

fn start(cell: &mut Cell) -> Vec<Running> {
    let signed = SignedMap::sign(cell.map.clone(), &keypair(250)).unwrap();
    let places = std::mem::take(&mut cell.places);
    (1..)
        .zip(places)
        .map(|(n, place)| {
            let config = MeshConfig {
                cluster: cluster(),
                uid: uid(n),
                keypair: keypair(n),
                map_keys: vec![keypair(250).public()],
                seed: u64::from(n),
                interner: None,
            };
            let mesh = Mesh::new(config, signed.clone(), clock::now()).unwrap();
            run(mesh, place)
        })
        .collect()
}

fn run(mesh: Mesh, place: Place) -> Running {
    let config = DriverConfig {
        endpoint: place.endpoint,
        client: place.client,
        cluster: cluster(),
    };
    let (driver, events) = {
        let _inside = place.runtime.enter();
        Driver::start(mesh, config)
    };
    let handle = driver.handle();
    let (moving, still) = oneshot::channel();
    let (living, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let _ = place.runtime.block_on(still);
        let _ = ended.recv();
        drop(driver);
    });
    Running {
        handle,
        events,
        moving,
        living,
    }
}

/// What of a member is left when it stands still: keep it, or its sockets close.
fn freeze(running: Running) -> std::sync::mpsc::Sender<()> {
    drop(running.moving);
    running.living
}

async fn connected(running: &[Running], at_least: usize) {
    let all = async {
        for Running { handle, .. } in running {
            while handle.with(|mesh| mesh.connections()).await.unwrap() < at_least {
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
    let _frozen = freeze(running.remove(2));
    for member in &mut running {
        assert_eq!(verdict_of(&mut member.events).await, [uid(3)]);
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
                .issue_operator(
                    &keypair(251),
                    cluster(),
                    SystemTime::now(),
                    crate::authority::CERTIFICATE_LIFETIME,
                )
                .unwrap(),
        ],
        keypair: keypair(251),
    };
    let (endpoint, client) = dialing_endpoint(ANY, &operator, &verifier(&cell.authority)).unwrap();
    let signed = SignedMap::sign(cell.map.clone(), &keypair(250)).unwrap();
    let config = WatchConfig {
        keypair: keypair(250),
        first_sequence: 1,
        take_census: false,
    };
    let watch = Watch::new(config, signed, clock::now());
    let (watch, mut events) = Driver::start(
        watch,
        DriverConfig {
            endpoint,
            client,
            cluster: cluster(),
        },
    );

    let _frozen = freeze(running.remove(0));
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
        for Running { handle, .. } in &running {
            while handle
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
    let told = async {
        loop {
            if let Some(Event::Converged(told)) = events.recv().await {
                return told;
            }
        }
    };
    let told = tokio::time::timeout(DEADLINE, told).await;
    let told = told.expect("the operator hears who applied it");
    assert_eq!((told.epoch, told.members, told.applied()), (11, 4, 4));
    assert!(told.reached(100).is_some(), "{told:?}");
    watch.stop().await;
}
