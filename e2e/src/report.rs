//! Tables of what was measured: printed, and written as JSON under `target/report/`.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Serialize;

/// One measured figure beside its aim.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What was measured.
    pub case: String,
    /// The figure.
    pub value: f64,
    /// Its unit.
    pub unit: &'static str,
    /// What was promised, in words; empty when nothing was.
    pub aim: String,
    /// Whether it is met; none when nothing was promised.
    pub aim_met: Option<bool>,
}

/// A table.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Its rows.
    pub rows: Vec<Row>,
}

impl Report {
    /// A figure that must not exceed its aim.
    pub fn at_most(&mut self, case: impl Into<String>, value: f64, unit: &'static str, aim: f64) {
        let aim_met = Some(value <= aim);
        self.rows.push(Row {
            case: case.into(),
            value,
            unit,
            aim: format!("<= {aim} {unit}"),
            aim_met,
        });
    }

    /// A figure that must be exactly its aim.
    pub fn exactly(&mut self, case: impl Into<String>, value: f64, unit: &'static str, aim: f64) {
        let aim_met = Some((value - aim).abs() < f64::EPSILON);
        self.rows.push(Row {
            case: case.into(),
            value,
            unit,
            aim: format!("= {aim} {unit}"),
            aim_met,
        });
    }

    /// A figure without an aim.
    pub fn plain(&mut self, case: impl Into<String>, value: f64, unit: &'static str) {
        self.rows.push(Row {
            case: case.into(),
            value,
            unit,
            aim: String::new(),
            aim_met: None,
        });
    }

    /// Whether every aim is met.
    #[must_use]
    pub fn all_met(&self) -> bool {
        self.rows.iter().all(|row| row.aim_met != Some(false))
    }

    /// Prints the table.
    pub fn print(&self) {
        println!(
            "{:<58} {:>12} {:<8} {:<18} met",
            "case", "measured", "unit", "promised"
        );
        for row in &self.rows {
            let met = match row.aim_met {
                Some(true) => "yes",
                Some(false) => "NO",
                None => "",
            };
            println!(
                "{:<58} {:>12.3} {:<8} {:<18} {met}",
                row.case, row.value, row.unit, row.aim
            );
        }
    }

    /// Writes it as `target/report/<name>.json`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, name: &str) -> Result<PathBuf> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/report");
        std::fs::create_dir_all(&folder)?;
        let path = folder.join(format!("{name}.json"));
        std::fs::write(&path, serde_json::to_vec_pretty(self)?)?;
        Ok(path)
    }
}
