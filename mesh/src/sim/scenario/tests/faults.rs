//! Each fault by itself: that it does what it says, and what follows from it.

use super::*;
use crate::sim::{NodeId, Simulation};

/// What came of a scenario of so many nodes, in which nothing else is lost.
fn outcome(nodes: u16, lines: &str) -> (Outcome, Simulation) {
    let text = format!(
        "title a fault\nnodes {nodes}\nadmission off\nrun 20s\nnetwork latency 200us jitter 100us loss 0%\n{lines}"
    );
    let scenario = parse(&text).unwrap();
    run(&scenario, 5).unwrap()
}

fn broken(nodes: u16, lines: &str) -> Vec<String> {
    outcome(nodes, lines).0.broken
}

fn beats(simulation: &Simulation) -> (u64, u64) {
    let meshes = || {
        let nodes = simulation.node_ids();
        nodes.filter_map(|node| simulation.mesh(node))
    };
    let sent = meshes().map(|mesh| mesh.counters().beats_sent).sum();
    let received = meshes().map(|mesh| mesh.counters().beats_received).sum();
    (sent, received)
}

#[test]
fn whoever_is_not_heard_or_does_not_hear_is_removed() {
    for fault in [
        "mute",
        "deaf",
        "lose-both 70%",
        "lose-out 80%",
        "lose-in 80%",
    ] {
        let lines = format!("at 0s {fault} 4\nhold exactly faulty removed within 5s\n");
        assert_eq!(broken(12, &lines), Vec::<String>::new(), "{fault}");
    }
}

#[test]
fn a_line_that_loses_little_is_left_alone() {
    let lines = "at 0s lose-both 10% 4\nhold nobody removed\nhold settled at end\n";
    let (outcome, simulation) = outcome(12, lines);
    // Of twelve members one loses a tenth of what it sends and of what it gets.
    let (sent, received) = beats(&simulation);
    let lost = (sent - received) * 1000 / sent;
    assert!((10..25).contains(&lost), "{lost} of 1000");
    // The network is not whole at the end, so nothing has to be settled.
    assert_eq!(outcome.removals, []);
}

#[test]
fn without_an_operator_nobody_is_removed_and_then_all_at_once() {
    let lines = "at 0s for 6s operator-down\nat 1s crash 4\nat 2s crash 9\n\
                 hold exactly crashed removed within 7s\nhold changes at-most 1\n";
    let (outcome, _) = outcome(12, lines);
    assert_eq!(outcome.broken, Vec::<String>::new());
    let after = |(_, after): &(NodeId, Duration)| *after > Duration::from_secs(6);
    assert_eq!(outcome.removals.iter().filter(|it| after(it)).count(), 2);
    // They were found long before.
    let last = outcome.agreed_after.last().copied();
    assert!(
        last.is_some_and(|last| last < Duration::from_secs(4)),
        "{last:?}"
    );
}

#[test]
fn copies_and_late_packets_change_nothing_but_the_count() {
    let holds = "at 2s crash 4\nhold exactly crashed removed within 1500ms\nhold all agree within 1200ms\n\
                 hold settled at end\n";
    let (plain, usual) = outcome(12, holds);
    assert_eq!(plain.broken, Vec::<String>::new());
    let (sent, received) = beats(&usual);
    // What the dead one sent is not counted.
    assert!(received <= sent + sent / 50, "{received} of {sent}");
    for (quality, copies) in [("duplicate 50%", true), ("reorder 50%", false)] {
        let network = format!("latency 200us jitter 100us loss 0% {quality}");
        let text =
            format!("title a fault\nnodes 12\nadmission off\nrun 15s\nnetwork {network}\n{holds}");
        let (outcome, simulation) = run(&parse(&text).unwrap(), 5).unwrap();
        assert_eq!(outcome.broken, Vec::<String>::new(), "{quality}");
        assert_ne!(outcome.digest, plain.digest, "{quality}");
        let (sent, received) = beats(&simulation);
        assert_eq!(received > sent * 14 / 10, copies, "{received} of {sent}");
    }
}

/// Each hostile member is refused for what it does; where nothing is refused, what it did is seen.
#[test]
fn each_hostility_is_seen() {
    for (hostility, state) in [
        ("accuse", "peeled"),
        ("replay", "refused-NotNewer"),
        ("old-incarnations", "refused-EvidenceBudget"),
        ("huge-frames", "refused-WireMalformed"),
        ("corrupted-frames", "refused-WireKind"),
        ("false-offers", "wanted-full"),
        ("false-hellos", "refused-MapRequestAgain"),
        ("false-counts", "refused-AppliedBeyondMembers"),
        ("forged-maps", "refused-BadMapSignature"),
        ("forged-addresses", "refused-BadJoinAddress"),
        ("asks", "refused-StatementsAskedTooOften"),
    ] {
        // Reports and a death give it something to hear, and to ask for.
        let lines = format!(
            "at 0s {hostility} 4\nat 0s false-reports 2%\nat 1s crash 7\nhold exactly crashed removed within 2s\n"
        );
        let (outcome, _) = outcome(12, &lines);
        let state = State::of(state).unwrap();
        assert!(
            outcome.reached.0.contains(&state),
            "{hostility}: {:?}",
            outcome.reached
        );
        let promised = format!("{:?}", outcome.broken).contains("removed");
        assert!(!promised, "{hostility}: {:?}", outcome.broken);
    }
}

#[test]
fn a_flood_of_probes_is_answered_and_harms_nobody() {
    let lines = "at 0s probes 4\nat 1s crash 7\nhold exactly crashed removed within 2s\n";
    let (outcome, simulation) = outcome(12, lines);
    assert_eq!(outcome.broken, Vec::<String>::new());
    let answered = |node| {
        simulation
            .mesh(NodeId(node))
            .unwrap()
            .counters()
            .probes_answered
    };
    assert!(answered(1) > 20_000, "{}", answered(1));
}
