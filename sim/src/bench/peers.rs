//! Other protocols, on the same network as ours.

use std::time::Duration;

use anyhow::{Context, Result};
use slotmesh_report::Report;
use slotmesh_report::series::{Line, Series};

use super::rows::agreement;
use super::{Bench, NAME, NETWORK, NEVER, percentile, scenario, seconds};
use crate::peers::crash::{self, Death, LOOPBACK};
use crate::plots::RECORD;

/// Sizes at which the real memberlist 0.7 is measured (P1r).
const SIZES: [u16; 2] = [30, 100];
/// How far the model's may be from them.
const NEAR_PERCENT: f64 = 15.0;
/// PM: memberlist's model beside the real one.
pub(super) fn model(bench: &mut Bench) -> Result<()> {
    for n in SIZES {
        let real = real_median(n)?;
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

/// Of the real one, silent death until the last survivor has declared it: as measured in this clone, else as recorded.
fn real_median(n: u16) -> Result<f64> {
    let case = format!("P1r {n} memberlists, silent death: last survivor, median");
    let docs = slotmesh_report::clone_folder().join("docs");
    let tables = [Report::read(NAME)?, Report::read_in(&docs, RECORD)?];
    let mut rows = tables.iter().flat_map(|table| &table.rows);
    let row = rows.find(|row| row.case == case);
    let row = row.with_context(|| {
        format!("no row {case:?} is recorded: `make bench-mesh ARGS=\"--only memberlist --only memberlist-30\"` measures it")
    })?;
    Ok(row.value)
}

/// Who is compared, in the order of the lines of the plots.
const WHO: [&str; 3] = ["SlotMesh", "memberlist's model", "foca"];
/// The size whose distribution is drawn.
const DRAWN: u16 = 100;

/// P1p: P1, of others, and the ratios to ours with the same seeds.
pub(super) fn crash(bench: &mut Bench) -> Result<()> {
    let mut by_size = WHO.map(line);
    let mut shares = Vec::new();
    for n in bench.sizes(&[10, 30, 100, 300, 1000]) {
        let seeds = match n {
            10 | 30 | 100 => bench.seeds(100, 10),
            300 => bench.seeds(40, 4),
            _ => bench.seeds(20, 2),
        };
        let text = format!("title P1p, n = {n}\nnodes {n}\n{NETWORK}run 3s\nat 0s crash some 1\n");
        let network = scenario(&text)?.settings.network;
        let (ours, never) = agreement(&bench.outcomes(&text, seeds)?);
        let ours_note = format!("{seeds} seeds; {never} runs of ours without agreement");
        let theirs = [
            deaths(n, seeds, |seed| crash::memberlist(network, seed, n))?,
            deaths(n, seeds, |seed| crash::foca(network, seed, n))?,
        ];
        let half = percentile(&ours, 50);
        for (who, (times, note)) in WHO.iter().skip(1).zip(&theirs) {
            row(bench, who, n, times, note);
            bench.table.plain(
                format!("P1p {who} over SlotMesh, p50, n = {n}"),
                percentile(times, 50) / half,
                "times",
            );
            bench.table.note(&ours_note);
        }
        let all = [&ours, &theirs[0].0, &theirs[1].0];
        for ((line, who), times) in by_size.iter_mut().zip(WHO).zip(all) {
            let half = percentile(times, 50);
            if half < seconds(NEVER) {
                line.points.push((f64::from(n), half));
            }
            if n == DRAWN {
                shares.push(Line::of_shares(who, &all_seconds(times)));
            }
        }
    }
    if bench.quick {
        println!("  no files for plots: shortened");
        return Ok(());
    }
    let folder = slotmesh_report::folder().join("series");
    let detection = |title: &str, unit_x: &str, unit_y: &str, lines| Series {
        title: title.to_owned(),
        unit_x: unit_x.to_owned(),
        unit_y: unit_y.to_owned(),
        command: super::again("P1p", None),
        seeds: "1 to 100; 40 at n = 300, 20 at 1000".to_owned(),
        lines,
    };
    let by_size = detection(
        "A silent crash is known to all: median by size, 1 % loss",
        "members",
        "s after the crash, the last survivor",
        by_size.to_vec(),
    );
    by_size.write(&folder, "detection-by-n")?;
    let shares = detection(
        "A silent crash of one of 100 is known to all, 1 % loss",
        "s after the crash, the last survivor",
        "% of runs",
        shares,
    );
    shares.write(&folder, "detection-cdf")?;
    Ok(())
}

fn line(label: &str) -> Line {
    Line {
        label: label.to_owned(),
        points: Vec::new(),
    }
}

/// What never happened is no number.
fn all_seconds(times: &[Duration]) -> Vec<f64> {
    let number = |time: &Duration| {
        if *time == NEVER {
            f64::INFINITY
        } else {
            seconds(*time)
        }
    };
    times.iter().map(number).collect()
}

fn row(bench: &mut Bench, who: &str, n: u16, times: &[Duration], note: &str) {
    for percent in [50, 99] {
        let case = format!("P1p silent crash, {who}, n = {n}, p{percent}");
        bench.table.plain(case, percentile(times, percent), "s");
        bench.table.note(note);
    }
    let samples = times.iter().map(|time| seconds(*time)).collect();
    bench.table.samples(samples);
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
