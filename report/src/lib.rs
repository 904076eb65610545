//! Tables of what was measured: printed, and written as JSON under `target/report/`.
//!
//! A table can be measured in parts, at different times: a row then takes the place of the older one of
//! its case, except that a shortened run never takes the place of a whole one.

pub mod origin;
pub mod series;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Seconds that stand for what never happened: above every aim.
pub const NEVER_SECONDS: u64 = 999;

/// One measured figure beside its aim.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What was measured.
    pub case: String,
    /// The figure.
    pub value: f64,
    /// Its unit.
    pub unit: String,
    /// What was promised, in words; empty when nothing was.
    pub aim: String,
    /// Whether it is met; none when nothing was promised, or when too little was done to say so.
    pub aim_met: Option<bool>,
    /// When.
    pub measured_at: Timestamp,
    /// How, where that matters for its meaning; empty else.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// Less was done than the aim asks for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shortened: bool,
    /// The single figures that it comes from, in its unit and in the order in which they were measured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<f64>,
    /// Of what; empty when unknown.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub commit: String,
    /// On what: cores, CPU, memory; empty when unknown.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub machine: String,
    /// Measures it again; empty when unknown.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub command: String,
}

impl Row {
    fn shorten(&mut self, how: &str) {
        self.shortened = true;
        self.aim_met = self.aim_met.filter(|met| !met);
        let rest = std::mem::take(&mut self.note);
        let gap = if rest.is_empty() { "" } else { "; " };
        self.note = format!("shortened: {how}{gap}{rest}");
    }
}

/// A table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Its rows.
    pub rows: Vec<Row>,
}

impl Row {
    /// Whether it is a time, of something that never happened.
    #[must_use]
    pub fn is_never(&self) -> bool {
        self.unit == "s" && (self.value - NEVER_SECONDS as f64).abs() < f64::EPSILON
    }

    fn figure(&self) -> String {
        match self.is_never() {
            true => "never".to_owned(),
            false => format!("{:.3}", self.value),
        }
    }
}

impl Report {
    /// A figure that must not exceed its aim.
    pub fn at_most(&mut self, case: impl Into<String>, value: f64, unit: &str, aim: f64) {
        let promised = format!("<= {aim} {unit}");
        self.push(case.into(), value, unit, promised, Some(value <= aim));
    }

    /// A figure that must reach its aim.
    pub fn at_least(&mut self, case: impl Into<String>, value: f64, unit: &str, aim: f64) {
        let promised = format!(">= {aim} {unit}");
        self.push(case.into(), value, unit, promised, Some(value >= aim));
    }

    /// A figure that must be exactly its aim.
    pub fn exactly(&mut self, case: impl Into<String>, value: f64, unit: &str, aim: f64) {
        let promised = format!("= {aim} {unit}");
        let met = (value - aim).abs() < f64::EPSILON;
        self.push(case.into(), value, unit, promised, Some(met));
    }

    /// A figure without an aim.
    pub fn plain(&mut self, case: impl Into<String>, value: f64, unit: &str) {
        self.push(case.into(), value, unit, String::new(), None);
    }

    fn push(&mut self, case: String, value: f64, unit: &str, aim: String, aim_met: Option<bool>) {
        self.rows.push(Row {
            case,
            value,
            unit: unit.to_owned(),
            aim: aim.trim_end().to_owned(),
            aim_met,
            measured_at: Timestamp::now(),
            note: String::new(),
            shortened: false,
            samples: Vec::new(),
            commit: String::new(),
            machine: String::new(),
            command: String::new(),
        });
    }

    /// Says more of the row that was added last.
    pub fn note(&mut self, note: impl Into<String>) {
        if let Some(row) = self.rows.last_mut() {
            row.note = note.into();
        }
    }

    /// The single figures that the row that was added last comes from.
    pub fn samples(&mut self, samples: Vec<f64>) {
        if let Some(row) = self.rows.last_mut() {
            row.samples = samples;
        }
    }

