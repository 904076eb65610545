//! Other protocols, on the same network as ours.

use std::time::Duration;

use anyhow::Result;
use slotmesh_mesh::sim::NetworkSettings;

use super::{Bench, NEVER, percentile, seconds};
use crate::peers::crash::{self, Death, LOOPBACK};

/// Medians of the real memberlist 0.7: silent death until the last survivor has declared it (`make bench-mesh`).
const REAL: [(u16, f64); 2] = [(30, 7.831), (100, 10.632)];
/// How far the model's may be from them.
const NEAR_PERCENT: f64 = 15.0;
/// The network of `super::NETWORK`.
const NETWORK: NetworkSettings = NetworkSettings {
    latency: Duration::from_micros(200),
    jitter: Duration::from_micros(100),
    loss_per_mille: 10,
    duplicate_per_mille: 0,
    reorder_per_mille: 0,
    line_mbit: 1000,
    line_queue_bytes: 1 << 20,
};

/// PM: memberlist's model beside the real one.
pub(super) fn model(bench: &mut Bench) -> Result<()> {
    for (n, real) in REAL {
        let seeds = bench.seeds(100, 20);
        let (times, note) = deaths(n, seeds, |seed| crash::memberlist(LOOPBACK, seed, n))?;
        let median = percentile(&times, 50);
        let off = (median / real - 1.0).abs() * 100.0;
        let table = &mut bench.table;
        table.at_most(
            format!("PM memberlist's model, off the real median, n = {n}"),
            off,
            "%",
            NEAR_PERCENT,
        );
        table.note(format!("{median:.3} s; the real one's is {real} s; {note}"));
        table.samples(times.iter().map(|time| seconds(*time)).collect());
    }
    Ok(())
}

/// P1p: P1, of others.
pub(super) fn crash(bench: &mut Bench) -> Result<()> {
    for n in bench.sizes(&[10, 100, 1000]) {
        let seeds = match n {
            10 | 100 => bench.seeds(100, 10),
            _ => bench.seeds(20, 2),
        };
        let (times, note) = deaths(n, seeds, |seed| crash::memberlist(NETWORK, seed, n))?;
        row(bench, "memberlist's model", n, &times, &note);
        let (times, note) = deaths(n, seeds, |seed| crash::foca(NETWORK, seed, n))?;
        row(bench, "foca", n, &times, &note);
    }
    Ok(())
}

fn row(bench: &mut Bench, who: &str, n: u16, times: &[Duration], note: &str) {
    for percent in [50, 99] {
        let case = format!("P1p silent crash, {who}, n = {n}, p{percent}");
        bench.table.plain(case, percentile(times, percent), "s");
        bench.table.note(note);
        bench
            .table
            .samples(times.iter().map(|time| seconds(*time)).collect());
    }
}

/// Times of the last survivor, sorted, and what is to be said of them.
fn deaths(
    n: u16,
    seeds: u64,
    run: impl Fn(u64) -> Result<Death>,
) -> Result<(Vec<Duration>, String)> {
    let deaths: Vec<Death> = (1..=seeds).map(run).collect::<Result<_>>()?;
    let mut times: Vec<Duration> = deaths.iter().map(|d| d.last().unwrap_or(NEVER)).collect();
    times.sort();
    let never = times.iter().filter(|time| **time == NEVER).count();
    let wrong: usize = deaths.iter().map(|death| death.false_deaths).sum();
    let note = format!(
        "{seeds} seeds, the last survivor of each; {never} runs in which not all declared it within 90 s, {wrong} of {} healthy declared dead",
        seeds * u64::from(n - 1)
    );
    Ok((times, note))
}
