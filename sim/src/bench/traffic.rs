//! The row of traffic, and what its plot is drawn from.

use anyhow::Result;
use slotmesh_report::series::{Line, Series};

use super::{Bench, NETWORK};

/// P5: traffic of a cell in which nothing happens.
pub(super) fn at_rest(bench: &mut Bench) -> Result<()> {
    let mut first = None;
    let mut line = Line {
        label: "SlotMesh, mean of the members".to_owned(),
        points: Vec::new(),
    };
    for n in bench.sizes(&[100, 1000, 5000]) {
        let text = format!("title P5, n = {n}\nnodes {n}\n{NETWORK}run 10s\n");
        let outcomes = bench.outcomes(&text, 1)?;
        let mean = outcomes
            .first()
            .map_or(0.0, |outcome| outcome.traffic_mean as f64)
            / 1000.0;
        let most = outcomes
            .first()
            .map_or(0.0, |outcome| outcome.traffic_most as f64)
            / 1000.0;
        let note = format!("headers counted; the busiest {most:.2}");
        bench.table.at_most(
            format!("P5 sent by a member, simulated, n = {n}"),
            mean,
            "KB/s",
            9.0,
        );
        bench.table.note(note);
        line.points.push((f64::from(n), mean));
        let small = *first.get_or_insert(mean);
        if n > 100 {
            bench.table.plain(
                format!("P5 traffic at n = {n} over that at 100"),
                mean / small,
                "times",
            );
        }
    }
    if bench.quick {
        println!("  no file for a plot: shortened");
        return Ok(());
    }
    series(line)
        .write(&slotmesh_report::folder().join("series"), "traffic-by-n")
        .map(drop)
}

fn series(line: Line) -> Series {
    Series {
        title: "Sent by a member of a cell in which nothing happens, headers counted".to_owned(),
        unit_x: "members".to_owned(),
        unit_y: "KB/s".to_owned(),
        command: super::again("P5", None),
        seeds: "1".to_owned(),
        lines: vec![line],
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn its_series_can_be_drawn() {
        let line = Line {
            label: "l".to_owned(),
            points: vec![(100.0, 8.0)],
        };
        series(line).check().unwrap();
    }

    #[test]
    fn a_short_run_measures_the_small_cell_only() {
        let mut bench = Bench::new(true, None);
        at_rest(&mut bench).unwrap();
        let rows = bench.table.rows;
        assert_eq!(rows.len(), 1);
        assert!(rows.first().unwrap().value > 1.0, "KB/s: {rows:?}");
    }
}
