//! The table of what was measured, and its JSON: the same rows as those of the other benchmarks.

use std::path::Path;

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One figure beside its aim.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What was measured.
    pub case: String,
    /// The figure.
    pub value: f64,
    /// Its unit.
    pub unit: String,
    /// What was promised; empty when nothing was.
    pub aim: String,
    /// Whether it is met; none when nothing was promised, or too little was done to say so.
    pub aim_met: Option<bool>,
    /// When.
    pub measured_at: Timestamp,
    /// How, where that matters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// Less was done than the aim asks for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shortened: bool,
    /// What other benchmarks add to their rows in the same file: kept as it is.
    #[serde(flatten)]
    pub others: serde_json::Map<String, serde_json::Value>,
}

/// A table.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Table {
    /// Its rows.
    pub rows: Vec<Row>,
    #[serde(skip)]
    shortened: bool,
}

impl Table {
    /// A table; of a shortened run no aim is said to be met.
    pub fn new(shortened: bool) -> Self {
        Self {
            rows: Vec::new(),
            shortened,
        }
    }

    /// A figure that must not exceed its aim.
    pub fn at_most(
        &mut self,
        case: impl Into<String>,
        value: f64,
        unit: &str,
        aim: f64,
        note: String,
    ) {
        self.add(
            case.into(),
            value,
            unit,
            format!("<= {aim} {unit}"),
            Some(value <= aim),
            note,
        );
    }

    /// A figure that must reach its aim.
    pub fn at_least(
        &mut self,
        case: impl Into<String>,
        value: f64,
        unit: &str,
        aim: f64,
        note: String,
    ) {
        self.add(
            case.into(),
            value,
            unit,
            format!(">= {aim} {unit}"),
            Some(value >= aim),
            note,
        );
    }

    /// A figure without an aim.
    pub fn plain(&mut self, case: impl Into<String>, value: f64, unit: &str, note: String) {
        self.add(case.into(), value, unit, String::new(), None, note);
    }

    fn add(
        &mut self,
        case: String,
        value: f64,
        unit: &str,
        aim: String,
        met: Option<bool>,
        note: String,
    ) {
        let shortened = self.shortened;
        let row = Row {
            case,
            value,
            unit: unit.to_owned(),
            aim,
            aim_met: met.filter(|met| !(shortened && *met)),
            measured_at: Timestamp::now(),
            note,
            shortened,
            others: serde_json::Map::new(),
        };
        print_row(&row);
        self.rows.push(row);
    }

    /// Whether no aim is missed.
    pub fn nothing_missed(&self) -> bool {
        self.rows.iter().all(|row| row.aim_met != Some(false))
    }

    /// Writes the rows into a file; rows of other cases that it holds stay, and so do those of whole
    /// runs where this one was shortened.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut all = match std::fs::read(path) {
            Ok(bytes) => serde_json::from_slice::<Self>(&bytes).with_context(|| {
                format!(
                    "{} is no table: remove it and measure again",
                    path.display()
                )
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Self::default(),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        };
        for row in self.rows.iter().cloned() {
            match all.rows.iter_mut().find(|old| old.case == row.case) {
                Some(old) if row.shortened && !old.shortened => {}
                Some(old) => *old = row,
                None => all.rows.push(row),
            }
        }
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let part = path.with_extension("part");
        std::fs::write(&part, serde_json::to_vec_pretty(&all)?)
            .and_then(|()| std::fs::rename(&part, path))
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

/// The line above the rows.
pub fn print_head() {
    println!(
        "{:<58} {:>11} {:<8} {:<14} met",
        "case", "measured", "unit", "promised"
    );
}

fn print_row(row: &Row) {
    let met = match row.aim_met {
        Some(true) => "yes",
        Some(false) => "NO",
        None if row.shortened && !row.aim.is_empty() => "short",
        None => "",
    };
    let line = format!(
        "{:<58} {:>11.3} {:<8} {:<14} {met:<5}  {}",
        row.case, row.value, row.unit, row.aim, row.note
    );
    println!("{}", line.trim_end());
}
