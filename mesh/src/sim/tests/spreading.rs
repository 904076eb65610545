//! How a map spreads: how fast, how often its body arrives, and how often it crosses a zone's border.

use super::*;
use crate::counters::Counters;
use crate::limits;

/// What was measured over some seeds.
#[derive(Debug, Default)]
struct Figures {
    /// Time from publishing until each member applied the map.
    applied: Vec<Duration>,
    /// Bodies received, for each member that applied.
    copies: Vec<f64>,
    crossings: Vec<u64>,
    bytes_each: Vec<u64>,
    missed: usize,
}

/// The usual network of the benchmarks: 0.5 ms there and back, give or take a fifth.
fn network(loss_per_mille: u32) -> NetworkSettings {
    NetworkSettings {
        latency: Duration::from_micros(200),
        jitter: Duration::from_micros(100),
        loss_per_mille,
        ..NetworkSettings::default()
    }
}

fn sum(simulation: &Simulation, count: fn(&Counters) -> u64) -> u64 {
    let leaver = leaver(simulation.settings.members);
    let nodes = simulation.node_ids().filter(|node| *node != leaver);
    let meshes = nodes.filter_map(|node| simulation.mesh(node));
    meshes.map(|mesh| count(mesh.counters())).sum()
}

fn leaver(members: u16) -> NodeId {
    NodeId(members / 2)
}

/// One member leaves; the map without it goes round.
fn change(seed: u64, members: u16, loss_per_mille: u32, figures: &mut Figures) -> Simulation {
    let network = network(loss_per_mille);
    let mut simulation = Simulation::new(Settings {
        network,
        ..Settings::new(seed, members)
    })
    .unwrap();
    simulation.run_for(Duration::from_secs(3));
    assert!(simulation.map_changes().is_empty());
    let counts: [fn(&Counters) -> u64; 3] = [
        |counters| counters.maps_received,
        |counters| counters.maps_received_from_other_zones,
        |counters| counters.map_bytes_sent,
    ];
    let before = counts.map(|count| sum(&simulation, count));
    simulation.inflict(&Fault::Leave(leaver(members)));
    let changed = |simulation: &Simulation| !simulation.map_changes().is_empty();
    simulation
        .run_until(Duration::from_secs(5), changed)
        .unwrap();
    let published = simulation.map_changes()[0].at;
    simulation.run_for(Duration::from_secs(2));
    let others = usize::from(members) - 1;
    let applied = simulation.events().iter().filter(|record| {
        let ours = record.node != OPERATOR && record.node != leaver(members);
        ours && record.at >= published && matches!(record.event, Event::MapApplied { .. })
    });
    let applied: Vec<Duration> = applied.map(|r| r.at.saturating_since(published)).collect();
    figures.missed += others - applied.len();
    figures.applied.extend(applied);
    let [copies, crossings, bytes] = counts.map(|count| sum(&simulation, count));
    figures
        .copies
        .push((copies - before[0]) as f64 / others as f64);
    // The operator's own copies count as well, as if it were in a zone of its own.
    let handed_out = simulation.watch().unwrap().counters().maps_sent;
    figures.crossings.push(crossings - before[1] + handed_out);
    figures.bytes_each.push((bytes - before[2]) / others as u64);
    assert_sound(&simulation);
    simulation
}

impl Figures {
    fn print(&mut self, what: &str) -> (Duration, f64, u64) {
        self.applied.sort();
        let at = |percent: usize| self.applied[(self.applied.len() - 1) * percent / 100];
        let copies = self.copies.iter().sum::<f64>() / self.copies.len() as f64;
        let crossings = self.crossings.iter().max().copied().unwrap_or_default();
        println!(
            "{what}: applied p50 {:?} p99 {:?} all {:?}; copies of the body {copies:.3}; crossings at most \
             {crossings}; bytes of maps sent by each {:?}",
            at(50),
            at(99),
            at(100),
            self.bytes_each,
        );
        assert_eq!(self.missed, 0);
        (at(99), copies, crossings)
    }
}

/// Rows P4 and P4z of the protocol's benchmarks, with three zones of a third each.
#[test]
fn a_map_is_everywhere_at_once_and_arrives_once() {
    const CROSSINGS_MAX: u64 = 10;
    const COPIES_MAX: f64 = 2.0;
    for (members, loss, p99_max_ms, usual) in [
        (300, 10, 25, 2),
        (300, 50, 250, 2),
        (1000, 10, 25, 1),
        (1000, 50, 250, 1),
    ] {
        let mut figures = Figures::default();
        for seed in 0..seeds(usual) {
            change(seed, members, loss, &mut figures);
        }
        let (p99, copies, crossings) =
            figures.print(&format!("{members} members, {loss}/1000 lost"));
        assert!(p99 <= Duration::from_millis(p99_max_ms), "{p99:?}");
        assert!(copies <= COPIES_MAX, "{copies}");
        assert!(crossings <= CROSSINGS_MAX, "{crossings}");
    }
}

