//! A process ends without a word.

use super::*;

/// Detection is promised in about a second; twice that is too long.
const DETECTION_MAX: Duration = Duration::from_secs(2);

/// Time from a fault until each of these nodes came to a verdict on exactly those members.
fn verdict_times(
    simulation: &Simulation,
    since: Instant,
    on: &[NodeId],
    dead: &[MemberId],
) -> Vec<Option<Duration>> {
    let first = |node: &NodeId| {
        let mut own = simulation
            .events()
            .iter()
            .filter(|r| r.node == *node && r.at >= since);
        let found = own.find(
            |record| matches!(&record.event, Event::Verdict { failed, .. } if failed == dead),
        );
        found.map(|record| record.at.saturating_since(since))
    };
    on.iter().map(first).collect()
}

#[test]
fn every_survivor_finds_one_dead_process() {
    for members in [3, 4, 5, 10, 30, 100] {
        let mut simulation = settled(11, members);
        let victim = NodeId(2);
        let dead = vec![simulation.member_id(victim).unwrap()];
        let since = simulation.now();
        simulation.inflict(&Fault::Crash(victim));
        simulation.run_for(Duration::from_secs(4));
        let survivors: Vec<NodeId> = simulation.node_ids().filter(|n| *n != victim).collect();
        let times = verdict_times(&simulation, since, &survivors, &dead);
        let slowest = times.iter().flatten().max();
        let own = times.iter().flatten().count();
        println!(
            "n = {members}: slowest verdict {slowest:?}, own {own}/{}, changes {:?}",
            survivors.len(),
            simulation
                .map_changes()
                .iter()
                .map(|c| (c.at.saturating_since(since), c.removed.clone()))
                .collect::<Vec<_>>()
        );
        assert!(*slowest.unwrap() <= DETECTION_MAX);
        assert_sound(&simulation);
    }
}

#[test]
fn four_of_ten() {
    let (mut total, mut own) = (0, 0);
    for seed in 0..20 {
        let mut simulation = settled(seed, 10);
        let victims: Vec<NodeId> = (1..=4).map(NodeId).collect();
        let mut dead: Vec<MemberId> = victims
            .iter()
            .map(|v| simulation.member_id(*v).unwrap())
            .collect();
        dead.sort();
        let since = simulation.now();
        for victim in &victims {
            simulation.inflict(&Fault::Crash(*victim));
        }
        simulation.run_for(Duration::from_secs(5));
        let survivors: Vec<NodeId> = simulation
            .node_ids()
            .filter(|n| !victims.contains(n))
            .collect();
        let times = verdict_times(&simulation, since, &survivors, &dead);
        total += survivors.len();
        own += times.iter().flatten().count();
        println!(
            "seed {seed}: {times:?}, changes {:?}",
            simulation
                .map_changes()
                .iter()
                .map(|c| (c.at.saturating_since(since), c.removed.clone()))
                .collect::<Vec<_>>()
        );
        assert_sound(&simulation);
    }
    println!("own {own} of {total}");
}
