//! What fails an edge besides silence, and who is not to be believed.

use super::*;

/// Nothing that others send arrives at that node.
fn deafen(simulation: &mut Simulation, node: NodeId) {
    for other in simulation.node_ids().filter(|other| *other != node) {
        simulation.inflict(&Fault::CutOneWay(other, node));
    }
    simulation.inflict(&Fault::CutOneWay(OPERATOR, node));
}

/// Its beats arrive everywhere, so only it knows; it blames nobody, and says so.
#[test]
fn a_deaf_member_is_found_and_blames_nobody() {
    for (seed, members) in [(1, 5), (2, 10), (3, 30), (4, 30)] {
        let mut simulation = settled(seed, members);
        let (deaf, since) = (NodeId(1), simulation.now());
        let id = simulation.member_id(deaf).unwrap();
        deafen(&mut simulation, deaf);
        simulation.run_for(Duration::from_secs(5));
        let others = survivors(&simulation, &[deaf]);
        let times = verdict_times(&simulation, since, &others, &[id]);
        let slowest = times.iter().flatten().max();
        println!("deaf, n = {members}: slowest verdict {slowest:?}");
        assert_eq!(
            times.iter().flatten().count(),
            others.len(),
            "n = {members}"
        );
        let blames = |record: &&Record| matches!(&record.event, Event::Suspected { observer, .. } if *observer == id);
        assert_eq!(simulation.events().iter().find(blames), None);
        let doubts =
            |record: &&Record| record.node == deaf && record.event == Event::SelfDoubt { on: true };
        assert!(simulation.events().iter().any(|record| doubts(&record)));
        assert_eq!(simulation.map_changes()[0].removed, [deaf]);
        assert_sound(&simulation);
    }
}

/// Half of what it hears is dead: who still hears somebody is not deaf, and goes on judging.
#[test]
fn with_nearly_half_dead_nobody_takes_itself_for_deaf() {
    for seed in 0..4 {
        let mut simulation = settled(seed, 30);
        let victims: Vec<NodeId> = (1..=14).map(NodeId).collect();
        kill(&mut simulation, &victims);
        simulation.run_for(Duration::from_secs(6));
        let living = survivors(&simulation, &victims);
        for node in &living {
            let mesh = simulation.mesh(*node).unwrap();
            assert!(!mesh.doubts_itself(), "seed {seed}, {node}");
        }
        let removed: usize = simulation
            .map_changes()
            .iter()
            .map(|it| it.removed.len())
            .sum();
        assert_eq!(removed, victims.len(), "seed {seed}");
        assert_sound(&simulation);
    }
}

/// Late by more than half an interval: in doubt, and by itself well again.
#[test]
fn a_late_member_doubts_itself_for_three_beats() {
    let mut simulation = settled(7, 10);
    let late = NodeId(1);
    simulation.inflict(&Fault::Pause(late));
    simulation.run_for(Duration::from_millis(400));
    simulation.inflict(&Fault::Resume(late));
    simulation.run_for(Duration::from_millis(300));
    assert!(simulation.mesh(late).unwrap().doubts_itself());
    simulation.run_for(Duration::from_secs(1));
    assert!(!simulation.mesh(late).unwrap().doubts_itself());
    assert_eq!(verdicts(&simulation), []);
}

/// In cells of up to three the operator's own probes decide, and they are no faster than before.
#[test]
fn where_the_address_outlives_the_process_a_death_is_found_in_a_third_of_a_second() {
    for (seed, members) in [(2, 10), (3, 30), (4, 100)] {
        let mut simulation = settled(seed, members);
        let (victim, since) = (NodeId(1), simulation.now());
        simulation.let_address_outlive(victim);
        let killed = kill(&mut simulation, &[victim]);
        simulation.run_for(Duration::from_secs(2));
        let others = survivors(&simulation, &[victim]);
        let times = verdict_times(&simulation, since, &others, &killed);
        let slowest = times.iter().flatten().max();
        println!("refused, n = {members}: slowest verdict {slowest:?}");
        assert_eq!(
            times.iter().flatten().count(),
            others.len(),
            "n = {members}"
        );
        assert!(
            *slowest.unwrap() <= Duration::from_millis(500),
            "n = {members}"
        );
        assert_sound(&simulation);
    }
}
