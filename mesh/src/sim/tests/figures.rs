//! How fast reports and verdicts travel when many die at once.

use std::collections::BTreeMap;

use super::*;

/// Four hops, each of an offer, a question and an answer, of which one in a hundred is lost and comes 30 ms later; and each
/// survivor has a hundred statements to verify meanwhile, which costs it some 10 ms of its processor.
const SPREAD_P99_MAX: Duration = Duration::from_millis(45);

/// What was measured over many seeds.
#[derive(Debug, Default)]
struct Figures {
    survivors: usize,
    /// Survivors that came to the verdict themselves, before a map told them.
    own_verdicts: usize,
    /// Time from a report until another survivor holds it.
    spread: Vec<Duration>,
    /// Reports that a survivor never held.
    missed: usize,
    /// Time from the deaths to each survivor's own verdict.
    verdicts: Vec<Duration>,
    /// Map changes beyond the one that is needed, or missing.
    odd_changes: usize,
}

fn measure(members: u16, dead: u16, seeds: std::ops::Range<u64>) -> Figures {
    let mut figures = Figures::default();
    for seed in seeds {
        let mut simulation = settled(seed, members);
        let since = simulation.now();
        let victims: Vec<NodeId> = (1..=dead).map(NodeId).collect();
        let killed = kill(&mut simulation, &victims);
        simulation.run_until(Duration::from_secs(5), |simulation| {
            !simulation.map_changes().is_empty()
        });
        simulation.run_for(Duration::from_secs(1));
        assert_sound(&simulation);
        figures.odd_changes += usize::from(simulation.map_changes().len() != 1);
        let survivors: Vec<NodeId> = survivors(&simulation, &victims);
        figures.survivors += survivors.len();
        let times = verdict_times(&simulation, since, &survivors, &killed);
        figures.own_verdicts += times.iter().flatten().count();
        figures.verdicts.extend(times.iter().flatten());
        figures.add_spread(&simulation, since, &survivors);
    }
    figures.spread.sort();
    figures.verdicts.sort();
    figures
}

impl Figures {
    fn add_spread(&mut self, simulation: &Simulation, since: Instant, survivors: &[NodeId]) {
        let mut heard: BTreeMap<(MemberId, MemberId), Vec<Instant>> = BTreeMap::new();
        for record in simulation.events().iter().filter(|r| r.at >= since) {
            if let Event::Suspected { observer, subject } = record.event
                && survivors.contains(&record.node)
            {
                heard
                    .entry((observer, subject))
                    .or_default()
                    .push(record.at);
            }
        }
        for at in heard.values() {
            let first = at[0];
            self.spread
                .extend(at[1..].iter().map(|at| at.saturating_since(first)));
            self.missed += survivors.len() - at.len();
        }
    }
}

impl Figures {
    fn print(&self, what: &str) {
        let three = |sorted: &[Duration]| {
            let [half, most, all] = [50, 99, 100].map(|percent| percentile(sorted, percent));
            format!("p50 {half:?} p99 {most:?} max {all:?}")
        };
        println!(
            "{what}: own verdict before the map {} of {}, after {}; reports spread in {}, {} of {} \
             never; runs with more or less than one map {}",
            self.own_verdicts,
            self.survivors,
            three(&self.verdicts),
            three(&self.spread),
            self.missed,
            self.missed + self.spread.len(),
            self.odd_changes,
        );
    }
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted
        .get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1)))
        .copied()
        .unwrap_or_default()
}

/// A survivor whose neighbours all died must not have to wait until a beat tells it what it missed.
/// (More than half of a hundred need two epochs, so who finds exactly whom is not counted there.)
#[test]
fn news_of_many_deaths_reaches_every_survivor() {
    let thorough = variable("SLOTMESH_SIM_SEEDS");
    for (members, dead, usual) in [(10, 4, 10), (30, 12, 3), (100, 40, 0)] {
        let seeds = thorough.unwrap_or(usual).min(10_000 / u64::from(members));
        let figures = measure(members, dead, 0..seeds);
        figures.print(&format!("{dead} of {members}, {seeds} seeds"));
        if members < 100 {
            assert_eq!(figures.missed, 0);
            assert!(percentile(&figures.spread, 99) <= SPREAD_P99_MAX);
            // Now and then chance lets one of the dead be found so early that it is a change of its own.
            assert!(figures.own_verdicts * 20 >= figures.survivors * 19);
            assert!(figures.odd_changes * 20 <= usize::try_from(seeds).unwrap());
        }
    }
}