    /// All of it is from a shortened run: an aim can be missed by it, but not met.
    pub fn shorten(&mut self, how: &str) {
        self.rows.iter_mut().for_each(|row| row.shorten(how));
    }

    /// Whether every aim is met.
    #[must_use]
    pub fn all_met(&self) -> bool {
        self.rows.iter().all(|row| row.aim_met != Some(false))
    }

    /// Takes in newer rows; those that did not get in because a whole run's row is there.
    pub fn merge(&mut self, newer: Self) -> Vec<Row> {
        let mut refused = Vec::new();
        for row in newer.rows {
            match self.rows.iter_mut().find(|old| old.case == row.case) {
                Some(old) if row.shortened && !old.shortened => refused.push(row),
                Some(old) => *old = row,
                None => self.rows.push(row),
            }
        }
        refused
    }

    /// Takes in rows that were measured later than those of the same case, as [`Self::merge`] does.
    pub fn merge_newer(&mut self, other: Self) -> Vec<Row> {
        let is_newer = |row: &Row| {
            let mut held = self.rows.iter().filter(|held| held.case == row.case);
            held.all(|held| held.measured_at < row.measured_at)
        };
        let rows = other.rows.into_iter().filter(is_newer).collect();
        self.merge(Self { rows })
    }

    /// Prints the table. Rows from before `since` say when they were measured.
    pub fn print_since(&self, since: Timestamp) {
        println!(
            "{:<64} {:>11} {:<8} {:<12} met",
            "case", "measured", "unit", "promised"
        );
        for row in &self.rows {
            let met = match row.aim_met {
                Some(true) => "yes",
                Some(false) => "NO",
                None if row.shortened && !row.aim.is_empty() => "short",
                None => "",
            };
            let mut notes = vec![row.note.clone()];
            if row.measured_at < since {
                let of = if row.commit.is_empty() { "" } else { " of " };
                notes.push(format!(
                    "measured {}{of}{}",
                    row.measured_at.strftime("%Y-%m-%d %H:%M UTC"),
                    row.commit
                ));
            }
            notes.retain(|note| !note.is_empty());
            let line = format!(
                "{:<64} {:>11} {:<8} {:<12} {met:<5}  {}",
                row.case,
                row.figure(),
                row.unit,
                row.aim,
                notes.join("; ")
            );
            println!("{}", line.trim_end());
        }
    }

    /// Prints the table.
    pub fn print(&self) {
        self.print_since(Timestamp::MIN);
    }

    /// Writes it as `target/report/<name>.json`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, name: &str) -> Result<PathBuf> {
        self.write_in(&folder(), name)
    }

    /// Writes it as `<folder>/<name>.json`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_in(&self, folder: &Path, name: &str) -> Result<PathBuf> {
        let path = folder.join(format!("{name}.json"));
        write_whole(&path, &serde_json::to_vec_pretty(self)?)?;
        Ok(path)
    }

    /// What `target/report/<name>.json` holds; nothing when it is not there.
    ///
    /// # Errors
    /// When it is no table.
    pub fn read(name: &str) -> Result<Self> {
        Self::read_in(&folder(), name)
    }

    /// What `<folder>/<name>.json` holds; nothing when it is not there.
    ///
    /// # Errors
    /// When it is no table.
    pub fn read_in(folder: &Path, name: &str) -> Result<Self> {
        let path = folder.join(format!("{name}.json"));
        let text = match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            text => text.with_context(|| format!("cannot read {}", path.display()))?,
        };
        serde_json::from_slice(&text).with_context(|| {
            format!(
                "{} is no table of this version: remove it and measure again",
                path.display()
            )
        })
    }
}

/// The top of the clone that this was built from.
#[must_use]
pub fn clone_folder() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_owned()
}

/// Where tables are: `target/report`.
#[must_use]
pub fn folder() -> PathBuf {
    clone_folder().join("target/report")
}

/// Whole or not at all: what earlier runs wrote is in it.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::create_dir_all(path.parent().context("no folder")?)?;
    let part = path.with_extension("part");
    std::fs::write(&part, bytes)
        .and_then(|()| std::fs::rename(&part, path))
        .with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests;
