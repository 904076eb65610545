//! Memberships in a real cell of one, with nothing of the agent around them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use slotmesh_mesh::machine::{ConnectionId, Machine, PeerIdentity};
use slotmesh_mesh::wire::Frame;

use super::*;
use crate::join::join;
use crate::succession::bind_mesh_port;
use crate::tests::fixture::map_key;
use crate::tests::life::agent::{Agent, config};
use crate::tests::life::operator::{Operator, Place};
use crate::tests::life::{DEADLINE, until, until_members};

async fn member_of(operator: &Operator) -> (Member, Shared) {
    let (name, uid) = ("agent-1", slotmesh_mesh::identity::Uid::from_bytes([1; 16]));
    let config = config(operator, name, uid);
    operator.expect(
        uid,
        Place {
            name: name.into(),
            mesh: config.mesh_address(),
            http: (config.pod_ip, config.http_port).into(),
        },
    );
    let (metrics, snapshots) = (Metrics::new().unwrap(), Shared::default());
    let endpoint = bind_mesh_port(&config).unwrap();
    let door = Arc::new(Door::new(endpoint, snapshots.clone()));
    let joined = join(&config, &door, &metrics).await;
    let member = Member::start(&config, joined, &door, &metrics).await;
    (member.unwrap(), snapshots)
}

/// The machine gets that map as if an operator had sent it.
async fn hand_over(member: &Member, map: &SignedMap) {
    let connection = ConnectionId(u64::MAX);
    let greeting = Input::Connected {
        connection,
        peer: PeerIdentity::Operator,
        remote: "127.0.0.1:1".parse().unwrap(),
        dialed: false,
    };
    let frame = Frame::Map {
        age_us: 0,
        bytes: map.encode(),
    };
    let bytes = frame.encode();
    let handle = member.driver.handle();
    let given = handle.with(move |mesh: &mut Mesh| {
        mesh.handle(clock::now(), greeting);
        mesh.handle(clock::now(), Input::Frame { connection, bytes });
    });
    given.await.unwrap();
}

#[tokio::test]
async fn two_maps_of_one_epoch_make_every_answer_stale_from_the_last_that_was_confirmed() {
    let operator = Operator::start();
    let (mut member, snapshots) = member_of(&operator).await;
    let view = member.publish().await.unwrap();
    let before = snapshots.load_full().unwrap();
    assert_eq!(before.standing, Standing::Member);
    let mut other = (**view.signed.map()).clone();
    other.protocol.observers -= 1;
    let other = SignedMap::sign(other, &map_key()).unwrap();
    hand_over(&member, &other).await;
    for _ in 0..2 {
        member.publish().await.unwrap();
        let now = snapshots.load_full().unwrap();
        assert_eq!(now.standing, Standing::Conflict);
        assert_eq!(now.confirmed_at, before.confirmed_at);
    }
    // Hearing nobody as well makes it neither ready nor confirmed.
    member.alone = true;
    member.publish().await.unwrap();
    let now = snapshots.load_full().unwrap();
    assert_eq!(
        (now.standing, now.confirmed_at),
        (Standing::Conflict, before.confirmed_at)
    );
}

#[tokio::test]
async fn whoever_leaves_goes_on_answering_from_the_newest_map() {
    let operator = Operator::start();
    let (member, snapshots) = member_of(&operator).await;
    operator.let_nobody_go();
    let reading = async {
        let epoch = operator.publish();
        until("the newer map", async || {
            snapshots.load_full().unwrap().map.epoch == epoch
        })
        .await;
    };
    tokio::select! {
        () = member.leave() => panic!("it left with the map it had"),
        () = reading => {}
    }
}

/// In a storm the event may find a full queue.
#[tokio::test]
async fn whoever_leaves_finds_that_it_has_gone_without_the_event_too() {
    let operator = Operator::start();
    let (mut member, snapshots) = member_of(&operator).await;
    let other = Agent::start(&operator, 2);
    until_members(&[&other], 2).await;
    let (_silent, lost) = mpsc::channel(1);
    let _unread = std::mem::replace(&mut member.events, lost);
    let handle = member.driver.handle();
    handle.input(Input::Leave).await.unwrap();
    let gone = tokio::time::timeout(DEADLINE, member.lost_its_place());
    gone.await.expect("it finds that it has gone");
    let last = snapshots.load_full().unwrap();
    assert_eq!(last.standing, Standing::Former);
}
