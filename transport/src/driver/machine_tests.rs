//! The driver against a machine that does as the test says and remembers what it was told.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use std::collections::VecDeque;
use std::net::SocketAddr;

use slotmesh_mesh::identity::PublicKey;
use slotmesh_mesh::limits::{FRAME_BYTES_MAX, FRAMES_QUEUED_MAX};
use slotmesh_mesh::machine::{PeerIdentity, Unread};
use slotmesh_mesh::time::Instant;

use super::*;
use crate::identity::server_name;
use crate::testing::{DEADLINE, authority, cluster, endpoint, keypair, uid};

mod slow;

/// Does what the test says.
#[derive(Default)]
struct Puppet {
    told: Vec<(Instant, Input)>,
    wants: VecDeque<Output>,
    deadline: Option<Instant>,
}

impl Machine for Puppet {
    fn handle(&mut self, now: Instant, input: Input) {
        if matches!(input, Input::Timer) {
            self.deadline = None;
        }
        self.told.push((now, input));
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.wants.pop_front()
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.deadline
    }
}

struct Party {
    driver: Driver<Puppet>,
    events: mpsc::Receiver<Event>,
    address: SocketAddr,
}

fn party(authority: &crate::authority::Authority, n: u8) -> Party {
    let (endpoint, client) = endpoint(authority, n);
    let address = endpoint.local_addr().unwrap();
    let config = DriverConfig {
        endpoint,
        client,
        cluster: cluster(),
    };
    let (driver, events) = Driver::start(Puppet::default(), config);
    Party {
        driver,
        events,
        address,
    }
}

impl Party {
    async fn wants(&self, outputs: Vec<Output>) {
        let handle = self.driver.handle();
        handle
            .with(|puppet| puppet.wants.extend(outputs))
            .await
            .unwrap();
    }

