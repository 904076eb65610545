//! Many seeds on all cores.

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use slotmesh_mesh::sim::scenario::{self, Outcome, Scenario, State};

/// Broken promises that are printed of a seed.
const BROKEN_SHOWN: usize = 4;
/// Pace of progress where nobody watches a terminal.
const PROGRESS_PACE: Duration = Duration::from_secs(10);

/// Runs each scenario with seeds `first` and on; says whether all held.
pub fn sweep(names: &[String], first: u64, seeds: u64, jobs: Option<usize>) -> Result<bool> {
    let all: Vec<String> = if names.is_empty() {
        let built_in = crate::scenarios::BUILT_IN.iter();
        let fits = |text: &str| slotmesh_mesh::sim::scenario::parse(text).is_ok();
        built_in
            .filter(|(_, text)| fits(text))
            .map(|(name, _)| (*name).to_owned())
            .collect()
    } else {
        names.to_vec()
    };
    let mut held = true;
    for name in &all {
        let scenario = crate::scenarios::load(name)?;
        let begin = Instant::now();
        let outcomes = outcomes(name, &scenario, first, seeds, jobs)?;
        held &= summary(name, &scenario, &outcomes, begin.elapsed());
    }
    Ok(held)
}

/// What all seeds came to, in the order of seeds.
pub fn outcomes(
    name: &str,
    scenario: &Scenario,
    first: u64,
    seeds: u64,
    jobs: Option<usize>,
) -> Result<Vec<Outcome>> {
    let count = usize::try_from(seeds)?;
    let run = |number: usize| Ok(scenario::run(scenario, first + number as u64)?.0);
    on_all_cores(name, "seeds", count, jobs, run, |outcome| {
        !outcome.broken.is_empty()
    })
}

/// Does something so many times, on all cores unless told otherwise, with progress; what came of each, in order.
pub fn on_all_cores<T: Send>(
    name: &str,
    what: &str,
    count: usize,
    jobs: Option<usize>,
    work: impl Fn(usize) -> Result<T> + Sync,
    is_failed: impl Fn(&T) -> bool + Sync,
) -> Result<Vec<T>> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = jobs.unwrap_or(cores).clamp(1, count.max(1));
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, T)>> = Mutex::new(Vec::with_capacity(count));
    let progress = Progress::new(name, what, count);
    let worker = || -> Result<()> {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return Ok(());
            }
            let result = work(number)?;
            let mut done = done
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            done.push((number, result));
            let failed = || done.iter().filter(|(_, result)| is_failed(result)).count();
            progress.show(done.len(), failed);
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(worker)).collect();
        workers
            .into_iter()
            .try_for_each(|worker| match worker.join() {
                Ok(result) => result,
                Err(_) => Err(anyhow::anyhow!("a run of {name} panicked: see above")),
            })
    })?;
    progress.clear();
    let mut done = done
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    done.sort_by_key(|(number, _)| *number);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}

fn summary(name: &str, scenario: &Scenario, outcomes: &[Outcome], took: Duration) -> bool {
    let failed: Vec<&Outcome> = outcomes.iter().filter(|o| !o.broken.is_empty()).collect();
    let came: BTreeSet<State> = outcomes.iter().flat_map(|o| o.reached.0.clone()).collect();
    let missed: Vec<String> = scenario
        .reach
        .iter()
        .filter(|state| !came.contains(state))
        .map(|state| state.name())
        .collect();
    let held = failed.is_empty() && missed.is_empty();
    println!(
        "{:<22} {:>4} seeds in {:>6.1} s: {}",
        name,
        outcomes.len(),
        took.as_secs_f64(),
        if held {
            "all held".to_owned()
        } else {
            format!("{} seeds FAILED", failed.len())
        }
    );
    say_broken(outcomes);
    if let Some(outcome) = failed.first() {
        println!("  again: mesh-sim replay {name} --seed {}", outcome.seed);
    }
    if !missed.is_empty() {
        println!("  NEVER REACHED  {}", missed.join(", "));
    }
    held
}

/// Prints of each seed what was broken, if anything was.
pub fn say_broken(outcomes: &[Outcome]) {
    for outcome in outcomes {
        for broken in outcome.broken.iter().take(BROKEN_SHOWN) {
            println!("  seed {:<6} {broken}", outcome.seed);
        }
    }
}

/// How far a sweep is, and when it will be done.
struct Progress<'a> {
    name: &'a str,
    what: &'a str,
    count: usize,
    begin: Instant,
    shown: Mutex<Instant>,
    terminal: bool,
}

impl<'a> Progress<'a> {
    fn new(name: &'a str, what: &'a str, count: usize) -> Self {
        Self {
            name,
            what,
            count,
            begin: Instant::now(),
            shown: Mutex::new(Instant::now()),
            terminal: std::io::stderr().is_terminal(),
        }
    }

    fn show(&self, done: usize, failed: impl FnOnce() -> usize) {
        let mut shown = self
            .shown
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if !self.terminal && shown.elapsed() < PROGRESS_PACE {
            return;
        }
        *shown = Instant::now();
        let failed = failed();
        let each = self.begin.elapsed().as_secs_f64() / done.max(1) as f64;
        let left = each * (self.count - done) as f64;
        let (begin, end) = if self.terminal {
            ("\r\x1b[K", "")
        } else {
            ("", "\n")
        };
        let line = format!(
            "{begin}{}: {done} of {} {}, {failed} failed, about {left:.0} s left{end}",
            self.name, self.count, self.what
        );
        let _ = write!(std::io::stderr(), "{line}");
    }

    fn clear(&self) {
        if self.terminal {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    /// Those that take a moment, with so many seeds that each comes by all that it lists: some 10 s of a core. The others,
    /// and more seeds: `mesh-sim sweep`.
    const SHORT: &[(&str, u64)] = &[
        ("crash-10", 3),
        ("clocks-and-slow-cpus", 3),
        ("restart-elsewhere", 3),
        ("stalls-short", 3),
        ("loss-each-way", 3),
        ("mass-death-49", 4),
        ("zone-cut", 3),
        ("flapping-switch", 4),
        ("flapping-switch-long", 1),
        ("cut-heals", 10),
        ("half-of-30", 10),
        ("two", 3),
        ("deaths-in-waves", 1),
        ("staggered-deaths", 3),
        ("doubt", 3),
        ("one-way", 3),
        ("hostile", 1),
        ("hostile-crash", 2),
        ("hostile-hellos", 2),
        ("full-queues", 1),
    ];

    #[test]
    fn short_scenarios_hold() {
        let broken = SHORT.iter().filter(|(name, seeds)| {
            let name = (*name).to_owned();
            !super::sweep(&[name], 1, *seeds, None).unwrap_or(false)
        });
        let broken: Vec<_> = broken.collect();
        assert!(broken.is_empty(), "{broken:?}");
    }

    #[test]
    fn a_broken_promise_and_a_state_never_reached_are_failures() {
        let path = std::env::temp_dir().join(format!("mesh-sim-{}.txt", std::process::id()));
        let name = path.to_string_lossy().into_owned();
        for line in ["hold nobody removed", "reach deposed"] {
            let text = format!("title x\nnodes 5\nrun 4s\nat 0s crash 1\n{line}\n");
            assert!(std::fs::write(&path, text).is_ok());
            assert!(!super::sweep(std::slice::from_ref(&name), 1, 1, None).unwrap_or(true));
        }
        assert!(std::fs::remove_file(&path).is_ok());
    }
}
