//! What a member says about statements, word by word.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use slotmesh_map::fixture::{keypair, map};

use super::super::tests::{ONE, THREE, at, frames, hear, member_of};
use super::*;
use crate::graph::Graph;
use crate::machine::{Input, Machine, PeerIdentity};
use crate::member::settled::{self, Subject, agent, connected};

/// The operator's connection, beside one to each member.
const OPERATOR: ConnectionId = ConnectionId(MEMBERS as u64);
const MEMBERS: u16 = 31;

/// That member reports so many of its subjects, but none of those that take part here; and its line in an offer.
fn statement(signer: u16, reports: usize, sequence: u64) -> (Evidence, SummaryEntry) {
    let map = map(MEMBERS);
    let id = |n: u16| map.members[usize::from(n)].id();
    let present = [1, 2, 3].map(|n| id(n).uid);
    let graph = Graph::of(&map);
    let subjects = graph.subjects(id(signer).uid).iter();
    let absent = subjects.filter(|uid| !present.contains(uid)).take(reports);
    let reported: Vec<_> = absent.map(|uid| map.member(*uid).unwrap().id()).collect();
    assert_eq!(reported.len(), reports);
    let key = keypair(signer);
    let said = Evidence::sign(&map, id(signer), &reported, false, sequence, &key);
    let entry = SummaryEntry::of(&said);
    (said, entry)
}

fn wants(reply: bool, of: &[SummaryEntry]) -> Frame {
    let signers = of.iter().map(|entry| entry.signer).collect();
    Frame::Wants { reply, signers }
}

#[test]
fn statements_of_others_are_sent_on_unasked_while_one_is_reported_and_offered_while_more_are() {
    let mut subject = Subject::settled_of(MEMBERS);
    let mesh = &mut subject.mesh;
    let now = at(settled::SETTLED_MS);
    mesh.handle(now, connected(OPERATOR, PeerIdentity::Operator));
    frames(mesh);
    // Operators are told all. What the others are told, and the frame in full.
    let passed_on = |mesh: &mut Mesh, said: &Evidence| {
        hear(mesh, now, ONE, &Frame::Evidence(vec![said.clone()]));
        let mut told = frames(mesh);
        let in_full = Frame::Evidence(vec![said.clone()]);
        let operator = told
            .iter()
            .position(|it| *it == (OPERATOR, in_full.clone()));
        told.remove(operator.unwrap());
        assert!(told.len() >= limits::FANOUT, "{told:?}");
        (told, in_full)
    };

    let (one, _) = statement(4, 1, 1);
    let (told, in_full) = passed_on(mesh, &one);
    assert!(told.iter().all(|(_, frame)| *frame == in_full), "{told:?}");

    let (more, entry) = statement(4, 2, 2);
    let (told, in_full) = passed_on(mesh, &more);
    let offer = Frame::Offer(vec![entry]);
    assert!(told.iter().all(|(_, frame)| *frame == offer), "{told:?}");
    let (_, unknown) = statement(5, 0, 1);
    hear(mesh, now, THREE, &wants(false, &[unknown, entry]));
    assert_eq!(frames(mesh), [(THREE, in_full)]);
}

#[test]
fn what_is_offered_and_not_held_is_asked_for_and_of_another_when_it_does_not_come() {
    let mut mesh = member_of(MEMBERS);
    let (held, known) = statement(4, 1, 2);
    hear(&mut mesh, at(10), ONE, &Frame::Evidence(vec![held]));
    frames(&mut mesh);
    let (_, older) = statement(4, 1, 1);
    let (news, unknown) = statement(6, 1, 1);
    let offer = Frame::Offer(vec![known, older, unknown]);
    hear(&mut mesh, at(11), ONE, &offer);
    let wants = wants(false, &[unknown]);
    assert_eq!(frames(&mut mesh), [(ONE, wants.clone())]);
    hear(&mut mesh, at(12), THREE, &Frame::Offer(vec![unknown]));
    assert_eq!(frames(&mut mesh), [], "it was asked for");
    let due = at(11) + limits::WANTED_PATIENCE;
    assert!(mesh.next_deadline().unwrap() <= due);
    mesh.handle(due, Input::Timer);
    assert_eq!(frames(&mut mesh), [(THREE, wants)]);
    hear(&mut mesh, at(70), THREE, &Frame::Evidence(vec![news]));
    assert_eq!(mesh.loads().wanted, 0);
}

#[test]
fn a_summary_is_answered_by_what_is_not_in_it_and_by_what_it_has_more_of() {
    let mut mesh = member_of(MEMBERS);
    let (held, known) = statement(4, 1, 2);
    hear(&mut mesh, at(10), ONE, &Frame::Evidence(vec![held.clone()]));
    frames(&mut mesh);
    let (_, unknown) = statement(6, 1, 1);
    hear(&mut mesh, at(20), THREE, &Frame::Summary(vec![unknown]));
    let answer = [Frame::Evidence(vec![held]), wants(true, &[unknown])];
    assert_eq!(frames(&mut mesh), answer.map(|frame| (THREE, frame)));
    hear(&mut mesh, at(21), ONE, &Frame::Summary(vec![known]));
    assert_eq!(
        frames(&mut mesh),
        [(ONE, wants(true, &[]))],
        "an answer in any case"
    );
}

/// A frame of tags costs its sender little, and the statements that they stand for are ten times as long.
#[test]
fn what_is_asked_for_again_and_again_is_sent_so_often_only() {
    let mut mesh = member_of(MEMBERS);
    let (said, entry) = statement(4, 1, 1);
    hear(&mut mesh, at(10), ONE, &Frame::Evidence(vec![said.clone()]));
    frames(&mut mesh);
    let told = |mesh: &mut Mesh, now| {
        hear(mesh, now, THREE, &wants(false, &[entry]));
        frames(mesh).contains(&(THREE, Frame::Evidence(vec![said.clone()])))
    };
    let burst = limits::SERVED_BURST;
    let sent = (0..2 * burst).filter(|_| told(&mut mesh, at(100)));
    assert_eq!(sent.count(), burst as usize);
    let refused = &mesh.counters().refused;
    assert_eq!(refused["StatementsAskedTooOften"], u64::from(burst));
    assert!(told(&mut mesh, at(100) + limits::SERVED_REFILL));
}

/// However often it connects, and asks for all that there is.
#[test]
fn a_process_that_connects_again_and_again_is_sent_no_more_of_them() {
    let mut mesh = member_of(MEMBERS);
    let said = (4..24).map(|signer| statement(signer, 1, 1).0).collect();
    hear(&mut mesh, at(10), ONE, &Frame::Evidence(said));
    frames(&mut mesh);
    let (mut sent, mut summaries) = (0, 0);
    for connection in (100..300).map(ConnectionId) {
        mesh.handle(at(100), connected(connection, agent(3)));
        hear(&mut mesh, at(100), connection, &Frame::Summary(Vec::new()));
        for (to, frame) in frames(&mut mesh) {
            match frame {
                Frame::Evidence(said) if to == connection => sent += said.len(),
                Frame::Summary(_) if to == connection => summaries += 1,
                _ => {}
            }
        }
        mesh.send_summary(at(100), connection);
        if connection.0.is_multiple_of(2) {
            let reason = crate::machine::Disconnect::ClosedByPeer;
            mesh.handle(at(100), Input::Disconnected { connection, reason });
        }
    }
    assert_eq!(sent, limits::SERVED_BURST as usize, "of 4000");
    assert!(summaries <= 1, "{summaries}");
}
