//! Nothing happens, on a network that loses one packet in a hundred.

use super::*;

#[test]
fn nobody_is_accused() {
    for members in [2, 3, 5, 10, 30] {
        let mut simulation = Simulation::new(Settings::new(7, members)).unwrap();
        simulation.run_for(Duration::from_secs(60));
        let verdicts = simulation
            .events()
            .iter()
            .filter(|record| matches!(record.event, Event::Verdict { .. }));
        assert_eq!(verdicts.count(), 0, "n = {members}");
        assert!(simulation.map_changes().is_empty());
        assert!(simulation.invariants().views.took().is_some());
        assert_sound(&simulation);
        println!("n = {members}: {} inputs", simulation.inputs());
    }
}

/// Nothing but probes passes between the operator and a large cell for minutes.
#[test]
fn the_operator_stays_connected() {
    for members in [4, 10] {
        let mut simulation = settled(7, members);
        for _ in 0..300 {
            simulation.run_for(Duration::from_millis(100));
            let reach = simulation.watch().unwrap().reach();
            assert_eq!(reach, crate::limits::REPORTERS, "n = {members}");
        }
    }
}

#[test]
fn one_seed_is_one_run() {
    let digest = |seed| {
        let mut simulation = settled(seed, 5);
        simulation.inflict(&Fault::Crash(NodeId(2)));
        simulation.run_for(Duration::from_secs(5));
        simulation.trace_digest()
    };
    assert_eq!(digest(1), digest(1));
    assert_ne!(digest(1), digest(2));
}