    /// The first thing told that fits; waits for it.
    async fn told<R: Send + 'static>(
        &self,
        fits: impl Fn(&Input) -> Option<R> + Clone + Send + 'static,
    ) -> R {
        let handle = self.driver.handle();
        let search = async {
            loop {
                let fits = fits.clone();
                let found = handle
                    .with(move |puppet| puppet.told.iter().find_map(|(_, input)| fits(input)));
                if let Some(found) = found.await.unwrap() {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(DEADLINE, search).await.expect("told")
    }

    async fn count(&self, fits: impl Fn(&Input) -> bool + Send + 'static) -> usize {
        let handle = self.driver.handle();
        handle
            .with(move |puppet| puppet.told.iter().filter(|(_, input)| fits(input)).count())
            .await
            .unwrap()
    }

    async fn dial(&self, to: SocketAddr, pod: u8, key: PublicKey) {
        let dial = Output::Dial {
            uid: uid(pod),
            address: to,
            key,
        };
        self.wants(vec![dial]).await;
    }

    async fn refused(&self, refusal: Refusal) {
        let counted = async {
            while !self.driver.refusals().contains_key(&refusal) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(DEADLINE, counted)
            .await
            .expect("counted");
    }
}

fn up(input: &Input) -> Option<(ConnectionId, PeerIdentity, bool)> {
    match input {
        Input::Connected {
            connection,
            peer,
            dialed,
            ..
        } => Some((*connection, *peer, *dialed)),
        _ => None,
    }
}

fn down(input: &Input) -> Option<(ConnectionId, Disconnect)> {
    match input {
        Input::Disconnected { connection, reason } => Some((*connection, *reason)),
        _ => None,
    }
}

fn agent(n: u8) -> PeerIdentity {
    PeerIdentity::Agent {
        uid: uid(n),
        key: keypair(n).public(),
    }
}

/// Two parties, connected: the first dialed.
async fn pair() -> [(Party, ConnectionId); 2] {
    let authority = authority();
    let (one, two) = (party(&authority, 1), party(&authority, 2));
    one.dial(two.address, 2, keypair(2).public()).await;
    let (at_one, peer, dialed) = one.told(up).await;
    assert_eq!((peer, dialed), (agent(2), true));
    let (at_two, peer, dialed) = two.told(up).await;
    assert_eq!((peer, dialed), (agent(1), false));
    [(one, at_one), (two, at_two)]
}

#[tokio::test]
async fn what_is_sent_arrives_whole() {
    let [(one, at_one), (two, at_two)] = pair().await;
    let large: Vec<u8> = (0..FRAME_BYTES_MAX).map(|index| index as u8).collect();
    one.wants(vec![
        Output::Datagram {
            connection: at_one,
            bytes: vec![1; 30],
        },
        Output::Frame {
            connection: at_one,
            bytes: large.clone(),
        },
        Output::Frame {
            connection: at_one,
            bytes: Vec::new(),
        },
    ])
    .await;
    let datagram = two.told(move |input| match input {
        Input::Datagram { connection, bytes } if *connection == at_two => Some(bytes.clone()),
        _ => None,
    });
    assert_eq!(datagram.await, [1; 30]);
    let frame = move |empty: bool| {
        move |input: &Input| match input {
            Input::Frame { connection, bytes } if *connection == at_two => {
                (bytes.is_empty() == empty).then(|| bytes.clone())
            }
            _ => None,
        }
    };
    assert!(two.told(frame(false)).await == large);
    assert!(two.told(frame(true)).await.is_empty());
}

#[tokio::test]
async fn a_message_beyond_the_limit_is_dropped_and_the_next_one_is_not() {
    let [(one, at_one), (two, _)] = pair().await;
    let frame = |bytes| Output::Frame {
        connection: at_one,
        bytes,
    };
    one.wants(vec![frame(vec![1; FRAME_BYTES_MAX + 1]), frame(vec![2])])
        .await;
    let next = two.told(|input| match input {
        Input::Frame { bytes, .. } => Some(bytes.clone()),
        _ => None,
    });
    assert_eq!(next.await, [2]);
    assert_eq!(two.count(|input| down(input).is_some()).await, 0);
    let told = two.told(|input| match input {
        Input::Unread { why, .. } => Some(*why),
        _ => None,
    });
    assert_eq!(told.await, Unread::TooLong);
}

#[tokio::test]
async fn a_full_queue_is_told_for_each_message_lost() {
    let [(one, at_one), (two, _)] = pair().await;
    let more = 10;
    let frame = Output::Frame {
        connection: at_one,
        bytes: vec![7],
    };
    // Outputs are carried out without a pause, so the writer takes nothing out meanwhile.
    one.wants(vec![frame; FRAMES_QUEUED_MAX + more]).await;
    let told = one.count(|input| matches!(input, Input::SendDropped { .. }));
    assert_eq!(told.await, more);
    let handle = two.driver.handle();
    let all = async {
        loop {
            let frames = handle.with(|puppet| {
                let frame = |(_, input): &&(Instant, Input)| matches!(input, Input::Frame { .. });
                puppet.told.iter().filter(frame).count()
            });
            if frames.await.unwrap() == FRAMES_QUEUED_MAX {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, all)
        .await
        .expect("the others arrive");
}

#[tokio::test]
async fn a_datagram_that_cannot_be_sent_is_told() {
    let [(one, at_one), _] = pair().await;
    one.wants(vec![Output::Datagram {
        connection: at_one,
        bytes: vec![0; 60_000],
    }])
    .await;
    let dropped = one.told(|input| match input {
        Input::SendDropped { connection } => Some(*connection),
        _ => None,
    });
    assert_eq!(dropped.await, at_one);
}

#[tokio::test]
async fn a_close_is_told_to_the_peer_and_not_to_whoever_asked_for_it() {
    let [(one, at_one), (two, at_two)] = pair().await;
    one.wants(vec![
        Output::Close {
            connection: at_one,
            reason: CloseReason::NotNeeded,
        },
        // Too late: nobody's.
        Output::Datagram {
            connection: at_one,
            bytes: vec![1],
        },
    ])
    .await;
    assert_eq!(two.told(down).await, (at_two, Disconnect::ClosedByPeer));
    assert_eq!(one.count(|input| down(input).is_some()).await, 0);
    assert_eq!(
        one.count(|input| matches!(input, Input::SendDropped { .. }))
            .await,
        0
    );
}

#[tokio::test]
async fn a_driver_that_stops_says_goodbye() {
    let [(one, _), (two, at_two)] = pair().await;
    let handle = one.driver.handle();
    one.driver.stop().await;
    assert_eq!(two.told(down).await, (at_two, Disconnect::GoneAway));
    assert_eq!(handle.with(|_| ()).await, Err(Stopped));
}

#[tokio::test]
async fn only_the_pod_and_key_of_the_map_will_do() {
    let authority = authority();
    let (one, two) = (party(&authority, 1), party(&authority, 2));
    for (pod, key) in [(3, 2), (2, 3)] {
        one.dial(two.address, pod, keypair(key).public()).await;
        let failed = one.told(move |input| match input {
            Input::DialFailed { uid: who } if *who == uid(pod) => Some(()),
            _ => None,
        });
        failed.await;
    }
    assert_eq!(
        one.driver.refusals(),
        BTreeMap::from([(Refusal::OtherProcess, 2)])
    );
    assert_eq!(one.count(|input| up(input).is_some()).await, 0);
}

#[tokio::test]
async fn a_stranger_comes_to_nothing_on_both_sides() {
    let (ours, theirs) = (authority(), authority());
    let (member, stranger) = (party(&ours, 1), party(&theirs, 2));
    member.dial(stranger.address, 2, keypair(2).public()).await;
    member
        .told(|input| matches!(input, Input::DialFailed { .. }).then_some(()))
        .await;
    member.refused(Refusal::UnknownAuthority).await;
    stranger.refused(Refusal::UnknownAuthority).await;
    stranger.dial(member.address, 1, keypair(1).public()).await;
    stranger
        .told(|input| matches!(input, Input::DialFailed { .. }).then_some(()))
        .await;
    for party in [member, stranger] {
        assert_eq!(party.count(|input| up(input).is_some()).await, 0);
    }
}

#[tokio::test]
async fn a_dial_to_nobody_fails_in_time() {
    let one = party(&authority(), 1);
    // Bound, never read: as good as a dead node.
    let silent = std::net::UdpSocket::bind(crate::testing::ANY).unwrap();
    let asked = clock::now();
    one.dial(silent.local_addr().unwrap(), 2, keypair(2).public())
        .await;
    one.told(|input| matches!(input, Input::DialFailed { .. }).then_some(()))
        .await;
    assert!(clock::now().saturating_since(asked) >= slotmesh_mesh::limits::HANDSHAKE_TIMEOUT);
    assert_eq!(
        one.driver.refusals(),
        BTreeMap::from([(Refusal::NoAnswer, 1)])
    );
}

#[tokio::test]
async fn the_timer_comes_once_and_not_too_early() {
    let one = party(&authority(), 1);
    let due = clock::now() + Duration::from_millis(50);
    let handle = one.driver.handle();
    handle
        .with(move |puppet| puppet.deadline = Some(due))
        .await
        .unwrap();
    one.told(|input| matches!(input, Input::Timer).then_some(()))
        .await;
    let told = handle.with(|puppet| {
        let at: Vec<Instant> = puppet.told.iter().map(|(at, _)| *at).collect();
        at
    });
    let told = told.await.unwrap();
    assert_eq!(told.len(), 1);
    assert!(told[0] >= due);
}

#[tokio::test]
async fn events_come_out_in_order_and_inputs_go_in() {
    let mut one = party(&authority(), 1);
    one.wants(
        (1..=3)
            .map(|epoch| Output::Event(Event::MapApplied { epoch }))
            .collect(),
    )
    .await;
    for epoch in 1..=3 {
        assert_eq!(one.events.recv().await, Some(Event::MapApplied { epoch }));
    }
    one.driver.handle().input(Input::Leave).await.unwrap();
    assert_eq!(one.count(|input| matches!(input, Input::Leave)).await, 1);
}

#[tokio::test]
async fn traffic_of_connections_that_ended_stays_in_the_books() {
    let [(one, at_one), (two, _)] = pair().await;
    let before = one.driver.traffic();
    assert!(before.sent_datagrams > 0 && before.received_datagrams > 0);
    assert!(before.sent_bytes > before.sent_datagrams);
    one.wants(vec![Output::Close {
        connection: at_one,
        reason: CloseReason::NotNeeded,
    }])
    .await;
    two.told(down).await;
    let after = one.driver.traffic();
    assert!(after.sent_bytes >= before.sent_bytes && after.received_bytes >= before.received_bytes);
    assert!(after.sent_datagrams >= before.sent_datagrams);
}

/// A port that nobody has any more.
fn refusing_port() -> SocketAddr {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap()
}

fn knock_at(pod: u8, address: SocketAddr) -> Output {
    Output::Knock {
        uid: uid(pod),
        address,
    }
}

#[tokio::test]
async fn a_refused_knock_is_told_and_a_quiet_one_is_not() {
    let [(one, at_one), (two, _)] = pair().await;
    let alive = two.address;
    one.wants(vec![knock_at(2, alive), knock_at(3, refusing_port())])
        .await;
    let refused = |input: &Input| match input {
        Input::Refused { uid } => Some(*uid),
        _ => None,
    };
    assert_eq!(one.told(refused).await, uid(3));
    // QUIC drops the byte unread: the connection goes on.
    let bytes = vec![7];
    one.wants(vec![Output::Datagram {
        connection: at_one,
        bytes,
    }])
    .await;
    two.told(|input| matches!(input, Input::Datagram { .. }).then_some(()))
        .await;
    tokio::time::sleep(Duration::from_millis(250)).await;
    let count = one.count(|input| matches!(input, Input::Refused { .. }));
    assert_eq!(count.await, 1);
}