/// The operator hears how far the map came, and what it hears is what happened.
#[test]
fn the_operator_learns_how_fast_a_map_came_into_force() {
    // What a lost packet costs the push to a reporter nobody measures: the age travels in it.
    for (seed, loss) in (0..seeds(3)).flat_map(|seed| [(seed, 0), (seed, 10)]) {
        let mut figures = Figures::default();
        let simulation = change(seed, 60, loss, &mut figures);
        let told = simulation.watch().unwrap().convergence().unwrap();
        figures.applied.sort();
        assert_eq!(
            (told.members, told.applied()),
            (59, 59),
            "seed {seed}: {told:?}"
        );
        let events = simulation.events().iter();
        let converged = events.filter(|record| matches!(record.event, Event::Converged(_)));
        assert_eq!(converged.count(), 1, "seed {seed}: told once");
        for percent in [50, 99, 100] {
            let really = figures.applied[(59_usize * percent).div_ceil(100) - 1];
            let said = told.reached(percent).unwrap();
            println!("seed {seed}, {loss}/1000 lost, {percent} %: {really:?}, said {said:?}");
            // A bucket's end; a hop's own way is seen only as far as it is half of an exchange.
            assert!(loss > 0 || said + Duration::from_millis(1) >= really);
            assert!(said <= really * 3 + Duration::from_millis(5));
        }
    }
}

/// How often a rumour arrives at a member, in small cells and large ones, when one dies and when a few do.
#[test]
fn a_rumour_arrives_at_most_twice_on_average() {
    // At 5 % loss a few are lost on both ways, and repairing them brings a few twice.
    let cases = [
        (10, 1, 10, 2.0),
        (10, 3, 10, 2.0),
        (30, 3, 10, 2.0),
        (300, 1, 10, 2.0),
        (300, 1, 50, 2.1),
        (300, 2, 10, 2.0),
        (300, 3, 10, 2.0),
    ];
    for (members, dead, loss, copies_max) in cases {
        let network = network(loss);
        let mut simulation = Simulation::new(Settings {
            network,
            ..Settings::new(5, members)
        })
        .unwrap();
        simulation.run_for(Duration::from_secs(3));
        let counts: [fn(&Counters) -> u64; 2] = [
            |counters| counters.evidence_copies,
            |counters| counters.evidence_received,
        ];
        let before = counts.map(|count| sum(&simulation, count));
        let dying: Vec<NodeId> = (1..=dead).map(NodeId).collect();
        kill(&mut simulation, &dying);
        simulation.run_for(Duration::from_millis(1200));
        let [copies, news] = counts.map(|count| sum(&simulation, count));
        let (copies, news) = (copies - before[0], news - before[1]);
        let mean = copies as f64 / news as f64;
        let living = u64::from(members - dead);
        let observers = (u64::from(dead) * limits::RINGS as u64).min(living);
        println!(
            "{dead} of {members} die, {loss}/1000 lost: {news} news in {copies} copies, {mean:.3} each"
        );
        assert!(
            10 * news >= 9 * (observers - 1) * (living - 1),
            "all hear of nearly all who observed them: {news}"
        );
        assert!(mean <= copies_max, "{mean}");
    }
}

/// What members who offer statements that nobody made may add to the time until many dead are removed.
const HELD_UP_MAX: Duration = Duration::from_millis(500);

/// Members that offer statements which nobody made hold up the news of many deaths by little.
#[test]
fn false_offers_hold_up_no_verdict() {
    for seed in 0..seeds(2) {
        let honest = time_to_remove(seed, &[]).expect("all are removed");
        let liars: Vec<NodeId> = (41..=45).map(NodeId).collect();
        let took = time_to_remove(seed, &liars).expect("all are removed");
        println!(
            "seed {seed}: the last of twenty is removed after {took:?}; without liars {honest:?}"
        );
        assert!(took <= honest + HELD_UP_MAX, "seed {seed}");
    }
}

/// Twenty of sixty die while these offer what they never send.
fn time_to_remove(seed: u64, liars: &[NodeId]) -> Option<Duration> {
    let mut simulation = settled(seed, 60);
    for liar in liars {
        simulation.inflict(&Fault::Turn(*liar, Hostility::FalseOffers));
    }
    simulation.run_for(Duration::from_secs(1));
    let victims: Vec<NodeId> = (1..=20).map(NodeId).collect();
    let killed = kill(&mut simulation, &victims);
    let are_gone = |simulation: &Simulation| {
        let map = simulation.record().map();
        let listed = |id: &MemberId| map.members.iter().any(|member| member.id() == *id);
        !killed.iter().any(listed)
    };
    let took = simulation.run_until(Duration::from_secs(4), are_gone);
    assert_sound(&simulation);
    took
}
