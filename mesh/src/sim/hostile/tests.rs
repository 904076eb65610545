#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use crate::machine::Input;
use crate::sim::Settings;
use crate::sim::processor::VERIFY_MICROS;

/// How long a member is busy with a frame.
fn takes(simulation: &mut Simulation, bytes: Vec<u8>) -> Duration {
    let (node, idle) = (NodeId(2), Duration::from_secs(1));
    let process = simulation.process_of(node);
    let connection = *simulation.connections_of(process).first().unwrap();
    simulation.run_until(idle, |it| !it.is_busy(node)).unwrap();
    let begin = simulation.now();
    simulation.give(node, Input::Frame { connection, bytes });
    let end = simulation.idle_at(node).unwrap();
    end.saturating_since(begin)
}

/// Of a storm of forged statements the processor has as much work as of one of true ones.
#[test]
fn a_signature_that_does_not_hold_takes_as_long_to_verify() {
    let mut simulation = Simulation::new(Settings::new(1, 3)).unwrap();
    simulation.run_for(Duration::from_secs(3));
    let empty = Frame::Evidence(Vec::new()).encode();
    let told = simulation.accusation(NodeId(1), 5).unwrap();
    let Ok(Frame::Evidence(mut evidence)) = Frame::decode(&told) else {
        panic!("no evidence");
    };
    for item in &mut evidence {
        item.sequence += 1;
    }
    let forged = Frame::Evidence(evidence).encode();
    let read = takes(&mut simulation, empty);
    let verified = takes(&mut simulation, forged);
    let refused = &simulation.mesh(NodeId(2)).unwrap().counters().refused;
    assert_eq!(refused.get("EvidenceBadSignature"), Some(&1));
    // A longer frame takes a few microseconds more to read.
    let more = (verified - read).as_micros();
    let verify = u128::from(VERIFY_MICROS);
    assert!((verify..verify + 10).contains(&more), "{more} us");
}
