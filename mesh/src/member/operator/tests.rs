#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use super::*;
use crate::identity::Keypair;
use crate::machine::{Input, Machine, Output, PeerIdentity};
use crate::member::settled::{agent, config, connected, operator};
use crate::signed::SignedMap;
use slotmesh_map::fixture::{keypair, map};

const OPERATOR: ConnectionId = ConnectionId(1);
const PEER: ConnectionId = ConnectionId(2);

fn member(n: u16) -> Mesh {
    let first = SignedMap::sign(map(2), &operator()).unwrap();
    Mesh::new(config(n), first, Instant::ZERO).unwrap()
}

fn connect(mesh: &mut Mesh, connection: ConnectionId, peer: PeerIdentity) {
    mesh.handle(Instant::ZERO, connected(connection, peer));
}

fn told(number: u64, last: u8, key: &Keypair) -> JoinAddress {
    let at = SocketAddr::from(([10, 0, 0, last], 7401));
    JoinAddress::sign(map(2).cluster, number, at, key)
}

fn hear(mesh: &mut Mesh, connection: ConnectionId, told: JoinAddress) {
    let bytes = Frame::JoinAddress(told).encode();
    mesh.handle(Instant::ZERO, Input::Frame { connection, bytes });
}

/// What it says to the peer about the operator, and the addresses that it tells its shell.
fn said(mesh: &mut Mesh) -> (Vec<JoinAddress>, Vec<SocketAddr>) {
    let (mut frames, mut events) = (Vec::new(), Vec::new());
    while let Some(output) = mesh.poll_output() {
        match output {
            Output::Frame { connection, bytes } if connection == PEER => {
                if let Ok(Frame::JoinAddress(told)) = Frame::decode(&bytes) {
                    frames.push(told);
                }
            }
            Output::Event(Event::JoinAddress { address }) => events.push(address),
            _ => {}
        }
    }
    (frames, events)
}

#[test]
fn news_of_the_operator_are_told_and_passed_on_once() {
    let mut mesh = member(0);
    connect(&mut mesh, OPERATOR, PeerIdentity::Operator);
    connect(&mut mesh, PEER, agent(1));
    assert_eq!(said(&mut mesh), (vec![], vec![]));
    let news = told(5, 7, &operator());
    hear(&mut mesh, OPERATOR, news);
    assert_eq!(said(&mut mesh), (vec![news], vec![news.address()]));
    hear(&mut mesh, OPERATOR, news);
    hear(&mut mesh, OPERATOR, told(4, 6, &operator()));
    assert_eq!(said(&mut mesh), (vec![], vec![]), "it is no news any more");
}

#[test]
fn whoever_connects_is_told() {
    let mut mesh = member(0);
    connect(&mut mesh, OPERATOR, PeerIdentity::Operator);
    let news = told(5, 7, &operator());
    hear(&mut mesh, OPERATOR, news);
    said(&mut mesh);
    connect(&mut mesh, PEER, agent(1));
    assert_eq!(said(&mut mesh).0, [news]);
}

#[test]
fn members_pass_it_on_and_nobody_makes_it_up() {
    let mut mesh = member(0);
    connect(&mut mesh, PEER, agent(1));
    said(&mut mesh);
    hear(&mut mesh, PEER, told(9, 9, &keypair(1)));
    assert_eq!(said(&mut mesh).1, []);
    let news = told(5, 7, &operator());
    hear(&mut mesh, PEER, news);
    assert_eq!(said(&mut mesh), (vec![], vec![news.address()]));

    // A stranger is not listened to.
    connect(&mut mesh, ConnectionId(3), agent(40));
    hear(&mut mesh, ConnectionId(3), told(6, 8, &operator()));
    assert_eq!(said(&mut mesh).1, []);
}

/// An operator whose clock is behind that of the one before.
#[test]
fn an_operator_that_tells_less_than_is_known_is_told_what_is() {
    let mut mesh = member(0);
    connect(&mut mesh, PEER, agent(1));
    let newest = told(9, 7, &operator());
    hear(&mut mesh, PEER, newest);
    connect(&mut mesh, OPERATOR, PeerIdentity::Operator);
    said(&mut mesh);
    let mut answers = |told| {
        hear(&mut mesh, OPERATOR, told);
        let outputs = std::iter::from_fn(|| mesh.poll_output());
        let to_it = outputs.filter_map(|output| match output {
            Output::Frame { connection, bytes } if connection == OPERATOR => Some(bytes),
            _ => None,
        });
        to_it.collect::<Vec<_>>()
    };
    let frame = Frame::JoinAddress(newest).encode();
    assert_eq!(answers(told(5, 8, &operator())), [frame]);
    assert_eq!(answers(newest), [[0; 0]; 0]);
    assert_eq!(answers(told(10, 8, &operator())), [[0; 0]; 0]);
}
