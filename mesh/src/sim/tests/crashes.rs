//! Processes end without a word.

use super::*;

/// Detection is promised in about a second; twice that is too long.
const DETECTION_MAX: Duration = Duration::from_secs(2);

/// Kills the first `dead` nodes and lets the cell find out; prints how long it took.
fn die(members: u16, dead: u16, seed: u64) -> Simulation {
    let mut simulation = settled(seed, members);
    let since = simulation.now();
    let victims: Vec<NodeId> = (1..=dead).map(NodeId).collect();
    let killed = kill(&mut simulation, &victims);
    simulation.run_for(Duration::from_secs(4));
    let survivors = survivors(&simulation, &victims);
    let times = verdict_times(&simulation, since, &survivors, &killed);
    let own: Vec<Duration> = times.into_iter().flatten().collect();
    let (slowest, changes) = (own.iter().max(), simulation.map_changes());
    let change = changes
        .first()
        .map(|change| change.at.saturating_since(since));
    println!("{dead} of {members}: slowest verdict {slowest:?}, map {change:?}");
    // Of many dead the map may tell a survivor of the last one before that report was repaired.
    let told_first = if dead == 1 { 0 } else { survivors.len() / 10 };
    let least = survivors.len() - told_first;
    assert!(own.len() >= least, "{dead} of {members}: {}", own.len());
    let applied = |node: &NodeId| {
        let epoch = simulation
            .mesh(*node)
            .map(|mesh| mesh.signed_map().map().epoch);
        epoch == Some(simulation.record().map().epoch)
    };
    assert!(survivors.iter().all(applied), "{dead} of {members}");
    assert!(*slowest.unwrap() <= DETECTION_MAX, "{dead} of {members}");
    assert_eq!(changes.len(), 1, "{dead} of {members}: {changes:?}");
    assert_eq!(changes[0].removed, victims);
    assert_sound(&simulation);
    simulation
}

#[test]
fn every_survivor_finds_one_dead_process() {
    for members in [2, 3, 4, 5, 10, 30, 100] {
        die(members, 1, 11);
    }
}

#[test]
fn four_of_ten_at_once_are_one_change() {
    for seed in 1..6 {
        let simulation = die(10, 4, seed);
        assert_eq!(simulation.record().map().served_slots(), 16384);
    }
}

/// Whom the operator listens to is among the dead: seed 0 kills all three.
#[test]
fn the_death_of_all_reporters_is_one_change_too() {
    die(10, 4, 0);
}

/// The rest makes strangers of many at once.
#[test]
fn twelve_of_thirty_at_once_are_one_change() {
    for seed in 1..6 {
        die(30, 12, seed);
    }
}

/// What two members say of each other proves nothing, and nobody else is there to ask.
#[test]
fn with_the_operator_away_nothing_is_claimed_in_a_cell_of_two() {
    let mut simulation = settled(5, 2);
    simulation.inflict(&Fault::OperatorDown);
    simulation.run_for(Duration::from_secs(2));
    simulation.inflict(&Fault::Crash(NodeId(1)));
    simulation.run_for(Duration::from_secs(20));
    assert_eq!(verdicts(&simulation), []);
    assert_eq!(simulation.mesh(NodeId(2)).unwrap().members().len(), 2);
    assert_sound(&simulation);
}

/// The mesh finds out by itself; the operator learns it from the mesh when it is back.
#[test]
fn a_crash_while_the_operator_is_away_is_made_good_when_it_is_back() {
    let mut simulation = settled(5, 10);
    simulation.inflict(&Fault::OperatorDown);
    let since = simulation.now();
    let killed = kill(&mut simulation, &[NodeId(4)]);
    simulation.run_for(Duration::from_secs(5));
    let survivors = survivors(&simulation, &[NodeId(4)]);
    let times = verdict_times(&simulation, since, &survivors, &killed);
    assert!(times.iter().flatten().all(|time| *time <= DETECTION_MAX));
    assert_eq!(times.iter().flatten().count(), 9);
    assert!(simulation.map_changes().is_empty());

    simulation.inflict(&Fault::OperatorUp);
    let changed = |simulation: &Simulation| !simulation.map_changes().is_empty();
    let took = simulation.run_until(Duration::from_secs(5), changed);
    println!("operator back: map {took:?}");
    assert!(took.unwrap() <= Duration::from_secs(1));
    assert_eq!(simulation.map_changes()[0].removed, [NodeId(4)]);
    simulation.run_for(Duration::from_secs(35));
    assert_sound(&simulation);
}

/// Faster than anybody notices: one epoch, no verdict, and every slot stays where it is.
#[test]
fn a_quick_restart_is_one_epoch_and_no_verdict() {
    for members in [2, 3, 5, 10, 30] {
        let mut simulation = settled(3, members);
        simulation.inflict(&Fault::Crash(NodeId(2)));
        simulation.run_for(Duration::from_millis(100));
        simulation.inflict(&Fault::Return(NodeId(2)));
        simulation.run_for(Duration::from_secs(35));
        assert_eq!(verdicts(&simulation), [], "n = {members}");
        let changes = simulation.map_changes();
        assert_eq!(changes.len(), 1, "n = {members}: {changes:?}");
        assert_eq!(changes[0].admitted, [NodeId(2)]);
        assert_eq!(changes[0].slots_moved, 0);
        assert_sound(&simulation);
    }
}

/// Half of a cell dies: some of the living observe only dead ones, or one beside them that is not heard either. Their
/// observers answer them, so they are not in doubt, and report what they do not hear.
#[test]
fn whoever_observes_only_the_dead_does_not_doubt_itself() {
    let text = "title half of it\nnodes 100\nnetwork latency 200us jitter 100us loss 1%\nrun 1s\n\
                at 0s false-reports 2%\nat 0s crash some 49\n";
    let scenario = scenario::parse(text).unwrap();
    for seed in [2, 6, 19, 21] {
        let (outcome, _) = scenario::run(&scenario, seed).unwrap();
        let doubts = outcome.reached.0.contains(&scenario::State::SelfDoubt);
        assert!(!doubts, "seed {seed}");
    }
}
