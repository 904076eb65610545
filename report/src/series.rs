//! What a plot is drawn from: one file a plot, `<folder>/<name>.json`.
//!
//! ```text
//! {"title", "unit_x", "unit_y", "command", "seeds", "lines": [{"label", "points": [[x, y], …]}]}
//! ```

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

/// Most lines of one plot: more nobody tells apart.
pub const LINES_MAX: usize = 12;
/// Most points of one line.
pub const POINTS_MAX: usize = 10_000;
/// Largest coordinate, above or below zero: axes are divided into steps that must not be lost to rounding.
pub const COORDINATE_MAX: f64 = 1e12;
/// Longest of each text, in bytes.
pub const TEXT_MAX: usize = 400;

/// A plot before it is drawn.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Series {
    /// Stands above the plot.
    pub title: String,
    /// What x is, with its unit: `members`, `s after the crash`.
    pub unit_x: String,
    /// What y is, with its unit.
    pub unit_y: String,
    /// Measures it again.
    pub command: String,
    /// Seeds of all randomness, in words, e.g. `1 to 100`; empty for what was measured live.
    pub seeds: String,
    /// What is drawn, in the order of the legend.
    pub lines: Vec<Line>,
}

/// A line of a plot.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// Its name in the legend.
    pub label: String,
    /// Its points (x, y), in the order in which they are joined.
    pub points: Vec<(f64, f64)>,
}

impl Line {
    /// What share of the samples, in percent, is at most x: one point a sample.
    ///
    /// Samples that never came are no number; they count, but have no point, so the line ends below 100.
    #[must_use]
    pub fn of_shares(label: impl Into<String>, samples: &[f64]) -> Self {
        let mut sorted: Vec<f64> = samples.iter().copied().filter(|x| x.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let all = samples.len() as f64;
        let points = sorted.into_iter().enumerate();
        Self {
            label: label.into(),
            points: points
                .map(|(index, x)| (x, (index + 1) as f64 / all * 100.0))
                .collect(),
        }
    }
}

impl Series {
    /// Where `name` is in a folder.
    #[must_use]
    pub fn path(folder: &Path, name: &str) -> PathBuf {
        folder.join(format!("{name}.json"))
    }

    /// Writes it as `<folder>/<name>.json`.
    ///
    /// # Errors
    /// When it cannot be drawn (see [`Series::check`]), or not be written.
    pub fn write(&self, folder: &Path, name: &str) -> Result<PathBuf> {
        let path = Self::path(folder, name);
        self.check()
            .with_context(|| format!("not written to {}", path.display()))?;
        crate::write_whole(&path, &serde_json::to_vec(self)?)?;
        Ok(path)
    }

    /// What `<folder>/<name>.json` holds; none when it is not there.
    ///
    /// # Errors
    /// When it cannot be read, or is nothing that can be drawn.
    pub fn read(folder: &Path, name: &str) -> Result<Option<Self>> {
        let path = Self::path(folder, name);
        let text = match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            text => text.with_context(|| format!("cannot read {}", path.display()))?,
        };
        let series: Self = serde_json::from_slice(&text)
            .with_context(|| format!("{} is no series of this version", path.display()))?;
        series
            .check()
            .with_context(|| format!("{} cannot be drawn", path.display()))?;
        Ok(Some(series))
    }

    /// Whether it can be drawn: it has a title, units, a command and lines, each line has points, all of them
    /// are numbers, and nothing is above its limit.
    ///
    /// # Errors
    /// The first thing that is not so.
    pub fn check(&self) -> Result<()> {
        for (what, text) in [
            ("title", &self.title),
            ("unit_x", &self.unit_x),
            ("unit_y", &self.unit_y),
            ("command", &self.command),
        ] {
            ensure!(!text.is_empty(), "{what} is empty");
            check_length(what, text)?;
        }
        check_length("seeds", &self.seeds)?;
        let count = self.lines.len();
        ensure!(
            (1..=LINES_MAX).contains(&count),
            "{count} lines, not 1 to {LINES_MAX}"
        );
        self.lines.iter().try_for_each(Line::check)
    }
}

impl Line {
    fn check(&self) -> Result<()> {
        let label = &self.label;
        ensure!(!label.is_empty(), "a line has no label");
        check_length("a label", label)?;
        let count = self.points.len();
        ensure!(
            (1..=POINTS_MAX).contains(&count),
            "line {label}: {count} points, not 1 to {POINTS_MAX}"
        );
        for (x, y) in &self.points {
            let fits = |value: &f64| value.is_finite() && value.abs() <= COORDINATE_MAX;
            if !fits(x) || !fits(y) {
                bail!("line {label}: point ({x}, {y}) is not within +-{COORDINATE_MAX:e}");
            }
        }
        Ok(())
    }
}

fn check_length(what: &str, text: &str) -> Result<()> {
    let length = text.len();
    ensure!(
        length <= TEXT_MAX,
        "{what} has {length} bytes, more than {TEXT_MAX}"
    );
    Ok(())
}

#[cfg(test)]
mod tests;
