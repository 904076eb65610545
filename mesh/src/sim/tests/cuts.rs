//! Links break.

use std::collections::BTreeSet;

use super::*;
use crate::member::Health;

/// One broken link is no death: it is shown with both ends, and nobody is removed.
#[test]
fn one_link_cut_one_way_is_a_degraded_link() {
    for members in [3, 4, 5, 10] {
        let mut simulation = settled(17, members);
        let (from, to) = (NodeId(1), NodeId(2));
        let ids = [from, to].map(|node| simulation.member_id(node).unwrap());
        simulation.inflict(&Fault::CutOneWay(from, to));
        simulation.run_for(Duration::from_secs(5));
        for node in simulation.node_ids() {
            let mesh = simulation.mesh(node).unwrap();
            assert_eq!(mesh.degraded_links(), [(ids[1], ids[0])]);
            let members = mesh.members();
            let health = members.iter().find(|member| member.id == ids[0]).unwrap();
            assert_eq!(health.health, Health::Suspect);
            assert_eq!(health.reported_by, [ids[1]]);
        }
        // Longer than a connection lives without an answer.
        simulation.run_for(Duration::from_secs(30));
        assert_eq!(verdicts(&simulation), [], "n = {members}");
        simulation.inflict(&Fault::HealLinks);
        simulation.run_for(Duration::from_secs(35));
        assert!(simulation.map_changes().is_empty());
        let mesh = simulation.mesh(NodeId(3)).unwrap();
        assert_eq!(mesh.degraded_links(), [], "healed");
        assert_sound(&simulation);
    }
}

/// The larger part removes the smaller; the smaller claims nothing, and comes back by joining.
#[test]
fn a_minority_is_removed_and_comes_back() {
    for (seed, cut_for_ms) in [(1, 5_000), (2, 15_000), (3, 60_000), (4, 60_000)] {
        let mut simulation = settled(seed, 10);
        let minority = BTreeSet::from([NodeId(2), NodeId(5), NodeId(9)]);
        simulation.inflict(&Fault::Partition(minority.clone()));
        simulation.run_for(Duration::from_millis(cut_for_ms));
        let removed: BTreeSet<NodeId> = simulation
            .map_changes()
            .iter()
            .flat_map(|change| change.removed.clone())
            .collect();
        assert_eq!(removed, minority);
        assert!(
            verdicts(&simulation)
                .iter()
                .all(|by| !minority.contains(by))
        );

        simulation.inflict(&Fault::HealLinks);
        let whole = |simulation: &Simulation| {
            let members = &simulation.record().map().members;
            members.len() == 10
                && simulation
                    .views()
                    .all(|view| view.is_member && view.map_sha256 == *simulation.record().sha256())
        };
        let took = simulation.run_until(Duration::from_secs(40), whole);
        println!("seed {seed}, cut for {cut_for_ms} ms: whole again after {took:?}");
        assert!(took.is_some(), "seed {seed}");
        simulation.run_for(Duration::from_secs(35));
        assert_sound(&simulation);
    }
}

/// Minorities of every kind: also one that has no reason to dial anybody.
#[test]
fn every_minority_finds_its_way_back() {
    for seed in 0..10 {
        let mut simulation = settled(seed, 8);
        let mut by_uid: Vec<NodeId> = simulation.node_ids().collect();
        by_uid.sort_by_key(|node| simulation.member_id(*node).unwrap().uid);
        // Of two members the one with the smaller UID dials: these three dial nobody of the others.
        let minority: BTreeSet<NodeId> = by_uid[5..].iter().copied().collect();
        simulation.inflict(&Fault::Partition(minority));
        simulation.run_for(Duration::from_secs(40));
        simulation.inflict(&Fault::HealLinks);
        simulation.run_for(Duration::from_secs(35));
        assert_sound(&simulation);
    }
}

/// However a cell is cut in two, whichever part the operator is in: only a majority claims anything.
#[test]
fn a_minority_claims_nothing_while_reports_ripen() {
    for seed in 0..seeds(5) {
        for (members, minority) in [(5, 2), (8, 3), (9, 4), (11, 5)] {
            let mut simulation = settled(seed, members);
            let cut_off: BTreeSet<NodeId> = (1..=minority).map(NodeId).collect();
            simulation.inflict(&Fault::Partition(cut_off.clone()));
            simulation.run_for(Duration::from_secs(6));
            let mut claims = verdicts(&simulation);
            claims.retain(|by| cut_off.contains(by));
            assert_eq!(claims, [], "seed {seed}, {minority} of {members}");
            assert_sound(&simulation);
        }
    }
}

/// Members that maps drop because of a cut, nearly in half and with the operator in the smaller part, and because of its
/// end; and how many maps there are.
fn dropped_by_a_cut(settings: Settings, minority: u16) -> (usize, usize, usize) {
    let beats = |count| Duration::from_millis(settings.heartbeat_interval_ms.into()) * count;
    let mut simulation = Simulation::new(settings).unwrap();
    simulation.run_for(beats(15));
    let mut cut_off: BTreeSet<NodeId> = (1..=minority).map(NodeId).collect();
    cut_off.insert(OPERATOR);
    simulation.inflict(&Fault::Partition(cut_off));
    let some = u32::try_from(settings.seed % 50).unwrap();
    simulation.run_for(beats(20) + beats(137) * some / 200);
    let dropped = |changes: &[MapChange]| changes.iter().map(|change| change.removed.len()).sum();
    let before = simulation.map_changes().len();
    let by_the_cut = dropped(simulation.map_changes());
    simulation.inflict(&Fault::HealLinks);
    simulation.run_for(beats(40));
    let by_its_end = dropped(&simulation.map_changes()[before..]);
    (by_the_cut, by_its_end, simulation.map_changes().len())
}

/// Neither while reports come in nor while they are cleared does a map drop anybody, however slow the beats are. At the usual
/// pace there is no map at all; at a slower one a member may join anew that heard nobody for a time not counted in beats.
#[test]
fn the_operator_in_a_minority_drops_nobody() {
    let (mut runs, mut joins, mut wrong) = (0, 0, Vec::new());
    for seed in 0..seeds(2) {
        for (members, minority) in [(3, 1), (5, 2), (8, 3), (16, 7), (50, 24), (100, 48)] {
            for heartbeat_interval_ms in [200, 2000] {
                let settings = Settings {
                    heartbeat_interval_ms,
                    ..Settings::new(seed, members)
                };
                let (by_the_cut, by_its_end, maps) = dropped_by_a_cut(settings, minority);
                runs += 1;
                let is_usual = settings.heartbeat_interval_ms == 200;
                if by_the_cut + by_its_end > 0 || (is_usual && maps > 0) {
                    wrong.push((seed, members, heartbeat_interval_ms, by_the_cut, by_its_end));
                }
                joins += maps;
            }
        }
    }
    println!("{runs} runs, {joins} maps: dropped {wrong:?}");
    assert_eq!(wrong, []);
}
