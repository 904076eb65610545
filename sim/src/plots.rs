//! What was measured, as a page with plots: `docs/benchmarks.md` and `docs/plots/*.svg`.
//!
//! ```text
//!   target/report/mesh.json, series/*   what this clone measured
//!            │ the newer of each row
//!            ▼
//!   docs/benchmarks.json, plots/*.json  what is known, committed ──┐
//!   sim/remarks.md ────────────────────────────────────────────────┴─▶ page and plots
//! ```
//!
//! A whole run takes hours, and live rows a machine to itself: parts are measured at different times, and the record of
//! them is committed beside the page. The same record gives the same bytes.

mod draw;
mod page;
mod remarks;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use slotmesh_report::series::Series;
use slotmesh_report::{Report, clone_folder, folder};

/// The table that is measured.
const TABLE: &str = "mesh";
/// The table that is shown, beside the page.
pub const RECORD: &str = "benchmarks";

/// A plot of the page.
#[derive(Clone, Copy, Debug)]
struct Plot {
    /// Of its series and of its picture.
    name: &'static str,
    /// Writes its series.
    command: &'static str,
    /// What x spans is told in powers of ten.
    log_x: bool,
}

/// In the order of the page.
const PLOTS: [Plot; 4] = [
    Plot {
        name: "detection-cdf",
        command: "make mesh-sim ARGS=\"bench --only P1p\"",
        log_x: true,
    },
    Plot {
        name: "detection-by-n",
        command: "make mesh-sim ARGS=\"bench --only P1p\"",
        log_x: true,
    },
    Plot {
        name: "traffic-by-n",
        command: "make mesh-sim ARGS=\"bench --only P5\"",
        log_x: true,
    },
    Plot {
        name: "lifeguard-grid",
        command: "make mesh-sim ARGS=\"bench --only P2g\"",
        log_x: true,
    },
];

/// Where everything is.
#[derive(Debug)]
pub struct Folders {
    report: PathBuf,
    docs: PathBuf,
    remarks: PathBuf,
}

impl Folders {
    /// Those that were asked for, or those of this clone.
    pub fn new(report: Option<PathBuf>, docs: Option<PathBuf>) -> Self {
        Self {
            report: report.unwrap_or_else(folder),
            docs: docs.unwrap_or_else(|| clone_folder().join("docs")),
            remarks: clone_folder().join("sim/remarks.md"),
        }
    }
}

/// Writes page and plots, and says which series are missing. Always true: an aim that is missed is a result.
///
/// Everything is read and drawn before anything is written.
pub fn plots(folders: &Folders) -> Result<bool> {
    let mut table = Report::read_in(&folders.docs, RECORD)?;
    for row in table.merge_newer(Report::read_in(&folders.report, TABLE)?) {
        println!("not shown: {} (a whole run's row is kept)", row.case);
    }
    ensure!(
        !table.rows.is_empty(),
        "{} has no rows: run `make bench-mesh` first, or a part of it",
        folders.report.join("mesh.json").display()
    );
    let remarks = remarks::read(&folders.remarks)?;
    let (from, kept) = (folders.report.join("series"), folders.docs.join("plots"));
    let mut drawn = Vec::new();
    for plot in PLOTS {
        let measured = Series::read(&from, plot.name)?;
        let series = match measured {
            None => Series::read(&kept, plot.name)?,
            measured => measured,
        };
        let Some(series) = series else {
            println!("no series {}: `{}` writes it", plot.name, plot.command);
            drawn.push((plot, None));
            continue;
        };
        let picture =
            draw::svg(&series, plot.log_x).with_context(|| format!("plot {}", plot.name))?;
        drawn.push((plot, Some((series, picture))));
    }
    for (plot, done) in &drawn {
        if let Some((series, picture)) = done {
            series.write(&kept, plot.name)?;
            write(&kept, &format!("{}.svg", plot.name), picture)?;
        }
    }
    table.write_in(&folders.docs, RECORD)?;
    let shown = drawn
        .iter()
        .map(|(plot, done)| (*plot, done.as_ref().map(|(series, _)| series)));
    let text = page::text(&table, &shown.collect::<Vec<_>>(), &remarks);
    write(&folders.docs, "benchmarks.md", &text)?;
    Ok(true)
}

fn write(folder: &Path, name: &str, text: &str) -> Result<()> {
    let path = folder.join(name);
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&path, text))
        .with_context(|| format!("cannot write {}", path.display()))?;
    println!("written to {}", path.display());
    Ok(())
}

#[cfg(test)]
mod tests;
